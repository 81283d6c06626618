"""A bar that shows how far a session of measuring is; nothing where nobody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Progress:
    """`phases` are their names and the seconds that each is expected to take."""

    def __init__(self, phases: Mapping[str, float]) -> None:
        self.phases = phases
        self.began = self.done = self.end = 0.0
        self.bar = _bar(sum(phases.values())) if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def phase(self, name: str) -> None:
        """This one begins now, and the one before it is over."""
        self.began, self.done = time.monotonic(), self.end
        self.end += self.phases[name]
        if self.bar is not None:
            self.bar.set_description_str(f"{name:<12}")
        self.tick()

    def tick(self) -> None:
        """Move to where time says; a phase never shows more than its share."""
        if self.bar is not None:
            self.bar.n = round(min(self.done + time.monotonic() - self.began, self.end), 1)
            self.bar.refresh()


def _bar(total: float) -> Any:
    from tqdm import tqdm  # here, since only who looks needs it

    tqdm.monitor_interval = 0  # no thread of its own beside the generator
    return tqdm(total=round(total, 1), leave=False, bar_format="{desc} |{bar}| {percentage:3.0f} % {elapsed}")
