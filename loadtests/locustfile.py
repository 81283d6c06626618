"""Callers for locust, who make call after call: by chat completions, and on three platforms' websockets.

    locust -f loadtests/locustfile.py --headless -u 20 -r 10 -t 1m --host http://127.0.0.1:8080 ChatCaller

Each scenario is a tag: `--tags bargein`; without one, or with `--tags mixed`, they come in the shares of
`loadtests.callers.scenarios`. Naming user classes leaves out the others. See docs/load-testing.md.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests.callers import options
from loadtests.callers.locust_hooks import Desk
from loadtests.callers.scenarios import SCENARIOS
from loadtests.callers.sockets import addresses
from loadtests.callers.turn import Failed
from loadtests.callers.users import DESKS, Caller, calls


class ChatCaller(Caller):
    """By chat completions, as ElevenLabs and Vapi ask."""

    platform = "chat"
    tasks = calls()


class RelayCaller(Caller):
    """On Twilio's ConversationRelay."""

    platform = "relay"
    tasks = calls()


class RetellCaller(Caller):
    """On Retell's custom LLM."""

    platform = "retell"
    tasks = calls()


class SpeechEngineCaller(Caller):
    """On ElevenLabs' Speech Engine."""

    platform = "speech-engine"
    tasks = calls()


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    options.add(parser)


@events.init.add_listener
def _open(environment: Environment, **_: Any) -> None:
    """Refuse what cannot be meant, and a target elsewhere, before anybody calls; callers look again, since a
    web page may change it."""
    desk = DESKS[environment] = Desk(environment)
    if isinstance(environment.runner, WorkerRunner):
        return  # its target and tags come from the master
    if wrong := options.unknown(desk.options):
        known = ", ".join((*SCENARIOS, "mixed"))
        sys.exit(f"{wrong[0]} is no tag ({known}); names of callers stand before --tags")
    try:
        where = options.line(desk.options, "chat", environment.host or "")
        addresses(urlsplit(where.url), where.anywhere)
    except (ValueError, Failed) as error:
        sys.exit(f"{environment.host}: {error}")
