"""A listener follows a run for one request or socket and weaves our own words into it.

Pure: `take(now)` answers with every byte that is due by now, and `deadline` says when to ask again
though nothing happened. Its place is an index into the run's record, so a reader that pauses needs no
queue: whoever writes simply asks later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from voicegw.errors import VoicegwError
from voicegw.events import Event, Finish, ToolCall, Usage
from voicegw.turns.acknowledgement import Ack
from voicegw.turns.timings import Stamps, comment

KEEP = 4.0
"""The longest silence on the wire, in seconds: the strictest client gives up after 5."""
MOST = 65_536
"""Bytes from which on `take` stops: a reader who paused catches up in steps, not in one huge write."""


@dataclass(slots=True)
class Record:
    """What a run produced so far. The run appends, listeners read; `over` is set last."""

    events: list[Event] = field(default_factory=list)
    failure: VoicegwError | None = None
    over: bool = False


class Codec(Protocol):
    """One platform's wire: our words in, bytes out. `idle` is what keeps a silent stream alive."""

    @property
    def idle(self) -> bytes: ...
    def begin(self, words: str) -> bytes: ...
    def text(self, delta: str) -> bytes: ...
    def call(self, call: ToolCall) -> bytes: ...
    def end(self, reason: str, usage: Usage | None, note: str = "") -> bytes: ...


def joint(said: str) -> str:
    """What stands between words that broke off and a sentence of ours: a pause, unless one is there."""
    if not said or said[-1].isspace():
        return ""
    return "... " if said[-1].isalnum() else " "


class Listener:
    """One reader of one record. `apology` turns a failure into the sentence its caller hears.

    `remember` is told of every word of ours that is said.
    """

    def __init__(
        self,
        record: Record,
        codec: Codec,
        ack: Ack,
        stamps: Stamps,
        apology: Callable[[VoicegwError], str],
        *,
        note: bool = False,
        remember: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.remember = remember
        self.record = record
        self.codec = codec
        self.ack = ack
        self.stamps = stamps
        self.apology = apology
        self.note = note
        self.place = 0
        self.last = stamps.accepted
        self.glue = ""
        self.ours = False
        self.calls = 0
        self.usage: Usage | None = None
        self.reason = "stop"
        self.done = False

    @property
    def deadline(self) -> float:
        """When `take` wants to be asked although nothing happened."""
        alive = self.last + KEEP
        return alive if self.ack.deadline is None else min(alive, self.ack.deadline)

    @property
    def behind(self) -> bool:
        """Is there more in the record than was taken? Then ask again as soon as it can be written."""
        return self.place < len(self.record.events)

    def begin(self, now: float) -> bytes:
        """The first chunk, which leaves before the agent is even asked."""
        self.stamps.first = self.last = now
        return self.codec.begin(self._words(self.ack.begin(now), now))

    def take(self, now: float) -> bytes:
        """What is due by now, at most about `MOST` bytes of it; sets `done` with the last of them."""
        record, events = self.record, self.record.events
        out: list[bytes] = []
        room = MOST
        while self.place < len(events) and room > 0:
            event = events[self.place]
            out.append(self._text(event, now) if type(event) is str else self._encode(event, now))
            self.place += 1
            room -= len(out[-1])
        if self.ack.deadline is not None and (words := self.ack.due(now)):
            out.append(self.codec.text(joint(self.glue) + self._words(words, now)))
        if record.over and not self.done and not self.behind:
            out.append(self._end(now))
        data = b"".join(out)
        if data or now >= self.last + KEEP:
            self.last = now
            return data or self.codec.idle
        return data

    def _words(self, words: str, now: float) -> str:
        """Note that our own words go out now."""
        if words:
            if self.stamps.ack is None:
                self.stamps.ack = now
            self.stamps.speak(now)
            self.glue = words
            self.ours = True
            self.remember(words)
        return words

    def _encode(self, event: Event, now: float) -> bytes:
        """What is no text."""
        if type(event) is ToolCall:
            self.ack.heard(event, now)
            self.calls += 1
            return self.codec.call(event)
        if type(event) is Usage:
            self.usage = event
        elif type(event) is Finish:
            self.reason = event.reason
        else:
            self.ack.heard(event, now)
        return b""

    def _text(self, delta: str, now: float) -> bytes:
        stamps = self.stamps
        if self.ours:
            delta = delta.lstrip()  # our words end in a space already
        if not delta:
            return b""
        self.ours = False
        if stamps.answer is None or self.ack.deadline is not None:
            if delta.isspace():
                return self.codec.text(delta)
            self.ack.heard(delta, now)
            stamps.answer = now if stamps.answer is None else stamps.answer
        stamps.speak(now)
        stamps.deltas += 1
        self.glue = delta
        return self.codec.text(delta)

    def _end(self, now: float) -> bytes:
        """The well-formed end, whatever happened: a failure after the first byte is a sentence."""
        self.done = True
        sorry = b""
        if self.record.failure is not None and not self.calls:
            words = joint(self.glue) + self._words(self.apology(self.record.failure), now)
            sorry = self.codec.text(words)
        self.stamps.close(now)
        reason = "tool_calls" if self.calls and self.reason == "stop" else self.reason
        return sorry + self.codec.end(reason, self.usage, comment(self.stamps) if self.note else "")
