"""A run: one agent answering one turn, in a task of its own.

The run appends the agent's events to its record and tells its followers at the very moment at which
the agent has no more to say for now: what came together leaves together, and nothing waits, not even
for a turn of the loop. It never waits for its followers. It is cancelled exactly once, whoever asks how
often: a second cancellation would swallow the `await` with which an agent tells its remote side to stop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from math import inf
from typing import Protocol

from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout, VoicegwError
from voicegw.events import Activity, Agent, Event, Finish, ToolCall, Turn
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import MAX_HOLD_SECONDS
from voicegw.turns.consume import consume
from voicegw.turns.speech_buffer import SpeechBuffer
from voicegw.turns.stream import EventLog
from voicegw.turns.timeouts import NO_TIMEOUTS, Timeouts

MAX_EVENTS = 100_000
MAX_TEXT = 4_000_000
"""The bounds of what an agent says, in events and characters: hours. There a run ends with "length"."""

SUPERSEDE_WAIT = 0.15
"""Seconds that a new turn waits for the one it supersedes to close."""

log = logging.getLogger("voicegw.error")


class Subscriber(Protocol):
    """Whoever wants to know that a record grew or ended. `wake` is quick, and neither raises nor leaves."""

    def wake(self) -> None: ...


class Run:
    """One agent answering one turn. `on_over` is called once, when the agent's generator is closed.

    `before` are older runs of the same call: they are cancelled when this one starts, or is cancelled
    itself, and waited for inside its task, at most `SUPERSEDE_WAIT` seconds. `delivered` tells that a listener had all
    of it, `left` when the last one went away.

    `speech` makes the agent's text speakable and lets go what it holds back when the agent pauses for
    `hold_for` seconds; without it, text is recorded as it comes.

    `now` is the clock of all stamps, in seconds; it must agree with the loop's own up to its resolution
    (uvloop's is a whole millisecond, too coarse for what we measure).
    """

    def __init__(
        self,
        agent: Agent,
        turn: Turn,
        on_end: Callable[[Run], None],
        *,
        now: Callable[[], float],
        earlier_closing: Sequence[Run] = (),
        timeouts: Timeouts = NO_TIMEOUTS,
        speech: SpeechFilter | None = None,
        max_hold_seconds: float = MAX_HOLD_SECONDS,
        max_events: int = MAX_EVENTS,
    ) -> None:
        self.agent = agent
        self.earlier_closing = earlier_closing
        self.timeouts = timeouts
        self.turn = turn
        self.on_end = on_end
        self.now = now
        self.max_events = max_events
        self.event_log = EventLog()
        self.subscribers: list[Subscriber] = []
        self.loop = asyncio.get_running_loop()
        self.task: asyncio.Task[None] | None = None
        self.offered = frozenset(tool.name for tool in turn.tools)
        self.begun = False
        self.retry_key: tuple[str, str, bytes] = ("", "", b"")
        self.delivered = False
        self.left_at: float | None = None
        self.is_speech = speech is not None
        self.speech_buffer = (
            None if speech is None else SpeechBuffer(speech, max_hold_seconds, self._append, self._tell, now)
        )
        self.count = 0
        self.size = 0
        self.has_spoken = False
        self.has_output = False
        self.last = 0.0
        self._news = False
        self._timer: asyncio.TimerHandle | None = None
        self.asked_at: float | None = None
        self.first_token_at: float | None = None
        self.cancelled_at: float | None = None
        self.closed_at: float | None = None
        self._reports: dict[Callable[[], None], asyncio.TimerHandle] = {}

    @property
    def closed(self) -> bool:
        """Is the agent's generator closed, for good?"""
        return self.closed_at is not None

    def start(self) -> None:
        """Ask the agent. A run that was cancelled before never starts."""
        if not self.begun and self.cancelled_at is None:
            self.begun = True
            self.task = self.loop.create_task(self._drive(self._supersede()))
            self.task.add_done_callback(self._stopped)

    def cancel(self) -> None:
        """End the record now and close the agent's generator, once."""
        if self.cancelled_at is None and self.closed_at is None:
            self.cancelled_at = self.now()
            if self.task is None:
                self._supersede()
                self.closed_at = self.cancelled_at
                self.on_end(self)
            else:
                self.task.cancel()
        self._over()

    def fail(self, failure: VoicegwError) -> None:
        """End the record with a failure of ours, and stop the agent."""
        if not self.event_log.ended:
            self.event_log.failure = failure
        self.cancel()

    def on_closed(self, report: Callable[[], None], within: float) -> None:
        """Call `report` once the agent's generator is closed, or after `within` seconds if it is not."""
        if self.closed_at is not None or self.task is None:
            return report()

        def give_up() -> None:
            del self._reports[report]
            report()

        self._reports[report] = self.loop.call_later(within, give_up)

    def _supersede(self) -> list[asyncio.Task[None]]:
        """Stop what this call did before, also if this run never asks its agent; gives what then closes."""
        older, self.earlier_closing = self.earlier_closing, ()
        for run in older:
            run.cancel()
        return [run.task for run in older if run.task is not None]

    async def _drive(self, closing: list[asyncio.Task[None]]) -> None:
        failure: VoicegwError | None = None
        try:
            if closing:  # what takes longer than the cap stays owned, unwaited for
                await asyncio.wait(closing, timeout=SUPERSEDE_WAIT)
                closing.clear()
            self.asked_at = self.last = self.now()
            self._arm()
            async with aclosing(self.agent.reply(self.turn)) as events:
                await self._listen(events)
            if not self.has_spoken:
                raise AgentProtocolError("the agent said nothing")
        except VoicegwError as error:
            failure = error
        except BaseException as error:  # whatever it is, it ends this turn and not the gateway
            if self.cancelled_at is not None and isinstance(error, asyncio.CancelledError):
                raise
            failure = AgentError(f"the agent raised {type(error).__name__}", str(error))
            failure.__cause__ = error
        self._over(failure)

    async def _listen(self, events: AsyncIterator[Event]) -> None:
        """Record the events, and tell the followers whenever the next one lets us wait."""
        try:
            await consume(events, self._add, self._quiet)
        finally:
            self._let_go()

    def _add(self, event: Event) -> bool:
        """Take one event of the agent's; False when the record takes no more."""
        if self.event_log.ended:
            return False
        self.last = self.now()
        self.count += 1
        if type(event) is str:
            self.size += len(event)
        elif type(event) is ToolCall and event.name not in self.offered:
            event = Activity(event.name)  # the backend's own business, or a mistake; nobody else can run it
        if self.count > self.max_events or self.size > MAX_TEXT:
            self._let_go()
            self._append(Finish("length"))
            self._over()
            return False
        if type(event) is str and self.speech_buffer is not None:
            self.speech_buffer.feed(event, self.last)
            return True
        if type(event) in (ToolCall, Activity, Finish):  # speech comes first
            self._let_go(over=type(event) is not Activity)
        self._append(event)
        return True

    def _let_go(self, *, over: bool = True) -> None:
        """Say what was held back, because something else follows, or nothing does."""
        if self.speech_buffer is not None:
            self.speech_buffer.release(over=over)

    def _append(self, event: Event) -> None:
        self.event_log.events.append(event)
        self._news = True
        if not self.has_spoken:
            self._notice(event)

    def _notice(self, event: Event) -> None:
        """The first events of use, and the first that the caller hears."""
        if (type(event) is str and event.strip()) or type(event) is ToolCall:
            self.has_spoken = True
            self.first_token_at = self.now()
            self._tell()  # the first words do not wait for those that came with them
        if not self.has_output and (self.has_spoken or type(event) is Activity):
            self.has_output = True
            self._arm()  # from now on another patience counts

    @property
    def deadline(self) -> float:
        """When our patience ends, if nothing more happens."""
        return self.timeouts.deadline(
            self.last if self.asked_at is None else self.asked_at, self.has_output, self.last
        )

    def _arm(self) -> None:
        """One timer at a time; a deadline that moved on is noticed when the old one rings."""
        if self._timer is not None:
            self._timer.cancel()
        if self.deadline < inf:
            self._timer = self.loop.call_at(self.deadline, self._ring)

    def _ring(self) -> None:
        if self.event_log.ended:
            return
        if self.now() < self.deadline:
            return self._arm()
        self._let_go()
        when = "in the middle of its answer" if self.has_output else "before it was of any use"
        self.fail(AgentTimeout(f"the agent took too long {when}"))

    def _quiet(self) -> None:
        """The agent has no more for now."""
        if self._news:
            self._tell()

    def _tell(self) -> None:
        self._news = False
        for follower in self.subscribers:
            follower.wake()

    def _over(self, failure: VoicegwError | None = None) -> None:
        """Close the record, once, and tell everybody."""
        if self.event_log.ended:
            return
        self.event_log.failure = self.event_log.failure or failure
        self.event_log.ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self.speech_buffer is not None:
            self.speech_buffer.stop()
            self.speech_buffer = None  # nothing more is spoken; and it refers to us
        self._tell()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self.closed_at = self.now()
        self.task = None  # a cancelled task refers to us; whole histories would wait for the collector
        self._over()  # a task cancelled before its first step never reached its own end
        self.on_end(self)
        reports, self._reports = self._reports, {}
        for report, timer in reports.items():
            timer.cancel()
            report()
