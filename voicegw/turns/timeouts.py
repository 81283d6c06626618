"""Patience: how long an agent may be silent before its turn is ended."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an agent may be silent, in seconds; None for as long as it takes.

    `first_token` runs until the first useful event (visible text, a tool call, work that is told of),
    `idle` between events after that, `total` until the end of everything.
    """

    first_token: float | None = None
    idle: float | None = None
    total: float | None = None

    def deadline(self, asked: float, useful: bool, last: float) -> float:
        """When it ends for an agent that was asked then, was of use or not, and gave its last event then."""
        wait, since = (self.idle, last) if useful else (self.first_token, asked)
        total = inf if self.total is None else asked + self.total
        return min(total, inf if wait is None else since + wait)


NO_TIMEOUTS = Timeouts()
