"""The closed runs that may still answer a repeated request, until their replay window is over.

It keeps no run alive: the memory of an evicted call is freed at once.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable

from voicegw.turns.run import Run

MAX_RUNS_PER_STEP = 100
"""Runs that leave the window in one step of the event loop, so that a burst of them blocks no stream."""
TIMER_TOLERANCE = 0.001
"""Seconds by which a timer may be early: the event loop's clock has whole milliseconds."""


class ReplayWindow:
    """Calls `on_over` for each closed run `seconds` after `add`, unless the run is freed before."""

    def __init__(self, seconds: float, now: Callable[[], float], on_over: Callable[[Run], None]) -> None:
        self.seconds = seconds
        # The clock, in seconds.
        self._now = now
        self._on_over = on_over
        # The runs, each with the time at which it leaves, the first one first. One timer runs for that one.
        self._runs: deque[tuple[float, weakref.ref[Run]]] = deque()

    def add(self, run: Run) -> None:
        """Add a run that is closed now."""
        self._runs.append((self._now() + self.seconds, weakref.ref(run)))
        if len(self._runs) == 1:
            self._start_timer(run.loop, self.seconds)

    def _start_timer(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        loop.call_later(delay, self._on_timer, loop)

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._now()
        for _ in range(MAX_RUNS_PER_STEP):
            if not self._runs or self._runs[0][0] - now > TIMER_TOLERANCE:
                break
            run = self._runs.popleft()[1]()
            if run is not None:
                self._on_over(run)
        if self._runs:
            self._start_timer(loop, max(0.0, self._runs[0][0] - now))
