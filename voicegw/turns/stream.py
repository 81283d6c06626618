"""One subscriber's stream of a run: the agent's events and the gateway's own phrases, as bytes.

Pure: `read(now)` returns all bytes that are due, and `deadline` is the time of the next call without a new
event. The stream's position is an index into the event log, so a reader that pauses needs no queue. It knows
no platform: a `StreamEncoder` writes the wire format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from voicegw.errors import VoicegwError
from voicegw.events import Event, Finish, ToolCall, Usage
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.completion import final_reason
from voicegw.turns.timings import TurnTimings, format_comment

KEEPALIVE_INTERVAL = 4.0
"""Seconds without bytes after which a keepalive is sent: the strictest client gives up after 5."""
MAX_READ_BYTES = 65_536
"""Bytes after which `read` stops: a reader that paused catches up in steps, not in one huge write."""


@dataclass(slots=True)
class EventLog:
    """The events of a run so far. The run appends, streams read."""

    events: list[Event] = field(default_factory=list)
    """The events, in their order; text is speakable if the run has a speech filter."""
    failure: VoicegwError | None = None
    """The failure that ended the run; None without one."""
    has_ended: bool = False
    """True once nothing more is appended. It is set last."""
    was_cancelled: bool = False
    """True if the gateway ended the run before the agent did, for example for a newer turn."""


class StreamEncoder(Protocol):
    """Encodes one answer in the wire format of one platform. No method raises."""

    @property
    def keepalive(self) -> bytes:
        """The bytes that keep a silent stream alive; empty if the platform needs none."""
        ...

    def start(self, words: str) -> bytes:
        """Return the beginning of the answer, with `words` if there are any. It is called once, first."""
        ...

    def text_delta(self, delta: str) -> bytes:
        """Return the bytes of a piece of text. `delta` is not empty."""
        ...

    def tool_call(self, call: ToolCall) -> bytes:
        """Return the bytes of a complete tool call."""
        ...

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the end of the answer. It is called once, last.

        `reason` is OpenAI's `finish_reason`, or `CANCELLED` for an answer that the gateway cut. `usage` is
        None if the agent did not report any. `note` is a line for people who read the stream; a format
        without comments leaves it out.
        """
        ...


def separator(text: str) -> str:
    """Return the separator between text that broke off and a phrase of the gateway.

    It is a pause ("... ") within a sentence, a space after one, and "" if a space is there already.
    """
    if not text or text[-1].isspace():
        return ""
    return "... " if text[-1].isalnum() else " "


