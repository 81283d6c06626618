"""The recorder of a run: the raw times of its turns, limited in number, from all workers. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from loadtests.report.results import Run

MAX_ROWS = 200_000
"""Turns of a kind that are kept; of more turns, a random sample."""
MAX_CPU_SHARE = 0.8
"""Share of its core above which a generator measures itself rather than the target."""

Row: TypeAlias = dict[str, float]
"""The times of one turn in seconds, by name."""
Report: TypeAlias = dict[str, Any]
"""The turns that one process has recorded since its last report, as plain data."""


@dataclass(slots=True)
class TurnSample:
    """The turns of one kind: rows and number of successful turns, and failures by reason."""

    rows: list[Row] = field(default_factory=list)
    count: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Add a row. Beyond MAX_ROWS, every row of the run is kept with the same probability."""
        self.count += 1
        if len(self.rows) < MAX_ROWS:
            self.rows.append(row)
        elif (index := random.randrange(self.count)) < MAX_ROWS:
            self.rows[index] = row


class TurnRecorder:
    """One sample for each platform and scenario.

    `usage` has the CPU seconds and the seconds of each process that reported, by its name.
    """

    def __init__(self) -> None:
        self.samples: dict[str, TurnSample] = {}
        self.usage: dict[str, tuple[float, float]] = {}

    def sample(self, kind: str) -> TurnSample:
        """Return the sample of a kind, a new one if there is none."""
        return self.samples.setdefault(kind, TurnSample())

    def take_report(self, writer: str, cpu: float, seconds: float) -> Report:
        """Return all recorded turns, and forget them.

        `cpu` and `seconds` count from the start of the run.
        """
        samples = {
            kind: {"rows": sample.rows, "failed": dict(sample.failed)}
            for kind, sample in self.samples.items()
        }
        self.samples = {}
        return {"writer": writer, "cpu": cpu, "seconds": seconds, "samples": samples}

    def add_report(self, report: Report) -> None:
        """Add the turns that another process reported."""
        self.usage[report["writer"]] = (report["cpu"], report["seconds"])
        for kind, found in report["samples"].items():
            sample = self.sample(kind)
            sample.failed.update(found["failed"])
            for row in found["rows"]:
                sample.add(row)

    @property
    def max_cpu_share(self) -> float:
        """The largest share of a core that a process used."""
        return max((cpu / seconds for cpu, seconds in self.usage.values() if seconds > 1), default=0.0)

    def runs(self, target: str, offered: float) -> list[Run]:
        """Return one run for each sample; `offered` is the number of callers."""
        seconds = max((seconds for _, seconds in self.usage.values()), default=0.0)
        void = (
            f"a generator used {self.max_cpu_share:.0%} of its core"
            if self.max_cpu_share > MAX_CPU_SHARE
            else ""
        )
        runs = []
        for kind, sample in sorted(self.samples.items()):
            turns = sample.count + sample.failed.total()
            failed = dict(sample.failed)
            run = Run(target, kind, "closed", offered, seconds, failed=failed, void=void, turns=turns)
            for row in sample.rows:
                run.add(**row)
            runs.append(run)
        return runs

    def notes(self) -> list[str]:
        """Return notes for the reader of the results: CPU usage, and samples that are incomplete."""
        cpu, share = sum(cpu for cpu, _ in self.usage.values()), f"{self.max_cpu_share:.0%} of"
        if len(self.usage) == 1:
            notes = [f"the generator used {cpu:.2f} s of CPU, {share} its core"]
        else:
            notes = [f"{len(self.usage)} generators used {cpu:.2f} s of CPU, the busiest {share} its core"]
        cut = {kind: sample.count for kind, sample in self.samples.items() if sample.count > len(sample.rows)}
        return notes + [f"{kind}: a sample of {MAX_ROWS} of {count} turns" for kind, count in cut.items()]


def known_times(row: Mapping[str, float]) -> Row:
    """Return the times that are not NaN."""
    return {name: value for name, value in row.items() if value == value}
