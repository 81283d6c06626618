"""When turns arrive, and which rate to try next. Pure.

In an open loop, callers come when they come, however long the others wait: that is what telephones do, and
what shows a server that falls behind. (Callers who only come back when they were served slow down with it.)
"""

from __future__ import annotations

from itertools import count, takewhile
from math import inf, sqrt
from random import Random

FINE = 1.1
"""Two rates this near to each other are one: no step between them is worth its time."""


def arrivals(rate: float, seconds: float, seed: int = 0, *, steady: bool = False) -> list[float]:
    """The moments, in seconds from 0 to before `seconds`, at which turns of this rate per second begin.

    Independent of each other (a Poisson process), or evenly spaced if `steady`; at least one.
    """
    if steady:
        return [number / rate for number in range(max(1, round(rate * seconds)))]
    random = Random(seed)
    at = 0.0
    moments = (at := at + random.expovariate(rate) for _ in count())
    return list(takewhile(lambda moment: moment < seconds, moments)) or [0.0]


class Knee:
    """Looks for the largest rate that is held, in so many steps at most.

    `trying` is the rate to try, None when the search is over; `held` the largest one that was held, or 0.
    Doubles (or halves) until the knee lies between two rates, then halves the distance, as ratios go.
    """

    def __init__(self, first: float, steps: int) -> None:
        self.trying: float | None = first
        self.steps = steps
        self.held = 0.0
        self.missed = inf

    def tell(self, rate: float, held: bool) -> None:
        """Whether this rate was held."""
        if held:
            self.held = max(rate, self.held)
        else:
            self.missed = min(rate, self.missed)
        self.steps -= 1
        over = self.steps <= 0 or self.missed < self.held * FINE
        self.trying = None if over else self._between()

    def _between(self) -> float:
        if self.held == 0.0:
            return self.missed / 2
        return self.held * 2 if self.missed == inf else sqrt(self.held * self.missed)
