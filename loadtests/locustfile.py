"""Users for locust that make call after call: by chat completions, and on the websockets of three platforms.

    locust -f loadtests/locustfile.py --headless -u 20 -r 10 -t 1m --host http://127.0.0.1:8080 ChatCaller

Each scenario is a tag: `--tags bargein`. Without a tag, or with `--tags mixed`, all scenarios run in the
shares of `loadtests.callers.scenarios`. Naming user classes leaves out the others. See
docs/load-testing.md.
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
    """Calls by chat completions, as ElevenLabs and Vapi do."""

    platform = "chat"
    tasks = scenario_tasks()


class RelayCaller(VoiceUser):
    """Calls on Twilio's ConversationRelay."""

    platform = "relay"
    tasks = scenario_tasks()


class RetellCaller(VoiceUser):
    """Calls on Retell's custom LLM."""

    platform = "retell"
    tasks = scenario_tasks()


class SpeechEngineCaller(VoiceUser):
    """Calls on ElevenLabs' Speech Engine."""

    platform = "speech-engine"
    tasks = scenario_tasks()


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    options.add_options(parser)


@events.init.add_listener
def _check_options(environment: Environment, **_: Any) -> None:
    """Refuse unknown tags, and a target on another machine, before any call.

    Callers check the target again, since the web page can change it.
    """
    hooks = HOOKS[environment] = LocustHooks(environment)
    if isinstance(environment.runner, WorkerRunner):
        return  # its target and tags come from the master
    if wrong := options.unknown_tags(hooks.options):
        known = ", ".join((*SCENARIOS, "mixed"))
        sys.exit(f"{wrong[0]} is not a tag; use {known}. Names of user classes stand before --tags")
    try:
        caller = options.caller_options(hooks.options, "chat", environment.host or "")
        resolve_addresses(urlsplit(caller.url), caller.anywhere)
    except (ValueError, TurnFailed) as error:
        sys.exit(f"{environment.host}: {error}")
