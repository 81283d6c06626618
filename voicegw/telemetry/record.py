"""The record of a turn that has ended: its names, its outcome and its times. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from voicegw.turns.timings import TurnTimings


@dataclass(slots=True)
class TurnRecord:
    """A turn that has ended, for the log and the metrics.

    It holds no message text, and keeps neither the run nor the histories in it alive.
    """

    agent: str
    """The name of the agent that answered."""
    outcome: str
    """answered, failed, superseded or cancelled."""
    timings: TurnTimings
    """The times as the client's stream saw them."""
    requested_at: float | None
    """The request was sent to the agent, on the clock of `timings`; None if it was not."""
    first_token_at: float | None
    """The agent's first token was received; None without one."""
    names: Mapping[str, str | None]
    """The log fields that name the turn: turn, request, key and call."""
    failure: Mapping[str, str | None]
    """The log fields of the failure."""

    @property
    def agent_seconds(self) -> float | None:
        """Seconds from the request to the agent until its first token; None if either is missing."""
        if self.first_token_at is None or self.requested_at is None:
            return None
        return self.first_token_at - self.requested_at
