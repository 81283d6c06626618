"""The runs of a report in groups: which runs are comparable, and at which load the knee is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from loadtests.report.results import Results, Run, quantile

QUANTILES = (0.5, 0.95, 0.99, 0.999)
KNEE_FACTOR, KNEE_SECONDS, MAX_FAILED_SHARE = 3.0, 0.010, 0.01
"""A step is past the knee when the 99th percentile of the added time is KNEE_FACTOR times that of the
lightest step and KNEE_SECONDS above it, or when more than this share of the turns failed.
"""


@dataclass(frozen=True, slots=True)
class LoadStep:
    """One load on one target, in one or more runs; void runs are in no figure."""

    target: str
    scenario: str
    loop: str
    offered: float
    runs: tuple[Run, ...]

    @property
    def load_text(self) -> str:
        """The load in words."""
        unit = "turns/s" if self.loop == "open" else "caller" if self.offered == 1 else "callers"
        return f"{self.offered:g} {unit}"

    @property
    def valid_runs(self) -> list[Run]:
        """The runs that are not void."""
        return [run for run in self.runs if not run.void]

    @property
    def turns(self) -> int:
        """The number of successful turns."""
        return sum(len(run.times["at"]) for run in self.valid_runs)

    @property
    def failed(self) -> Counter[str]:
        """The number of failed turns, by reason."""
        return sum((Counter(run.failed) for run in self.valid_runs), Counter[str]())

    def values(self, name: str) -> list[float]:
        """Return the times of this name, or "added", of all turns that have one, in seconds."""
        return [
            value
            for run in self.valid_runs
            for value in (run.added if name == "added" else run.values(name))
            if value == value
        ]

    def pairs(self, name: str) -> list[tuple[float, float]]:
        """Return the start of each turn, in seconds since that of its run, with its time of this name."""
        both = [
            pair for run in self.valid_runs for pair in zip(run.times["at"], run.times[name], strict=True)
        ]
        return [(at, value) for at, value in both if at is not None and value is not None]


def group_runs(runs: Iterable[Run]) -> list[LoadStep]:
    """Return the steps of these runs, ordered by load; equal loads stay in the order of their targets."""
    found: dict[tuple[str, str, str, float], list[Run]] = {}
    for run in runs:
        found.setdefault((run.target, run.scenario, run.loop, run.offered), []).append(run)
    steps = [LoadStep(*key, tuple(group)) for key, group in found.items()]
    return sorted(steps, key=lambda step: (step.loop, step.offered))


def comparable_steps(found: Sequence[LoadStep]) -> list[LoadStep]:
    """Return one step with turns per target: at the highest common load, or each at its highest."""
    loads: dict[str, dict[tuple[str, float], LoadStep]] = {}
    for step in found:
        if step.turns:
            loads.setdefault(step.target, {})[step.loop, step.offered] = step
    shared = set.intersection(*map(set, loads.values())) if loads else set()
    return [steps[max(shared or steps, key=lambda load: (load[1], load[0]))] for steps in loads.values()]


def ascending_steps(found: Sequence[LoadStep]) -> dict[tuple[str, str], list[LoadStep]]:
    """Return the steps by loop and target, upwards, where several steps have turns."""
    by_target: dict[tuple[str, str], list[LoadStep]] = {}
    for step in found:
        if step.turns:
            by_target.setdefault((step.loop, step.target), []).append(step)
    return {key: steps for key, steps in by_target.items() if len(steps) > 1}


def count_held_steps(steps: Sequence[LoadStep]) -> int:
    """Return how many steps, from the lowest on, were held before one was not."""
    limit = quantile(steps[0].values("added"), 0.99)
    limit = max(limit * KNEE_FACTOR, limit + KNEE_SECONDS)

    def is_held(step: LoadStep) -> bool:
        failed = step.failed.total()
        return (
            failed <= MAX_FAILED_SHARE * (step.turns + failed)
            and not quantile(step.values("added"), 0.99) > limit
        )

    return len(list(takewhile(is_held, steps)))


def merge(files: Sequence[tuple[Path, Results]]) -> Results:
    """Return one result of several files.

    If a target name occurs in files of different revisions or machines, the name of the file is added to it.
    """
    origins = [
        tuple(str(found.environment.get(key)) for key in ("revision", "machine")) for _, found in files
    ]
    runs, overheads = [], []
    for (path, found), origin in zip(files, origins, strict=True):
        shared_names = {
            run.target
            for (_, other), other_origin in zip(files, origins, strict=True)
            if other_origin != origin
            for run in other.runs
        }
        name = {target: f"{target} ({path.stem})" for target in shared_names}
        runs += [replace(run, target=name.get(run.target, run.target)) for run in found.runs]
        overheads += [replace(o, target=name.get(o.target, o.target)) for o in found.overheads]
    together = {path.name: found.environment for path, found in files}
    notes = [note for _, found in files for note in found.notes]
    return Results(files[0][1].environment if len(files) == 1 else together, runs, overheads, notes)
