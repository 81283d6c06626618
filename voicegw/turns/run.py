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

from voicegw.errors import AgentError, AgentGarbled, AgentTimeout, VoicegwError
from voicegw.events import Agent, Doing, Event, Finish, ToolCall, Turn
from voicegw.speech.filter import Speakable
from voicegw.speech.options import HOLD_FOR
from voicegw.turns.consume import overhear
from voicegw.turns.speech_buffer import Speaking
from voicegw.turns.stream import Record
from voicegw.turns.timeouts import ENDLESS, Patience

MOST_EVENTS = 100_000
MOST_TEXT = 4_000_000
"""The bounds of what an agent says, in events and characters: hours. There a run ends with "length"."""

CAP = 0.15
"""Seconds that a new turn waits for the one it supersedes to close."""

log = logging.getLogger("voicegw.error")


class Follower(Protocol):
    """Whoever wants to know that a record grew or ended. `wake` is quick, and neither raises nor leaves."""

    def wake(self) -> None: ...


class Run:
    """One agent answering one turn. `on_over` is called once, when the agent's generator is closed.

    `before` are older runs of the same call: they are cancelled when this one starts, or is cancelled
    itself, and waited for inside its task, at most `CAP` seconds. `delivered` tells that a listener had all
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
        on_over: Callable[[Run], None],
        *,
        now: Callable[[], float],
        before: Sequence[Run] = (),
        patience: Patience = ENDLESS,
        speech: Speakable | None = None,
        hold_for: float = HOLD_FOR,
        most_events: int = MOST_EVENTS,
    ) -> None:
        self.agent = agent
        self.before = before
        self.patience = patience
        self.turn = turn
        self.on_over = on_over
        self.now = now
        self.most_events = most_events
        self.record = Record()
        self.followers: list[Follower] = []
        self.loop = asyncio.get_running_loop()
        self.task: asyncio.Task[None] | None = None
        self.offered = frozenset(tool.name for tool in turn.tools)
        self.begun = False
        self.tag: tuple[str, str, bytes] = ("", "", b"")
        self.delivered = False
        self.left: float | None = None
        self.spoken = speech is not None
        self.speaking = None if speech is None else Speaking(speech, hold_for, self._append, self._tell, now)
        self.count = 0
        self.size = 0
        self.spoke = False
        self.useful = False
        self.last = 0.0
        self._news = False
        self._timer: asyncio.TimerHandle | None = None
        self.asked: float | None = None
        self.first: float | None = None
        self.cancelled: float | None = None
        self.stopped: float | None = None
        self._reports: dict[Callable[[], None], asyncio.TimerHandle] = {}

    @property
    def closed(self) -> bool:
        """Is the agent's generator closed, for good?"""
        return self.stopped is not None

    def start(self) -> None:
        """Ask the agent. A run that was cancelled before never starts."""
        if not self.begun and self.cancelled is None:
            self.begun = True
            self.task = self.loop.create_task(self._drive(self._supersede()))
            self.task.add_done_callback(self._stopped)

    def cancel(self) -> None:
        """End the record now and close the agent's generator, once."""
        if self.cancelled is None and self.stopped is None:
            self.cancelled = self.now()
            if self.task is None:
                self._supersede()
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

    def _supersede(self) -> list[asyncio.Task[None]]:
        """Stop what this call did before, also if this run never asks its agent; gives what then closes."""
        older, self.before = self.before, ()
        for run in older:
            run.cancel()
        return [run.task for run in older if run.task is not None]

    async def _drive(self, closing: list[asyncio.Task[None]]) -> None:
        failure: VoicegwError | None = None
        try:
            if closing:  # what takes longer than the cap stays owned, unwaited for
                await asyncio.wait(closing, timeout=CAP)
                closing.clear()
            self.asked = self.last = self.now()
            self._arm()
            async with aclosing(self.agent.reply(self.turn)) as events:
                await self._listen(events)
            if not self.spoke:
                raise AgentGarbled("the agent said nothing")
        except VoicegwError as error:
            failure = error
        except BaseException as error:  # whatever it is, it ends this turn and not the gateway
            if self.cancelled is not None and isinstance(error, asyncio.CancelledError):
                raise
            failure = AgentError(f"the agent raised {type(error).__name__}", str(error))
            failure.__cause__ = error
        self._over(failure)

    async def _listen(self, events: AsyncIterator[Event]) -> None:
        """Record the events, and tell the followers whenever the next one lets us wait."""
        try:
            await overhear(events, self._add, self._quiet)
        finally:
            self._let_go()

    def _add(self, event: Event) -> bool:
        """Take one event of the agent's; False when the record takes no more."""
        if self.record.over:
            return False
        self.last = self.now()
        self.count += 1
        if type(event) is str:
            self.size += len(event)
        elif type(event) is ToolCall and event.name not in self.offered:
            event = Doing(event.name)  # the backend's own business, or a mistake; nobody else can run it
        if self.count > self.most_events or self.size > MOST_TEXT:
            self._let_go()
            self._append(Finish("length"))
            self._over()
            return False
        if type(event) is str and self.speaking is not None:
            self.speaking.hear(event, self.last)
            return True
        if type(event) in (ToolCall, Doing, Finish):  # speech comes first
            self._let_go(over=type(event) is not Doing)
        self._append(event)
        return True

    def _let_go(self, *, over: bool = True) -> None:
        """Say what was held back, because something else follows, or nothing does."""
        if self.speaking is not None:
            self.speaking.let_go(over=over)

    def _append(self, event: Event) -> None:
        self.record.events.append(event)
        self._news = True
        if not self.spoke:
            self._notice(event)

    def _notice(self, event: Event) -> None:
        """The first events of use, and the first that the caller hears."""
        if (type(event) is str and event.strip()) or type(event) is ToolCall:
            self.spoke = True
            self.first = self.now()
            self._tell()  # the first words do not wait for those that came with them
        if not self.useful and (self.spoke or type(event) is Doing):
            self.useful = True
            self._arm()  # from now on another patience counts

    @property
    def deadline(self) -> float:
        """When our patience ends, if nothing more happens."""
        return self.patience.until(self.last if self.asked is None else self.asked, self.useful, self.last)

    def _arm(self) -> None:
        """One timer at a time; a deadline that moved on is noticed when the old one rings."""
        if self._timer is not None:
            self._timer.cancel()
        if self.deadline < inf:
            self._timer = self.loop.call_at(self.deadline, self._ring)

    def _ring(self) -> None:
        if self.record.over:
            return
        if self.now() < self.deadline:
            return self._arm()
        self._let_go()
        when = "in the middle of its answer" if self.useful else "before it was of any use"
        self.fail(AgentTimeout(f"the agent took too long {when}"))

    def _quiet(self) -> None:
        """The agent has no more for now."""
        if self._news:
            self._tell()

    def _tell(self) -> None:
        self._news = False
        for follower in self.followers:
            follower.wake()

    def _over(self, failure: VoicegwError | None = None) -> None:
        """Close the record, once, and tell everybody."""
        if self.record.over:
            return
        self.record.failure = self.record.failure or failure
        self.record.over = True
        if self._timer is not None:
            self._timer.cancel()
        if self.speaking is not None:
            self.speaking.stop()
            self.speaking = None  # nothing more is spoken; and it refers to us
        self._tell()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self.stopped = self.now()
        self.task = None  # a cancelled task refers to us; whole histories would wait for the collector
        self._over()  # a task cancelled before its first step never reached its own end
        self.on_over(self)
        reports, self._reports = self._reports, {}
        for report, timer in reports.items():
            timer.cancel()
            report()
