"""What is known of calls, in this process: the newest turn of each, and what is still closing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from voicegw.events import Message
from voicegw.ledger import Ledger, last_reply, part_heard
from voicegw.run import Run

MOST_SAID = 100


@dataclass(slots=True, eq=False)
class Call:
    """One call. `run` is that of its newest turn; `closing` are older ones, not closed yet.

    `asides` are the runs of side requests: the latest, and those not closed yet. `said` are the phrases
    of ours that its caller heard; `ledger` is the conversation, on platforms that do not send it along;
    `open` counts the sockets that serve it now, and `give_up` makes the newest of them leave it to another.
    """

    id: str
    used: float
    run: Run | None = None
    closing: list[Run] = field(default_factory=list)
    asides: list[Run] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    ledger: Ledger = field(default_factory=Ledger)
    open: int = 0
    give_up: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        """Is its socket open, or a turn of it, or a side request, not closed yet?"""
        return self.open > 0 or any(run is not None and not run.closed for run in (self.run, *self.asides))

    def take(self, run: Run) -> None:
        """A newer turn: the run of the one before it is to be closed, and waited for."""
        if self.run is not None:
            self.closing.append(self.run)
        self.closing = [old for old in self.closing if not old.closed]
        self.run = run

    def put_aside(self, run: Run) -> None:
        """A side request: it is found again by its like, and is no turn of the call."""
        self.asides = [*(old for old in self.asides if not old.closed), run]


class Calls:
    """The calls that are remembered: those used within `idle` seconds, or busy; at most the `most` latest.

    `gone` is told of each that is forgotten.
    """

    def __init__(
        self, *, idle: float = 1800.0, most: int = 10_000, gone: Callable[[str], None] = lambda id: None
    ) -> None:
        self.idle = idle
        self.most = most
        self.gone = gone
        self._calls: OrderedDict[str, Call] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, id: str) -> bool:
        """Is a call of that id remembered?"""
        return id in self._calls

    def open(self, id: str) -> bool:
        """Does a socket serve this call now?"""
        return id in self._calls and self._calls[id].open > 0

    def get(self, id: str, now: float) -> Call:
        """The call of that id, a new one if it is not known (any more)."""
        call = self._calls.pop(id, None)
        if call is not None and call.used + self.idle <= now and not call.busy:
            self.gone(id)
            call = None
        call = Call(id, now) if call is None else call
        call.used = now
        self._calls[id] = call
        self._forget(now)
        return call

    def said(self, id: str | None) -> frozenset[str]:
        """The phrases of ours that a caller heard in this call, as far as it is remembered."""
        call = self._calls.get(id or "")
        return frozenset() if call is None else frozenset(call.said)

    def heard(self, id: str | None, messages: Sequence[Message]) -> str | None:
        """What the caller heard of the last reply, by the history that a platform sends; None for all."""
        call = self._calls.get(id or "")
        if call is None or call.run is None:
            return None
        before = call.run.turn.messages
        since = messages[len(before) :]
        if not since or tuple(messages[: len(before)]) != before:
            return None  # another account of the call, or the same turn again
        said = "".join(event for event in call.run.record.events if type(event) is str)
        return part_heard(said, last_reply(since) or "")

    def remember(self, id: str | None, words: str) -> None:
        """We said these words; our own phrases are few, so that the set stays small."""
        call = self._calls.get(id or "")
        if call is not None and len(call.said) < MOST_SAID:
            call.said.add(words.strip())

    def end(self, id: str) -> None:
        """The call is over: forget it, and stop what it is doing."""
        call = self._calls.pop(id, None)
        if call is None:
            return
        if call.run is not None and not call.run.record.over:
            call.run.cancel()
        self.gone(id)

    def _forget(self, now: float) -> None:
        """Drop what was not used for long, or is too much: then a turn that runs goes on without memory."""
        while self._calls:
            oldest = next(iter(self._calls.values()))
            many = len(self._calls) > self.most
            if not many and oldest.used + self.idle > now:
                return
            if many or not oldest.busy:
                del self._calls[oldest.id]
                self.gone(oldest.id)
            else:
                oldest.used = now
                self._calls.move_to_end(oldest.id)
