"""The arrival times of turns in an open loop, and the search for the highest rate that a server holds. Pure.

In an open loop, callers arrive however long the others wait, as on a telephone line. So it shows a server
that falls behind; in a closed loop, callers slow down with the server.
"""

from __future__ import annotations

from itertools import count, takewhile
from math import inf, sqrt
from random import Random

RESOLUTION = 1.1
"""The search ends when the rates that were held and missed are this close to each other."""


def arrival_times(rate: float, seconds: float, seed: int = 0, *, steady: bool = False) -> list[float]:
    """Return the start times of turns, in seconds from 0 to below `seconds`; at least one.

    `rate` is turns per second. Arrivals are independent (a Poisson process drawn from `seed`), or evenly
    spaced if `steady`.
    """
    if steady:
        return [number / rate for number in range(max(1, round(rate * seconds)))]
    random = Random(seed)
    at = 0.0
    times = (at := at + random.expovariate(rate) for _ in count())
    return list(takewhile(lambda time: time < seconds, times)) or [0.0]


class KneeSearch:
    """Searches for the highest rate that is held, in at most `max_steps` steps.

    It doubles (or halves) the rate until the knee lies between two rates, then takes their geometric mean.
    """

    def __init__(self, first_rate: float, max_steps: int) -> None:
        self.next_rate: float | None = first_rate
        """The rate to try next; None when the search is over."""
        self.steps_left = max_steps
        self.max_held = 0.0
        """The highest rate that was held; 0 if none was."""
        self.min_missed = inf
        """The lowest rate that was not held."""

    def record(self, rate: float, held: bool) -> None:
        """Record whether `rate` was held, and choose the next rate."""
        if held:
            self.max_held = max(rate, self.max_held)
        else:
            self.min_missed = min(rate, self.min_missed)
        self.steps_left -= 1
        is_over = self.steps_left <= 0 or self.min_missed < self.max_held * RESOLUTION
        self.next_rate = None if is_over else self._choose_next()

    def _choose_next(self) -> float:
        if self.max_held == 0.0:
            return self.min_missed / 2
        return self.max_held * 2 if self.min_missed == inf else sqrt(self.max_held * self.min_missed)
