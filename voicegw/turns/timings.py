"""Where every millisecond of a turn went: the stamps, and the words they are reported in.

Two latencies, never one: an acknowledgement makes "time to first token" meaningless, so the time to
our words (`ack`) and to the agent's own first token (`answer`) are kept apart everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class TurnTimings:
    """The times of one turn as one listener saw it, in seconds on the loop's clock.

    `accepted` is when the request was complete. None means that it did not happen (yet).
    """

    accepted: float
    first_chunk: float | None = None
    first_ack: float | None = None
    first_token: float | None = None
    ended: float | None = None
    cancelled: float | None = None
    agent_closed: float | None = None
    longest_gap: float = 0.0
    deltas: int = 0
    last_audible: float | None = None

    def mark_audible(self, now: float) -> None:
        """Something audible goes out now: the silence before it was a gap."""
        gap = now - (self.accepted if self.last_audible is None else self.last_audible)
        if gap > self.longest_gap:
            self.longest_gap = gap
        self.last_audible = now

    def close(self, now: float) -> None:
        """The stream ends now; a silence before the end is a gap too."""
        self.mark_audible(now)
        self.ended = now

    def seconds_until(self, stamp: float | None) -> float | None:
        """Seconds from acceptance to a stamp."""
        return None if stamp is None else stamp - self.accepted

    @property
    def stop_seconds(self) -> float | None:
        """Seconds from the cancellation to the agent's generator being closed."""
        if self.cancelled is None or self.agent_closed is None:
            return None
        return self.agent_closed - self.cancelled


@dataclass(slots=True)
class CallTimings:
    """One call, as long as its socket was open: times in seconds, and what happened how often.

    `silence` is the longest silence that a turn of it had.
    """

    opened: float
    ended: float | None = None
    turns: int = 0
    interruptions: int = 0
    longest_gap: float = 0.0


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def comment(stamps: TurnTimings) -> str:
    """One line for the stream itself: `ack=0.1ms answer=312.0ms gap=311.9ms`; "-" for what was not."""
    values = {
        "ack": stamps.seconds_until(stamps.first_ack),
        "answer": stamps.seconds_until(stamps.first_token),
        "gap": stamps.longest_gap,
    }
    return " ".join(
        f"{name}=-" if value is None else f"{name}={value * 1000:.1f}ms" for name, value in values.items()
    )


def as_log_record(stamps: TurnTimings, **facts: str | None) -> dict[str, Any]:
    """The turn as one flat object for the log. Never message text, keys or phone numbers."""
    return {
        "event": "turn",
        **facts,
        "first_chunk_ms": milliseconds(stamps.seconds_until(stamps.first_chunk)),
        "ack_ms": milliseconds(stamps.seconds_until(stamps.first_ack)),
        "answer_ms": milliseconds(stamps.seconds_until(stamps.first_token)),
        "gap_ms": milliseconds(stamps.longest_gap),
        "total_ms": milliseconds(stamps.seconds_until(stamps.ended or stamps.cancelled)),
        "stop_ms": milliseconds(stamps.stop_seconds),
        "deltas": stamps.deltas,
    }
