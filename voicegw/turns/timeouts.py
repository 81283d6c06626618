"""The timeouts of an agent: how long it may be silent before its turn ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts of an agent, in seconds; None for no limit."""

    first_token: float | None = None
    """From the request to the first sign of work: visible text, a tool call, an activity or reasoning."""
    idle: float | None = None
    """Between two events after that."""
    total: float | None = None
    """From the request to the end of the answer."""
    reasoning: float | None = None
    """From the first to the last piece of reasoning, or of a tool call's arguments, without other output."""

    def deadline(self, requested_at: float, has_worked: bool, last_event_at: float) -> float:
        """Return the time at which the turn ends, `inf` for never, if the agent stays silent.

        `requested_at` is the time of the request, `last_event_at` that of the last event; `has_worked` says
        whether there was a first sign of work.
        """
        timeout, since = (self.idle, last_event_at) if has_worked else (self.first_token, requested_at)
        end = inf if self.total is None else requested_at + self.total
        return min(end, inf if timeout is None else since + timeout)


NO_TIMEOUTS = Timeouts()
"""The timeouts of an agent without limits."""
