"""Plays one turn of a call: reads the turn's stream and gathers its words into frames.

It knows no socket: `voicegw.calls.send_queue` sends the frames.
"""

from __future__ import annotations

from collections.abc import Callable

from voicegw.calls.codec import TurnEncoder
from voicegw.conversations.engine import ActiveTurn
from voicegw.conversations.spoken_reply import SpokenReply
from voicegw.events import ToolCall
from voicegw.turns.stream import ResponseStream

GATHER_SECONDS = 0.025
"""Seconds for which words are gathered into one frame, after a frame of the same turn was sent."""
TIMER_TOLERANCE = 0.001
"""Seconds by which a timer of the loop may fire early; without it, the loop would spin meanwhile."""


class TurnPlayback:
    """Subscribes to one run for one call."""

    def __init__(
        self,
        active: ActiveTurn,
        stream: ResponseStream,
        encoder: TurnEncoder,
        wake: Callable[[], None],
        chars_per_second: float = 0.0,
        spoken_until: float = 0.0,
    ) -> None:
        """`chars_per_second` is the speed of speech: the end of the call waits for it; 0 sends it at once.

        `spoken_until` is when the words of the round before can have been spoken, on the loop's clock.
        """
        self.active = active  # the turn; it closes when the player leaves it
        self.run = active.run
        self.stream = stream  # reads the run's events and adds the gateway's own words
        self.encoder = encoder  # the same object as `stream.encoder`, with `drain` and `stop`
        self.wake = wake  # the run calls it when there may be something to send
        self.chars_per_second = chars_per_second
        encoder.holds_end = chars_per_second > 0
        # The gateway's own words in this turn, each with the characters of the turn before it.
        self._own_words: list[tuple[int, str]] = []
        self._next_frame_at = 0.0  # before this time of the loop's clock, words are gathered
        self.spoken_until = spoken_until  # when the words that were sent can have been spoken
        self._timed_chars = 0  # characters that `spoken_until` includes
        self._end_at: float | None = None  # when to send the held end of the call

    @property
    def deadline(self) -> float:
        """When to call `read` although the run reported nothing, in seconds of the loop's clock."""
        if self._end_at is not None:
            return self._end_at
        return self._next_frame_at if self.has_more else max(self.stream.deadline, self._next_frame_at)

    @property
    def done(self) -> bool:
        """Was the last frame of the turn read, with the end of the call?"""
        return self.stream.is_done and self._end_at is None

    @property
    def has_more(self) -> bool:
        """Are there words that wait to be gathered, or an end that was not read?"""
        return self.stream.has_more or (self.stream.event_log.has_ended and not self.stream.is_done)

    @property
    def actions(self) -> tuple[ToolCall, ...]:
        """The agent's tool calls in this turn."""
        return tuple(event for event in self.run.event_log.events if type(event) is ToolCall)

    @property
    def spoken(self) -> SpokenReply:
        """Everything that was sent in this turn, and the gateway's own words in it."""
        text, spans = self.encoder.spoken_text, []
        for start, words in self._own_words:
            if (found := text.find(words, start)) >= 0:
                spans.append((start, found + len(words)))
        return SpokenReply(text, tuple(spans))

    def note_own_words(self, words: str) -> None:
        """Note words of the gateway that are about to be gathered."""
        sent = len(self.encoder.spoken_text) + sum(map(len, self.encoder.gathered))
        self._own_words.append((sent, words))

    def start(self, now: float) -> bytes:
        """Return the first frames, which are sent before the agent is asked; `now` as for `read`."""
        first = self.stream.start(now)
        return first + self._note_sent(self.encoder.drain(), now)  # without words the next are not delayed

    def read(self, now: float) -> bytes:
        """Return the frames that are due at `now`, in seconds of the loop's clock; b"" if there are none.

        Words within `GATHER_SECONDS` of the last frame are kept back; the end of the turn is never delayed.
        The end of the call may be.
        """
        if now < self._next_frame_at and not self.stream.event_log.has_ended:
            return b""
        if self._end_at is not None:
            return self._read_end(now)
        data = self.stream.read(now)
        frames = self._note_sent(data + self.encoder.drain(), now)
        if self.encoder.ends_call and self.encoder.holds_end and self.stream.is_done:
            self._end_at = self.spoken_until
        return frames

    def _read_end(self, now: float) -> bytes:
        """Return the held end of the call once the words before it can have been spoken."""
        if self._end_at is None or now < self._end_at - TIMER_TOLERANCE:
            return b""
        self._end_at = None
        return self.encoder.hang_up()

    def _note_sent(self, data: bytes, now: float) -> bytes:
        if data:
            self._next_frame_at = now + GATHER_SECONDS
            if self.chars_per_second:
                chars = len(self.encoder.spoken_text)
                seconds = (chars - self._timed_chars) / self.chars_per_second
                self.spoken_until, self._timed_chars = max(self.spoken_until, now) + seconds, chars
        return data
