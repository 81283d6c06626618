"""Where every millisecond of a turn went: the stamps, and the words they are reported in.

Two latencies, never one: an acknowledgement makes "time to first token" meaningless, so the time to
our words (`ack`) and to the agent's own first token (`answer`) are kept apart everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Stamps:
    """The times of one turn as one listener saw it, in seconds on the loop's clock.

    `accepted` is when the request was complete. None means that it did not happen (yet).
    """

    accepted: float
    first: float | None = None
    ack: float | None = None
    answer: float | None = None
    ended: float | None = None
    cancelled: float | None = None
    stopped: float | None = None
    gap: float = 0.0
    deltas: int = 0
    heard: float | None = None

    def speak(self, now: float) -> None:
        """Something audible goes out now: the silence before it was a gap."""
        gap = now - (self.accepted if self.heard is None else self.heard)
        if gap > self.gap:
            self.gap = gap
        self.heard = now

    def close(self, now: float) -> None:
        """The stream ends now; a silence before the end is a gap too."""
        self.speak(now)
        self.ended = now

    def after(self, stamp: float | None) -> float | None:
        """Seconds from acceptance to a stamp."""
        return None if stamp is None else stamp - self.accepted

    @property
    def stop(self) -> float | None:
        """Seconds from the cancellation to the agent's generator being closed."""
        if self.cancelled is None or self.stopped is None:
            return None
        return self.stopped - self.cancelled


@dataclass(slots=True)
class CallStamps:
    """One call, as long as its socket was open: times in seconds, and what happened how often.

    `silence` is the longest silence that a turn of it had.
    """

    opened: float
    over: float | None = None
    turns: int = 0
    interruptions: int = 0
    silence: float = 0.0


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def comment(stamps: Stamps) -> str:
    """One line for the stream itself: `ack=0.1ms answer=312.0ms gap=311.9ms`; "-" for what was not."""
    values = {"ack": stamps.after(stamps.ack), "answer": stamps.after(stamps.answer), "gap": stamps.gap}
    return " ".join(
        f"{name}=-" if value is None else f"{name}={value * 1000:.1f}ms" for name, value in values.items()
    )


def line(stamps: Stamps, **facts: str | None) -> dict[str, Any]:
    """The turn as one flat object for the log. Never message text, keys or phone numbers."""
    return {
        "event": "turn",
        **facts,
        "first_chunk_ms": milliseconds(stamps.after(stamps.first)),
        "ack_ms": milliseconds(stamps.after(stamps.ack)),
        "answer_ms": milliseconds(stamps.after(stamps.answer)),
        "gap_ms": milliseconds(stamps.gap),
        "total_ms": milliseconds(stamps.after(stamps.ended or stamps.cancelled)),
        "stop_ms": milliseconds(stamps.stop),
        "deltas": stamps.deltas,
    }
