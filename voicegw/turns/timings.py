"""The times of a turn and of a call, and their form in the log. Pure.

There are two latencies, never one: with an acknowledgement, "time to first token" has two meanings. The time
to the gateway's own words (`ack`) and the time to the agent's first token (`answer`) are separate everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class TurnTimings:
    """The times of one turn as one stream saw it, in seconds on the run's clock; None before they happen."""

    accepted_at: float
    """The request was complete."""
    first_chunk_at: float | None = None
    """The first chunk was sent, with or without words."""
    first_ack_at: float | None = None
    """The gateway's first own words were sent."""
    first_token_at: float | None = None
    """The agent's first visible text was sent."""
    ended_at: float | None = None
    """The end of the answer was sent."""
    cancelled_at: float | None = None
    """The run was cancelled."""
    agent_closed_at: float | None = None
    """The agent's generator was closed."""
    longest_gap: float = 0.0
    """The longest silence so far, in seconds, also before the first and after the last words."""
    delta_count: int = 0
    """The number of the agent's text deltas that were sent, without white space before the first token."""
    last_audible_at: float | None = None
    """Words were last sent; None before the first ones."""

    def mark_audible(self, now: float) -> None:
        """Note that words are sent now; the silence before them counts for `longest_gap`."""
        gap = now - (self.accepted_at if self.last_audible_at is None else self.last_audible_at)
        if gap > self.longest_gap:
            self.longest_gap = gap
        self.last_audible_at = now

    def close(self, now: float) -> None:
        """Note the end of the answer; the silence before it counts for `longest_gap`."""
        self.mark_audible(now)
        self.ended_at = now

    def seconds_until(self, time: float | None) -> float | None:
        """Return the seconds from the request to `time`; None for None."""
        return None if time is None else time - self.accepted_at

    @property
    def stop_seconds(self) -> float | None:
        """Seconds from the cancellation until the agent's generator was closed; None if either is missing."""
        if self.cancelled_at is None or self.agent_closed_at is None:
            return None
        return self.agent_closed_at - self.cancelled_at


@dataclass(slots=True)
class CallTimings:
    """The times and counts of one call, from the opening of its socket to its closing; times in seconds."""

    opened_at: float
    """The socket was opened."""
    ended_at: float | None = None
    """The socket was closed; None before."""
    turn_count: int = 0
    """The number of turns."""
    interruption_count: int = 0
    """The number of times the caller interrupted."""
    longest_gap: float = 0.0
    """The longest silence of any turn, in seconds."""


def to_milliseconds(seconds: float | None) -> float | None:
    """Return milliseconds with three decimals; None for None."""
    return None if seconds is None else round(seconds * 1000, 3)


def format_comment(timings: TurnTimings) -> str:
    """Return the latencies as a comment: `ack=0.1ms answer=312.0ms gap=311.9ms`; "-" if there is none."""
    values = {
        "ack": timings.seconds_until(timings.first_ack_at),
        "answer": timings.seconds_until(timings.first_token_at),
        "gap": timings.longest_gap,
    }
    return " ".join(
        f"{name}=-" if value is None else f"{name}={value * 1000:.1f}ms" for name, value in values.items()
    )


def as_log_record(timings: TurnTimings, **fields: str | None) -> dict[str, Any]:
    """Return the turn as one flat object for the log, with further `fields`.

    It never holds message text, keys or phone numbers.
    """
    return {
        "event": "turn",
        **fields,
        "first_chunk_ms": to_milliseconds(timings.seconds_until(timings.first_chunk_at)),
        "ack_ms": to_milliseconds(timings.seconds_until(timings.first_ack_at)),
        "answer_ms": to_milliseconds(timings.seconds_until(timings.first_token_at)),
        "gap_ms": to_milliseconds(timings.longest_gap),
        "total_ms": to_milliseconds(timings.seconds_until(timings.ended_at or timings.cancelled_at)),
        "stop_ms": to_milliseconds(timings.stop_seconds),
        "deltas": timings.delta_count,
    }
