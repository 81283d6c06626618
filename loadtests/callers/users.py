"""Locust's users: callers who make call after call, of one platform each."""

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
from loadtests.callers.phone import WebSocketCall
from loadtests.callers.scenarios import SCENARIOS, CallScenario
from loadtests.callers.turn import TurnFailed

START_SPREAD = 1.0
"""Seconds within which callers that are started together begin."""
HOOKS: dict[Environment, LocustHooks] = {}
"""The desk of each environment, of which a process has one."""


def scenario_tasks() -> list[Any]:
    """A task for each scenario, as often as its share of the mix is; tagged with its name and "mixed"."""
    return [task for scenario in SCENARIOS.values() for task in [_task(scenario)] * scenario.weight]


def _task(scenario: CallScenario) -> Callable[..., Any]:
    def task(user: VoiceUser) -> None:
        user.run_call(scenario)

    task.__name__ = scenario.name
    return tag(scenario.name, "mixed")(task)


class VoiceUser(User):
    """Somebody who makes calls. A call is a socket or an id, some turns, and time to think between them."""

    abstract = True
    platform = ""

    @property
    def options(self) -> Namespace:
        """What was said on the command line, of which a worker hears from its master."""
        found = self.environment.parsed_options
        assert isinstance(found, Namespace)
        return found

    def wait_time(self) -> float:
        pause: float = self.options.pause
        return pause * random.uniform(0.5, 1.5)

    def on_start(self) -> None:
        """Locust starts many at the same moment; people do not call like that."""
        gevent.sleep(random.uniform(0.0, START_SPREAD))

    def run_call(self, scenario: CallScenario) -> None:
        """One call, from its first word to its end."""
        options, desk = self.options, HOOKS[self.environment]
        model, id = getattr(options, f"model_{scenario.name}"), f"load-{uuid4().hex}"
        began, call = time.perf_counter(), None
        try:
            call = self.open_call(id)
            for number in range(1, options.turns + 1):
                began = time.perf_counter()
                for turn in call.run_turn(scenario, model, number):
                    desk.record_turn(self.platform, scenario.name, turn, id)
                if desk.is_stopping or scenario.name == "hangup" or number == options.turns:
                    break
                call.think(options.think * random.uniform(0.5, 1.5))
        except (OSError, ValueError, TurnFailed) as error:
            why = error if isinstance(error, TurnFailed) else TurnFailed(_failure_reason(error))
            desk.record_failure(self.platform, scenario.name, why, time.perf_counter() - began, id)
        finally:
            if call is not None:
                call.hang_up()

    def open_call(self, id: str) -> ChatCall | WebSocketCall:
        """A new call. Raises Failed, OSError, or ValueError for an address that is none."""
        where = caller_options(self.options, self.platform, self.host or "")
        return ChatCall(where, id) if self.platform == "chat" else WebSocketCall(self.platform, where)


def _failure_reason(error: Exception) -> str:
    """What became of a connection, without what differs from one to the next."""
    if isinstance(error, TimeoutError):
        return "nothing came for too long"
    return type(error).__name__ if isinstance(error, OSError) else str(error)
