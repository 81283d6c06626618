"""An agent that plays given steps: `fake_agent("Hi", 0.4, Activity("bash"), error)`; numbers are silences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from voicegw.events import Event, Turn

Step = Event | float | BaseException
"""An event to yield, seconds to sleep, or an exception to raise."""

open_replies: list[FakeAgent] = []
"""The agents of replies that were started and are not closed."""


class FakeAgent:
    """An agent that plays its steps in every turn.

    `closing` is the number of seconds that it needs to tell its remote side to stop. The other attributes
    record its turns, the times at which replies started and closed, and the calls of its methods.
    """

    def __init__(self, *steps: Step, closing: float = 0.0) -> None:
        self.steps = steps
        self.close_seconds = closing
        self.turns: list[Turn] = []
        self.start_times: list[float] = []
        self.close_times: list[float] = []
        self.warm_count = 0
        self.aclose_count = 0
        self.ended_calls: list[str] = []

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        now = asyncio.get_running_loop().time
        open_replies.append(self)
        self.turns.append(turn)
        self.start_times.append(now())
        try:
            for step in self.steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, (int, float)):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            if self.close_seconds:
                await asyncio.sleep(self.close_seconds)
            self.close_times.append(now())
            open_replies.remove(self)

    async def warm(self, call: str | None = None) -> None:
        self.warm_count += 1

    async def call_ended(self, call: str) -> None:
        self.ended_calls.append(call)

    async def aclose(self) -> None:
        self.aclose_count += 1


def fake_agent(*steps: Step, closing: float = 0.0) -> FakeAgent:
    return FakeAgent(*steps, closing=closing)
