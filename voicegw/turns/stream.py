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
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.timings import TurnTimings, comment

KEEP = 4.0
"""The longest silence on the wire, in seconds: the strictest client gives up after 5."""
MOST = 65_536
"""Bytes from which on `take` stops: a reader who paused catches up in steps, not in one huge write."""


@dataclass(slots=True)
class EventLog:
    """What a run produced so far. The run appends, listeners read; `over` is set last."""

    events: list[Event] = field(default_factory=list)
    failure: VoicegwError | None = None
    ended: bool = False


class StreamEncoder(Protocol):
    """One platform's wire: our words in, bytes out. `idle` is what keeps a silent stream alive."""

    @property
    def keepalive(self) -> bytes: ...
    def start(self, words: str) -> bytes: ...
    def text_delta(self, delta: str) -> bytes: ...
    def tool_call(self, call: ToolCall) -> bytes: ...
    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes: ...


def separator(said: str) -> str:
    """What stands between words that broke off and a sentence of ours: a pause, unless one is there."""
    if not said or said[-1].isspace():
        return ""
    return "... " if said[-1].isalnum() else " "


class ResponseStream:
    """One reader of one record. `apology` turns a failure into the sentence its caller hears.

    `remember` is told of every word of ours that is said.
    """

    def __init__(
        self,
        event_log: EventLog,
        encoder: StreamEncoder,
        ack: AckSchedule,
        timings: TurnTimings,
        apology: Callable[[VoicegwError], str],
        *,
        note: bool = False,
        on_own_words: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.on_own_words = on_own_words
        self.event_log = event_log
        self.encoder = encoder
        self.ack = ack
        self.timings = timings
        self.apology = apology
        self.note = note
        self.position = 0
        self.last = timings.accepted
        self.last_text = ""
        self.last_was_own = False
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
    def has_more(self) -> bool:
        """Is there more in the record than was taken? Then ask again as soon as it can be written."""
        return self.position < len(self.event_log.events)

    def start(self, now: float) -> bytes:
        """The first chunk, which leaves before the agent is even asked."""
        self.timings.first_chunk = self.last = now
        return self.encoder.start(self._words(self.ack.start(now), now))

    def read(self, now: float) -> bytes:
        """What is due by now, at most about `MAX_DIGITS` bytes of it; sets `done` with the last of them."""
        record, events = self.event_log, self.event_log.events
        out: list[bytes] = []
        room = MOST
        while self.position < len(events) and room > 0:
            event = events[self.position]
            out.append(self._text(event, now) if type(event) is str else self._encode(event, now))
            self.position += 1
            room -= len(out[-1])
        if self.ack.deadline is not None and (words := self.ack.due(now)):
            out.append(self.encoder.text_delta(separator(self.last_text) + self._words(words, now)))
        if record.ended and not self.done and not self.has_more:
            out.append(self._end(now))
        data = b"".join(out)
        if data or now >= self.last + KEEP:
            self.last = now
            return data or self.encoder.keepalive
        return data

    def _words(self, words: str, now: float) -> str:
        """Note that our own words go out now."""
        if words:
            if self.timings.first_ack is None:
                self.timings.first_ack = now
            self.timings.mark_audible(now)
            self.last_text = words
            self.last_was_own = True
            self.on_own_words(words)
        return words

    def _encode(self, event: Event, now: float) -> bytes:
        """What is no text."""
        if type(event) is ToolCall:
            self.ack.observe(event, now)
            self.calls += 1
            return self.encoder.tool_call(event)
        if type(event) is Usage:
            self.usage = event
        elif type(event) is Finish:
            self.reason = event.reason
        else:
            self.ack.observe(event, now)
        return b""

    def _text(self, delta: str, now: float) -> bytes:
        stamps = self.timings
        if self.last_was_own:
            delta = delta.lstrip()  # our words end in a space already
        if not delta:
            return b""
        self.last_was_own = False
        if stamps.first_token is None or self.ack.deadline is not None:
            if delta.isspace():
                return self.encoder.text_delta(delta)
            self.ack.observe(delta, now)
            stamps.first_token = now if stamps.first_token is None else stamps.first_token
        stamps.mark_audible(now)
        stamps.deltas += 1
        self.last_text = delta
        return self.encoder.text_delta(delta)

    def _end(self, now: float) -> bytes:
        """The well-formed end, whatever happened: a failure after the first byte is a sentence."""
        self.done = True
        sorry = b""
        if self.event_log.failure is not None and not self.calls:
            words = separator(self.last_text) + self._words(self.apology(self.event_log.failure), now)
            sorry = self.encoder.text_delta(words)
        self.timings.close(now)
        reason = "tool_calls" if self.calls and self.reason == "stop" else self.reason
        return sorry + self.encoder.finish(reason, self.usage, comment(self.timings) if self.note else "")
