"""The timeouts of an agent: how long it may be silent before its turn ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts of an agent, in seconds; None for no limit."""

    first_token: float | None = None
    """From the request to the first output: visible text, a tool call or an activity."""
    idle: float | None = None
    """Between two events after the first output."""
    total: float | None = None
    """From the request to the end of the answer."""

    def deadline(self, requested_at: float, has_output: bool, last_event_at: float) -> float:
        """Return the time at which the turn ends, `inf` for never, if the agent stays silent.

        `requested_at` is the time of the request, `last_event_at` that of the last event; `has_output` says
        whether there was a first output.
        """
        timeout, since = (self.idle, last_event_at) if has_output else (self.first_token, requested_at)
        end = inf if self.total is None else requested_at + self.total
        return min(end, inf if timeout is None else since + timeout)


NO_TIMEOUTS = Timeouts()
"""The timeouts of an agent without limits."""
