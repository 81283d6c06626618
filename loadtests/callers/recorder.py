"""The book of a run: every turn's raw times, bounded, gathered from all workers. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from loadtests.report.results import Run

MAX_ROWS = 200_000
"""Turns of a kind that are kept; of more, a fair sample."""
MAX_CPU_SHARE = 0.8
"""Share of its core above which a generator measures itself rather than the target."""

Row: TypeAlias = dict[str, float]
Report: TypeAlias = dict[str, Any]
"""What one process has written since its last report, as plain data."""


@dataclass(slots=True)
class TurnSample:
    """Turns of one kind: those that went well, how many those were, and why others failed."""

    rows: list[Row] = field(default_factory=list)
    count: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Keep it; when there are too many, each that ever came is kept with the same chance."""
        self.count += 1
        if len(self.rows) < MAX_ROWS:
            self.rows.append(row)
        elif (place := random.randrange(self.count)) < MAX_ROWS:
            self.rows[place] = row


class TurnRecorder:
    """A page for each platform and scenario, and what its writers used of their cores."""

    def __init__(self) -> None:
        self.samples: dict[str, TurnSample] = {}
        self.usage: dict[str, tuple[float, float]] = {}

    def sample(self, kind: str) -> TurnSample:
        return self.samples.setdefault(kind, TurnSample())

    def take_report(self, writer: str, cpu: float, seconds: float) -> Report:
        """What is in the book, which is empty then. The CPU is that of the whole run so far, in s."""
        pages = {kind: {"rows": page.rows, "failed": dict(page.failed)} for kind, page in self.samples.items()}
        self.samples = {}
        return {"writer": writer, "cpu": cpu, "seconds": seconds, "pages": pages}

    def add_report(self, report: Report) -> None:
        """Enter what another process reports."""
        self.usage[report["writer"]] = (report["cpu"], report["seconds"])
        for kind, found in report["pages"].items():
            page = self.sample(kind)
            page.failed.update(found["failed"])
            for row in found["rows"]:
                page.add(row)

    @property
    def max_cpu_share(self) -> float:
        """The largest share of a core that a writer used."""
        return max((cpu / seconds for cpu, seconds in self.usage.values() if seconds > 1), default=0.0)

    def runs(self, target: str, offered: float) -> list[Run]:
        """One run for each page."""
        seconds = max((seconds for _, seconds in self.usage.values()), default=0.0)
        void = f"a generator used {self.max_cpu_share:.0%} of its core" if self.max_cpu_share > MAX_CPU_SHARE else ""
        made = []
        for kind, page in sorted(self.samples.items()):
            turns = page.count + page.failed.total()
            failed = dict(page.failed)
            run = Run(target, kind, "closed", offered, seconds, failed=failed, void=void, turns=turns)
            for row in page.rows:
                run.add(**row)
            made.append(run)
        return made

    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        cpu, most = sum(cpu for cpu, _ in self.usage.values()), f"{self.max_cpu_share:.0%} of"
        if len(self.usage) == 1:
            said = [f"the generator used {cpu:.2f} s of CPU, {most} its core"]
        else:
            said = [f"{len(self.usage)} generators used {cpu:.2f} s of CPU, the busiest {most} its core"]
        more = {kind: page.count for kind, page in self.samples.items() if page.count > len(page.rows)}
        return said + [f"{kind}: a sample of {MAX_ROWS} of {count} turns" for kind, count in more.items()]


def known_times(row: Mapping[str, float]) -> Row:
    """The times that there are."""
    return {name: value for name, value in row.items() if value == value}
