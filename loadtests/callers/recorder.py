"""The book of a run: every turn's raw times, bounded, gathered from all workers. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from loadtests.report.results import Run

MOST = 200_000
"""Turns of a kind that are kept; of more, a fair sample."""
BUSY = 0.8
"""Share of its core above which a generator measures itself rather than the target."""

Row: TypeAlias = dict[str, float]
Report: TypeAlias = dict[str, Any]
"""What one process has written since its last report, as plain data."""


@dataclass(slots=True)
class Page:
    """Turns of one kind: those that went well, how many those were, and why others failed."""

    rows: list[Row] = field(default_factory=list)
    count: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Keep it; when there are too many, each that ever came is kept with the same chance."""
        self.count += 1
        if len(self.rows) < MOST:
            self.rows.append(row)
        elif (place := random.randrange(self.count)) < MOST:
            self.rows[place] = row


class Book:
    """A page for each platform and scenario, and what its writers used of their cores."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.used: dict[str, tuple[float, float]] = {}

    def page(self, kind: str) -> Page:
        return self.pages.setdefault(kind, Page())

    def report(self, writer: str, cpu: float, seconds: float) -> Report:
        """What is in the book, which is empty then. The CPU is that of the whole run so far, in s."""
        pages = {kind: {"rows": page.rows, "failed": dict(page.failed)} for kind, page in self.pages.items()}
        self.pages = {}
        return {"writer": writer, "cpu": cpu, "seconds": seconds, "pages": pages}

    def take(self, report: Report) -> None:
        """Enter what another process reports."""
        self.used[report["writer"]] = (report["cpu"], report["seconds"])
        for kind, found in report["pages"].items():
            page = self.page(kind)
            page.failed.update(found["failed"])
            for row in found["rows"]:
                page.add(row)

    @property
    def busiest(self) -> float:
        """The largest share of a core that a writer used."""
        return max((cpu / seconds for cpu, seconds in self.used.values() if seconds > 1), default=0.0)

    def runs(self, target: str, offered: float) -> list[Run]:
        """One run for each page."""
        seconds = max((seconds for _, seconds in self.used.values()), default=0.0)
        void = f"a generator used {self.busiest:.0%} of its core" if self.busiest > BUSY else ""
        made = []
        for kind, page in sorted(self.pages.items()):
            turns = page.count + page.failed.total()
            failed = dict(page.failed)
            run = Run(target, kind, "closed", offered, seconds, failed=failed, void=void, turns=turns)
            for row in page.rows:
                run.add(**row)
            made.append(run)
        return made

    def notes(self) -> list[str]:
        """What a reader of the results must know."""
        cpu, most = sum(cpu for cpu, _ in self.used.values()), f"{self.busiest:.0%} of"
        if len(self.used) == 1:
            said = [f"the generator used {cpu:.2f} s of CPU, {most} its core"]
        else:
            said = [f"{len(self.used)} generators used {cpu:.2f} s of CPU, the busiest {most} its core"]
        more = {kind: page.count for kind, page in self.pages.items() if page.count > len(page.rows)}
        return said + [f"{kind}: a sample of {MOST} of {count} turns" for kind, count in more.items()]


def known(row: Mapping[str, float]) -> Row:
    """The times that there are."""
    return {name: value for name, value in row.items() if value == value}
