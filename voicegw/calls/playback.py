"""Plays one turn of a call: reads the turn's stream and gathers its words into frames.

It knows no socket: `voicegw.calls.send_queue` sends the frames.
"""

from __future__ import annotations

from collections.abc import Callable

from voicegw.calls.codec import TurnEncoder
from voicegw.events import ToolCall
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream

GATHER_SECONDS = 0.025
"""Seconds for which words are gathered into one frame, after a frame of the same turn was sent."""


class TurnPlayback:
    """Subscribes to one run for one call."""

    def __init__(
        self, run: Run, stream: ResponseStream, encoder: TurnEncoder, wake: Callable[[], None]
    ) -> None:
        self.run = run
        self.stream = stream  # reads the run's events and adds the gateway's own words
        self.encoder = encoder  # the same object as `stream.encoder`, with `drain` and `stop`
        self.wake = wake  # the run calls it when there may be something to send
        self.own_text = ""  # the gateway's own words in this turn
        self._next_frame_at = 0.0  # before this time of the loop's clock, words are gathered

    @property
    def deadline(self) -> float:
        """When to call `read` although the run reported nothing, in seconds of the loop's clock."""
        return self._next_frame_at if self.has_more else max(self.stream.deadline, self._next_frame_at)

    @property
    def done(self) -> bool:
        """Was the last frame of the turn read?"""
        return self.stream.is_done

    @property
    def has_more(self) -> bool:
        """Are there words that wait to be gathered, or an end that was not read?"""
        return self.stream.has_more or (self.stream.event_log.has_ended and not self.done)

    @property
    def actions(self) -> tuple[ToolCall, ...]:
        """The agent's tool calls in this turn."""
        return tuple(event for event in self.run.event_log.events if type(event) is ToolCall)

    def start(self, now: float) -> bytes:
        """Return the first frames, which are sent before the agent is asked; `now` as for `read`."""
        first = self.stream.start(now)
        return first + self._note_sent(self.encoder.drain(), now)  # without words the next are not delayed

    def read(self, now: float) -> bytes:
        """Return the frames that are due at `now`, in seconds of the loop's clock; b"" if there are none.

        Words within `GATHER_SECONDS` of the last frame are kept back; the end of the turn is never delayed.
        """
        if now < self._next_frame_at and not self.stream.event_log.has_ended:
            return b""
        data = self.stream.read(now)
        return self._note_sent(data + self.encoder.drain(), now)

    def _note_sent(self, data: bytes, now: float) -> bytes:
        if data:
            self._next_frame_at = now + GATHER_SECONDS
        return data
