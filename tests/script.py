"""Agents that follow a script: `script("Hi", 0.4, Doing("bash"), error)`; numbers are silences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from voicegw.events import Event, Turn

open_scripts: set[int] = set()
"""The replies that were started and not yet closed."""


class Script:
    """An agent that plays its steps: an event is yielded, a number slept, an exception raised."""

    def __init__(self, *steps: Event | float | BaseException, closing: float = 0.0) -> None:
        self.steps = steps
        self.closing = closing
        self.turns: list[Turn] = []
        self.started: list[float] = []
        self.closed: list[float] = []
        self.warmed = 0

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        now = asyncio.get_running_loop().time
        token = id(object()) ^ id(turn)
        open_scripts.add(token)
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
            open_scripts.discard(token)

    async def warm(self, call: str | None = None) -> None:
        self.warmed += 1

    async def aclose(self) -> None:
        pass


def script(*steps: Event | float | BaseException, closing: float = 0.0) -> Script:
    return Script(*steps, closing=closing)
