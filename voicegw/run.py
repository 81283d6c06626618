"""A run: one agent answering one turn, in a task of its own.

The run appends the agent's events to its record and, in the same wake-up, tells its followers that
there is more. It never waits for them. It is cancelled exactly once, whoever asks how often: a second
cancellation would swallow the `await` with which an agent tells its remote side to stop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Protocol

from voicegw.errors import AgentError, AgentGarbled, VoicegwError
from voicegw.events import Agent, Event, Finish, ToolCall, Turn
from voicegw.listener import Record

MOST_EVENTS = 100_000
"""The bound of a record: some hours of speech. At the bound the run ends with "length"."""

log = logging.getLogger("voicegw.run")


class Follower(Protocol):
    """Whoever wants to know that a record grew or ended. `wake` must be quick and must not raise."""

    def wake(self) -> None: ...


class Run:
    """One agent answering one turn. `on_over` is called once, when the agent's generator is closed.

    `now` is the clock of all stamps, in seconds; it must agree with the loop's own up to its resolution
    (uvloop's is a whole millisecond, too coarse for what we measure).
    """

    def __init__(
        self,
        agent: Agent,
        turn: Turn,
        on_over: Callable[[Run], None],
        *,
        now: Callable[[], float],
        most_events: int = MOST_EVENTS,
    ) -> None:
        self.agent = agent
        self.turn = turn
        self.on_over = on_over
        self.now = now
        self.most_events = most_events
        self.record = Record()
        self.followers: list[Follower] = []
        self.loop = asyncio.get_running_loop()
        self.task: asyncio.Task[None] | None = None
        self.spoke = False
        self.asked: float | None = None
        self.first: float | None = None
        self.cancelled: float | None = None
        self.stopped: float | None = None
        self._reports: dict[Callable[[], None], asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Ask the agent. A run that was cancelled before never starts."""
        if self.task is None and self.cancelled is None:
            self.asked = self.now()
            self.task = self.loop.create_task(self._drive())
            self.task.add_done_callback(self._stopped)

    def cancel(self) -> None:
        """End the record now and close the agent's generator, once."""
        if self.cancelled is None and self.stopped is None:
            self.cancelled = self.now()
            if self.task is None:
                self.stopped = self.cancelled
                self.on_over(self)
            else:
                self.task.cancel()
        self._over()

    def fail(self, failure: VoicegwError) -> None:
        """End the record with a failure of ours, and stop the agent."""
        if not self.record.over:
            self.record.failure = failure
        self.cancel()

    def when_closed(self, report: Callable[[], None], within: float) -> None:
        """Call `report` once the agent's generator is closed, or after `within` seconds if it is not."""
        if self.stopped is not None or self.task is None:
            return report()

        def give_up() -> None:
            del self._reports[report]
            report()

        self._reports[report] = self.loop.call_later(within, give_up)

    async def _drive(self) -> None:
        failure: VoicegwError | None = None
        try:
            async with aclosing(self.agent.reply(self.turn)) as events:
                async for event in events:
                    if not self._add(event):
                        break
            if not self.spoke:
                failure = AgentGarbled("the agent said nothing")
        except VoicegwError as error:
            failure = error
        except Exception as error:
            log.exception("the agent failed in turn %s", self.turn.id)
            failure = AgentError(f"{type(error).__name__}: {error}")
        self._over(failure)

    def _add(self, event: Event) -> bool:
        """Append one event; False when the record takes no more."""
        record = self.record
        if record.over:
            return False
        if not self.spoke and ((type(event) is str and event.strip()) or type(event) is ToolCall):
            self.spoke = True
            self.first = self.now()
        if len(record.events) >= self.most_events:
            record.events.append(Finish("length"))
            self._over()
            return False
        record.events.append(event)
        for follower in self.followers:
            follower.wake()
        return True

    def _over(self, failure: VoicegwError | None = None) -> None:
        """Close the record, once, and tell everybody."""
        if self.record.over:
            return
        self.record.failure = self.record.failure or failure
        self.record.over = True
        for follower in self.followers:
            follower.wake()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self.stopped = self.now()
        self._over()  # a task cancelled before its first step never reached its own end
        self.on_over(self)
        reports, self._reports = self._reports, {}
        for report, timer in reports.items():
            timer.cancel()
            report()
