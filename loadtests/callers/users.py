"""Locust's users: callers that make call after call, each on one platform."""

from __future__ import annotations

import random
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import gevent
from locust import User, tag
from locust.env import Environment

from loadtests.callers.chat import ChatCall
from loadtests.callers.locust_hooks import LocustHooks
from loadtests.callers.options import caller_options
from loadtests.callers.scenarios import SCENARIOS, CallScenario
from loadtests.callers.turn import TurnFailed
from loadtests.callers.websocket import WebSocketCall

START_SPREAD = 1.0
"""Seconds within which callers that locust starts together begin."""
HOOKS: dict[Environment, LocustHooks] = {}
"""The hooks of each environment; a process has one environment."""


def scenario_tasks() -> list[Any]:
    """Return one task per unit of each scenario's weight, tagged with the scenario's name and "mixed"."""
    return [task for scenario in SCENARIOS.values() for task in [_task(scenario)] * scenario.weight]


def _task(scenario: CallScenario) -> Callable[..., Any]:
    def task(user: VoiceUser) -> None:
        user.run_call(scenario)

    task.__name__ = scenario.name
    return tag(scenario.name, "mixed")(task)


class VoiceUser(User):
    """A user that makes calls: some turns on a socket or with one call id, and time to think between."""

    abstract = True
    platform = ""

    @property
    def options(self) -> Namespace:
        """The command-line options; a worker gets them from its master."""
        found = self.environment.parsed_options
        assert isinstance(found, Namespace)
        return found

    def wait_time(self) -> float:
        pause: float = self.options.pause
        return pause * random.uniform(0.5, 1.5)

    def on_start(self) -> None:
        """Wait a random moment: locust starts many users at the same time, real callers do not."""
        gevent.sleep(random.uniform(0.0, START_SPREAD))

    def run_call(self, scenario: CallScenario) -> None:
        """Run one call to its end, and record its turns."""
        options, hooks = self.options, HOOKS[self.environment]
        model, call_id = getattr(options, f"model_{scenario.name}"), f"load-{uuid4().hex}"
        started_at, call = time.perf_counter(), None
        try:
            call = self.open_call(call_id)
            for number in range(1, options.turns + 1):
                started_at = time.perf_counter()
                for turn in call.run_turn(scenario, model, number):
                    hooks.record_turn(self.platform, scenario.name, turn, call_id)
                if hooks.is_stopping or scenario.name == "hangup" or number == options.turns:
                    break
                call.think(options.think * random.uniform(0.5, 1.5))
        except (OSError, ValueError, TurnFailed) as error:
            failure = error if isinstance(error, TurnFailed) else TurnFailed(_failure_reason(error))
            hooks.record_failure(
                self.platform, scenario.name, failure, time.perf_counter() - started_at, call_id
            )
        finally:
            if call is not None:
                call.hang_up()

    def open_call(self, call_id: str) -> ChatCall | WebSocketCall:
        """Return a new call. Raises TurnFailed, OSError, or ValueError for an address without http(s)."""
        caller = caller_options(self.options, self.platform, self.host or "")
        return ChatCall(caller, call_id) if self.platform == "chat" else WebSocketCall(self.platform, caller)


def _failure_reason(error: Exception) -> str:
    """Return the failure of a connection, without details that differ from one to the next."""
    if isinstance(error, TimeoutError):
        return "nothing came within the timeout"
    return type(error).__name__ if isinstance(error, OSError) else str(error)
