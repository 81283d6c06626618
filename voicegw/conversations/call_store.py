"""What is known of calls, in this process: the newest turn of each, and what is still closing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from voicegw.conversations.history import last_reply, part_heard
from voicegw.conversations.transcript import Transcript
from voicegw.events import Message
from voicegw.turns.run import Run

MOST_SAID = 100
MOST_WEIGHT = 256_000_000
"""Characters that are kept of all calls; the oldest ones go first."""
MOST_LOOKS = 100
"""Calls that are looked at when one is to go: those that are busy stay."""


@dataclass(slots=True, eq=False)
class CallRecord:
    """One call. `run` is that of its newest turn; `closing` are older ones, not closed yet.

    `asides` are the runs of side requests: the latest, and those not closed yet. `said` are the phrases
    of ours that its caller heard; `ledger` is the conversation, on platforms that do not send it along;
    `open` counts the sockets that serve it now, and `give_up` makes the newest of them leave it to another.
    `counted` is its weight when that was counted last.
    """

    id: str
    used: float
    run: Run | None = None
    closing: list[Run] = field(default_factory=list)
    background_runs: list[Run] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    transcript: Transcript = field(default_factory=Transcript)
    open_sockets: int = 0
    on_takeover: Callable[[], None] | None = None
    counted: int = 0

    def weight(self) -> int:
        """The characters that are kept of it, about."""
        messages = () if self.run is None else self.run.turn.messages
        return self.transcript.size + sum(map(_weight, messages))

    @property
    def busy(self) -> bool:
        """Is its socket open, or a turn of it, or a side request, not closed yet?"""
        runs = (self.run, *self.background_runs, *self.closing)
        return self.open_sockets > 0 or any(run is not None and not run.closed for run in runs)

    def start_run(self, run: Run) -> None:
        """A newer turn: the run of the one before it is to be closed, and waited for."""
        if self.run is not None:
            self.closing.append(self.run)
        self.closing = [old for old in self.closing if not old.closed]
        self.run = run

    def add_background(self, run: Run) -> None:
        """A side request: it is found again by its like, and is no turn of the call."""
        self.background_runs = [*(old for old in self.background_runs if not old.closed), run]


class CallStore:
    """The calls that are remembered: those used within `idle` seconds, or busy; at most the `most` latest.

    `gone` is told of each that is forgotten.
    """

    def __init__(
        self,
        *,
        idle: float = 1800.0,
        max_calls: int = 10_000,
        on_call_ended: Callable[[str], None] = lambda id: None,
    ) -> None:
        self.idle = idle
        self.max_calls = max_calls
        self.on_call_ended = on_call_ended
        self._weight = 0
        self._calls: OrderedDict[str, CallRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, id: str) -> bool:
        """Is a call of that id remembered?"""
        return id in self._calls

    def is_open(self, id: str) -> bool:
        """Does a socket serve this call now?"""
        return id in self._calls and self._calls[id].open_sockets > 0

    def get(self, id: str, now: float) -> CallRecord:
        """The call of that id, a new one if it is not known (any more)."""
        call = self._calls.get(id)
        if call is not None and call.used + self.idle <= now and not call.busy:
            self._drop(call)
            call = None
        call = CallRecord(id, now) if call is None else call
        call.used = now
        self._calls[id] = call
        self._calls.move_to_end(id)
        self._forget(now, id)
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
        said = "".join(event for event in call.run.event_log.events if type(event) is str)
        return part_heard(said, last_reply(since) or "")

    def remember(self, id: str | None, words: str) -> None:
        """We said these words; our own phrases are few, so that the set stays small."""
        call = self._calls.get(id or "")
        if call is not None and len(call.said) < MOST_SAID:
            call.said.add(words.strip())

    def end(self, id: str) -> None:
        """The call is over: forget it, and stop what it is doing."""
        call = self._calls.get(id)
        if call is None:
            return
        if call.run is not None and not call.run.event_log.ended:
            call.run.cancel()
        self._drop(call)

    def weigh(self, call: CallRecord) -> None:
        """A turn of this call began: count what is kept of it, and drop what is too much."""
        weight = call.weight()
        self._weight += weight - call.counted
        call.counted = weight
        self._forget(call.used, call.id)

    def _forget(self, now: float, keep: str) -> None:
        """Drop the oldest that were not used for long, or are too many or too much, but none that is busy."""
        for _ in range(MOST_LOOKS):
            call = next(iter(self._calls.values()))
            too_much = len(self._calls) > self.max_calls or self._weight > MOST_WEIGHT
            if call.id == keep or not (too_much or call.used + self.idle <= now):
                return
            if call.busy:
                call.used = now
                self._calls.move_to_end(call.id)
            else:
                self._drop(call)

    def _drop(self, call: CallRecord) -> None:
        """Forget a call, and tell whoever wants to know."""
        del self._calls[call.id]
        self._weight -= call.counted
        self.on_call_ended(call.id)


def _weight(message: Message) -> int:
    """The characters of a message, images and all."""
    weight = len(message.text) + 100
    for part in message.parts:
        for value in part.values():
            values = value.values() if isinstance(value, Mapping) else (value,)
            weight += sum(len(text) for text in values if isinstance(text, str))
    return weight
