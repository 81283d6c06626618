"""Agents that follow a script: `script("Hi", 0.4, Activity("bash"), error)`; numbers are silences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from voicegw.events import Event, Turn

Step = Event | float | BaseException

open_scripts: list[Script] = []
"""The replies that were started and not yet closed."""


class Script:
    """An agent that plays its steps: an event is yielded, a number slept, an exception raised.

    `closing` is how long it takes to tell its remote side to stop.
    """

    def __init__(self, *steps: Step, closing: float = 0.0) -> None:
        self.steps = steps
        self.closing = closing
        self.turns: list[Turn] = []
        self.started: list[float] = []
        self.closed: list[float] = []
        self.warmed = 0
        self.gone = 0
        self.left: list[str] = []

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        now = asyncio.get_running_loop().time
        open_scripts.append(self)
        self.turns.append(turn)
        self.started.append(now())
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, (int, float)):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            if self.closing:
                await asyncio.sleep(self.closing)
            self.closed.append(now())
            open_scripts.remove(self)

    async def warm(self, call: str | None = None) -> None:
        self.warmed += 1

    async def call_ended(self, call: str) -> None:
        self.left.append(call)

    async def aclose(self) -> None:
        self.gone += 1


def script(*steps: Step, closing: float = 0.0) -> Script:
    return Script(*steps, closing=closing)
