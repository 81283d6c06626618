"""The bulkhead of one agent: a limit of its runs that are not closed yet. Pure.

An agent that ignores cancellation keeps its own places only: other agents have their own bulkheads. Limits of
the turns that callers wait for are in `voicegw.security.rate_limits`.
"""

from __future__ import annotations

MAX_RUNS = 2000
"""Default of `Bulkhead.max_runs`: twice the turns that a gateway takes at a time by default."""


class Bulkhead:
    """Counts the runs of one agent from their creation until their generator is closed."""

    __slots__ = ("max_runs", "run_count")

    def __init__(self, max_runs: int = MAX_RUNS) -> None:
        # Limit of `run_count`.
        self.max_runs = max_runs
        # The number of runs that are not closed yet, those that were cancelled included.
        self.run_count = 0

    def acquire(self) -> bool:
        """Count one more run and return True; return False, and count nothing, at the limit."""
        if self.run_count >= self.max_runs:
            return False
        self.run_count += 1
        return True

    def release(self) -> None:
        """Count the end of a run for which `acquire` returned True."""
        self.run_count -= 1
