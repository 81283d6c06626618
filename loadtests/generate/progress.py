"""A progress bar for a load test; it shows nothing where standard error is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Progress:
    """`phases` are the names of the phases, each with the seconds that it is expected to take."""

    def __init__(self, phases: Mapping[str, float]) -> None:
        self.phases = phases
        self.phase_started_at = self.phase_start = self.phase_end = 0.0
        self.bar = _make_bar(sum(phases.values())) if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def start_phase(self, name: str) -> None:
        """End the phase before, and start this one. Raises KeyError for an unknown phase."""
        self.phase_started_at, self.phase_start = time.monotonic(), self.phase_end
        self.phase_end += self.phases[name]
        if self.bar is not None:
            self.bar.set_description_str(f"{name:<12}")
        self.refresh()

    def refresh(self) -> None:
        """Move the bar to the elapsed time; a phase never shows more than its share."""
        if self.bar is not None:
            self.bar.n = round(
                min(self.phase_start + time.monotonic() - self.phase_started_at, self.phase_end), 1
            )
            self.bar.refresh()


def _make_bar(total: float) -> Any:
    from tqdm import tqdm  # an optional dependency, needed on a terminal only

    tqdm.monitor_interval = 0  # no second thread beside the generator
    return tqdm(total=round(total, 1), leave=False, bar_format="{desc} |{bar}| {percentage:3.0f} % {elapsed}")