class ResponseStream:
    """One reader's stream of an event log. Only `apologize` and `on_own_words` can raise here."""

    def __init__(
        self,
        event_log: EventLog,
        encoder: StreamEncoder,
        ack: AckSchedule,
        timings: TurnTimings,
        apologize: Callable[[VoicegwError], str],
        *,
        encode_failure: Callable[[VoicegwError], bytes] | None = None,
        adds_timings_note: bool = False,
        on_own_words: Callable[[str, int, int], None] = lambda words, events, calls: None,
    ) -> None:
        # Called with each phrase of the gateway that is sent, and the numbers of the agent's events and tool
        # calls before it.
        self.on_own_words = on_own_words
        # The events to send, and the encoder of their wire format.
        self.event_log = event_log
        self.encoder = encoder
        # The schedule of the gateway's phrases.
        self.ack = ack
        # The times of this stream, which it fills in.
        self.timings = timings
        # Returns the sentence that the caller hears after this failure.
        self.apologize = apologize
        # Returns the end of the answer after this failure, for a program that reads it; None for an apology.
        self.encode_failure = encode_failure
        # True if the end of the stream has a comment with the latencies.
        self.adds_timings_note = adds_timings_note
        # The index in the event log of the next event to send.
        self.position = 0
        # The time at which bytes were last due.
        self.last_write_at = timings.accepted_at
        # The last text that was sent, and whether it was a phrase of the gateway.
        self.last_text = ""
        self.last_was_own = False
        # Whether the agent's words follow each other: the first token is sent, and no phrase is due.
        self._is_flowing = False
        # The number of tool calls that were sent.
        self.tool_call_count = 0
        # The last usage and finish reason that the agent gave.
        self.usage: Usage | None = None
        self.finish_reason = "stop"
        # True once `read` returned the end of the answer.
        self.is_done = False

    @property
    def deadline(self) -> float:
        """The time at which `read` has something to send even without a new event."""
        keepalive_at = self.last_write_at + KEEPALIVE_INTERVAL
        return keepalive_at if self.ack.deadline is None else min(keepalive_at, self.ack.deadline)

    @property
    def has_more(self) -> bool:
        """Does the event log hold events that were not sent? Then call `read` again after the write."""
        return self.position < len(self.event_log.events)

    def start(self, now: float) -> bytes:
        """Return the first chunk, which is sent before the run starts."""
        self.timings.first_chunk_at = self.last_write_at = now
        return self.encoder.start(self._say(self.ack.start(now), now))

    def read(self, now: float) -> bytes:
        """Return the bytes that are due, about `MAX_READ_BYTES` at most. Set `is_done` with the last ones."""
        events, position = self.event_log.events, self.position
        is_one = self._is_flowing and position + 1 == len(events)
        if is_one and type(text := events[position]) is str and text:  # nearly every read
            self.position = position + 1
            self.last_write_at = now
            self.timings.mark_audible(now)
            self.timings.delta_count += 1
            self.last_text = text
            data = self.encoder.text_delta(text)
        else:
            data = self._read_all(now)
        if self.event_log.has_ended and not self.is_done and self.position == len(events):
            data += self._finish(now)
        return data

    def _read_all(self, now: float) -> bytes:
        """Return the bytes of all events, of a phrase that is due, or of a keepalive."""
        events = self.event_log.events
        chunks: list[bytes] = []
        remaining_bytes = MAX_READ_BYTES
        while self.position < len(events) and remaining_bytes > 0:
            event = events[self.position]
            chunks.append(
                self._encode_text(event, now) if type(event) is str else self._encode_event(event, now)
            )
            self.position += 1
            remaining_bytes -= len(chunks[-1])
        if self.ack.deadline is not None and (words := self.ack.take_due_phrase(now)):
            chunks.append(self.encoder.text_delta(separator(self.last_text) + self._say(words, now)))
        data = b"".join(chunks)
        has_spoken = self.timings.first_token_at is not None and not self.last_was_own
        self._is_flowing = has_spoken and self.ack.deadline is None
        if data or now >= self.last_write_at + KEEPALIVE_INTERVAL:
            self.last_write_at = now
            return data or self.encoder.keepalive
        return data

    def _say(self, words: str, now: float) -> str:
        """Return a phrase of the gateway, and note that it is sent now."""
        if words:
            if self.timings.first_ack_at is None:
                self.timings.first_ack_at = now
            self.timings.mark_audible(now)
            self.last_text = words
            self.last_was_own = True
            self.on_own_words(words, self.position, self.tool_call_count)
        return words

    def _encode_event(self, event: Event, now: float) -> bytes:
        """Return the bytes of a tool call; of any other event that is not text, only take note."""
        if type(event) is ToolCall:
            self.ack.observe(event, now)
            self.tool_call_count += 1
            return self.encoder.tool_call(event)
        if type(event) is Usage:
            self.usage = event
        elif type(event) is Finish:
            self.finish_reason = event.reason
        else:
            self.ack.observe(event, now)
        return b""

    def _encode_text(self, delta: str, now: float) -> bytes:
        timings = self.timings
        if self.last_was_own:
            delta = delta.lstrip()  # the gateway's phrases end in a space
        if not delta:
            return b""
        self.last_was_own = False
        if timings.first_token_at is None or self.ack.deadline is not None:
            if delta.isspace():
                return self.encoder.text_delta(delta)
            self.ack.observe(delta, now)
            timings.first_token_at = now if timings.first_token_at is None else timings.first_token_at
        timings.mark_audible(now)
        timings.delta_count += 1
        self.last_text = delta
        return self.encoder.text_delta(delta)

    def _finish(self, now: float) -> bytes:
        """Return a well-formed end in every case.

        A failure after the first byte becomes an apology, or with `encode_failure` an error.
        """
        self.is_done = True
        failure, apology = self.event_log.failure, b""
        if failure is not None and self.encode_failure is not None:
            self.timings.close(now)
            return self.encode_failure(failure)
        if failure is not None and not self.tool_call_count:
            words = separator(self.last_text) + self._say(self.apologize(failure), now)
            apology = self.encoder.text_delta(words)
        self.timings.close(now)
        reason = final_reason(self.finish_reason, self.tool_call_count > 0, self.event_log.was_cancelled)
        note = format_comment(self.timings) if self.adds_timings_note else ""
        return apology + self.encoder.finish(reason, self.usage, note)
