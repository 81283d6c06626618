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
from loadtests.callers.locust_hooks import LocustHooks
from loadtests.callers.scenarios import SCENARIOS
from loadtests.callers.sockets import resolve_addresses
from loadtests.callers.turn import TurnFailed
from loadtests.callers.users import HOOKS, VoiceUser, scenario_tasks


class ChatCaller(VoiceUser):
    """By chat completions, as ElevenLabs and Vapi ask."""

    platform = "chat"
    tasks = scenario_tasks()


class RelayCaller(VoiceUser):
    """On Twilio's ConversationRelay."""

    platform = "relay"
    tasks = scenario_tasks()


class RetellCaller(VoiceUser):
    """On Retell's custom LLM."""

    platform = "retell"
    tasks = scenario_tasks()


class SpeechEngineCaller(VoiceUser):
    """On ElevenLabs' Speech Engine."""

    platform = "speech-engine"
    tasks = scenario_tasks()


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    options.add_options(parser)


@events.init.add_listener
def _check_options(environment: Environment, **_: Any) -> None:
    """Refuse what cannot be meant, and a target elsewhere, before anybody calls; callers look again, since a
    web page may change it."""
    desk = HOOKS[environment] = LocustHooks(environment)
    if isinstance(environment.runner, WorkerRunner):
        return  # its target and tags come from the master
    if wrong := options.unknown_tags(desk.options):
        known = ", ".join((*SCENARIOS, "mixed"))
        sys.exit(f"{wrong[0]} is no tag ({known}); names of callers stand before --tags")
    try:
        where = options.caller_options(desk.options, "chat", environment.host or "")
        resolve_addresses(urlsplit(where.url), where.anywhere)
    except (ValueError, TurnFailed) as error:
        sys.exit(f"{environment.host}: {error}")
