"""One turn of a call on its way to the caller: a listener's words, frame by frame."""

from __future__ import annotations

from collections.abc import Callable

from voicegw.calls.codec import TurnEncoder
from voicegw.events import ToolCall
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream

TOGETHER = 0.025
"""Seconds for which words are gathered into one frame, after the first frame of a turn."""


class TurnPlayback:
    """Follows one run for one call. `wake` is called whenever there may be something to send."""

    def __init__(
        self, run: Run, listener: ResponseStream, codec: TurnEncoder, wake: Callable[[], None]
    ) -> None:
        self.run = run
        self.listener = listener
        self.codec = codec
        self.wake = wake
        self.own = ""  # words of ours
        self._next = 0.0

    @property
    def deadline(self) -> float:
        """When to ask again although nothing happened."""
        return self._next if self.behind else max(self.listener.deadline, self._next)

    @property
    def done(self) -> bool:
        """Is everything said?"""
        return self.listener.done

    @property
    def behind(self) -> bool:
        """Are there words that wait for company?"""
        return self.listener.has_more or (self.listener.event_log.ended and not self.done)

    @property
    def actions(self) -> tuple[ToolCall, ...]:
        """What the agent did on the call in this turn."""
        return tuple(event for event in self.run.event_log.events if type(event) is ToolCall)

    def begin(self, now: float) -> bytes:
        """The first frames, which leave before the agent is asked."""
        head = self.listener.start(now)
        return head + self._sent(self.codec.drain(), now)  # what follows no words waits for none

    def take(self, now: float) -> bytes:
        """The frames that are due by now; words that follow others closely are gathered."""
        if now < self._next and not self.listener.event_log.ended:
            return b""
        data = self.listener.read(now)
        return self._sent(data + self.codec.drain(), now)

    def _sent(self, data: bytes, now: float) -> bytes:
        if data:
            self._next = now + TOGETHER
        return data
