"""The pings that Retell sends on a call, and the pongs that it expects. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from voicegw.simulate.platform import Frame, encode_frame
from voicegw.simulate.recording import Observation, PongSeen, Violation


class RetellPings:
    """Numbers the pings of one call by their timestamps, which the pongs repeat in order."""

    def __init__(self, started_ms: int) -> None:
        """`started_ms` is the time of day at which the call began, in milliseconds since 1970."""
        self.newest_ms = started_ms
        self.unanswered: deque[int] = deque()  # timestamps of the pings without a pong

    def send(self) -> Frame:
        """Return the next ping."""
        self.newest_ms += 1
        self.unanswered.append(self.newest_ms)
        return encode_frame(interaction_type="ping_pong", timestamp=self.newest_ms)

    def reset_connection(self) -> None:
        """Expect no pong any more: the connection is lost."""
        self.unanswered.clear()

    def receive_pong(self, timestamp: int) -> Iterator[Observation]:
        """Yield the observations in a pong."""
        expected = self.unanswered.popleft() if self.unanswered else timestamp
        if timestamp != expected:
            yield Violation("echo", f"timestamp {timestamp}, not {expected}")
        yield PongSeen()
