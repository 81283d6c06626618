"""Agents made of agents: another try, and the next agent when one fails before it was of any use.

Each attempt is a run of its own, with its own deadlines and closed in a task of its own, so that nobody
waits for an agent that is slow to stop. What the acknowledgement said covers the swap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from voicegw.errors import AgentUnavailable, VoicegwError
from voicegw.events import Agent, Event, Turn, extra_models
from voicegw.turns.run import SUPERSEDE_WAIT, Run
from voicegw.turns.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class FallbackStep:
    """One agent of a chain, and how patient we are with it.

    `repeatable`: asking twice does no harm. Such an agent is asked up to `tries` times, and another one
    may be asked after it; after others only when nothing was handed over to them.
    """

    agent: Agent
    timeouts: Timeouts = field(default_factory=Timeouts)
    idempotent: bool = False
    max_attempts: int = 1


class FallbackAgent:
    """Asks its steps in turn until one is of use; from then on the turn is that one's alone."""

    def __init__(self, steps: Sequence[FallbackStep], *, now: Callable[[], float] = time.monotonic) -> None:
        self.plan = [step for step in steps for _ in range(step.max_attempts if step.idempotent else 1)]
        self.now = now
        self.attempts: set[Run] = set()

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        for place, step in enumerate(self.plan, 1):
            attempt = FallbackAttempt(self._run(step, turn))
            try:
                await attempt.settle()
                failure = attempt.failure
                if failure is not None and place < len(self.plan) and may_go_on(step, failure):
                    continue
                while (event := await attempt.next()) is not None:
                    yield event
                if attempt.failure is not None:
                    raise attempt.failure
                return
            finally:
                await attempt.leave()

    def _run(self, step: FallbackStep, turn: Turn) -> Run:
        run = Run(step.agent, turn, self.attempts.discard, now=self.now, timeouts=step.timeouts)
        self.attempts.add(run)
        return run

    @property
    def models(self) -> Sequence[str]:
        """Those of the first agent."""
        return extra_models(self.plan[0].agent)

    async def warm(self, call: str | None = None) -> None:
        """Let the first agent get ready for a call; at the start of the gateway its owner does that."""
        if call is not None:
            await self.plan[0].agent.warm(call)

    async def call_ended(self, call: str) -> None:
        """Every agent has its own owner, who tells it."""

    async def aclose(self) -> None:
        """The same."""


def may_go_on(step: FallbackStep, failure: VoicegwError) -> bool:
    return step.idempotent or isinstance(failure, AgentUnavailable)


class FallbackAttempt:
    """A run, followed: `next` gives what it records."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.place = 0
        self._news = asyncio.Event()
        run.subscribers.append(self)
        run.start()

    def wake(self) -> None:
        self._news.set()

    @property
    def failure(self) -> VoicegwError | None:
        return self.run.event_log.failure

    async def settle(self) -> None:
        """Wait for the first useful event, or for the end."""
        while not self.run.has_output and not self.run.event_log.ended:
            await self._more()

    async def next(self) -> Event | None:
        """The next event, None at the end."""
        record = self.run.event_log
        while self.place == len(record.events):
            if record.ended:
                return None
            await self._more()
        self.place += 1
        return record.events[self.place - 1]

    async def _more(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def leave(self) -> None:
        """Stop the agent if it is still at it, and give it a moment; what is left stays owned."""
        task = self.run.task
        if not self.run.event_log.ended:
            self.run.cancel()
            if task is not None:
                await asyncio.wait((task,), timeout=SUPERSEDE_WAIT)
