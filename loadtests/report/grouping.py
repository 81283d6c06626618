"""The runs of a report, put side by side: what was asked alike of whom, and how much was too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from loadtests.report.results import Results, Run, quantile

QUANTILES = (0.5, 0.95, 0.99, 0.999)
KNEE_FACTOR, KNEE_SECONDS, MAX_FAILED_SHARE = 3.0, 0.010, 0.01
"""A step is past the knee when the 99th percentile of what is added is so many times the lightest step's and
so many seconds more, or when more than this share of the turns failed."""


@dataclass(frozen=True, slots=True)
class LoadStep:
    """One load on one target, in as many runs as there were; void ones are in no figure."""

    target: str
    scenario: str
    loop: str
    offered: float
    runs: tuple[Run, ...]

    @property
    def load_text(self) -> str:
        """How much was asked for, in words."""
        unit = "turns/s" if self.loop == "open" else "caller" if self.offered == 1 else "callers"
        return f"{self.offered:g} {unit}"

    @property
    def valid_runs(self) -> list[Run]:
        return [run for run in self.runs if not run.void]

    @property
    def turns(self) -> int:
        """How many turns went well."""
        return sum(len(run.times["at"]) for run in self.valid_runs)

    @property
    def failed(self) -> Counter[str]:
        """How many turns failed, by reason."""
        return sum((Counter(run.failed) for run in self.valid_runs), Counter[str]())

    def values(self, name: str) -> list[float]:
        """The times of this name, or "added", of all turns that have one, in seconds."""
        return [
            value
            for run in self.valid_runs
            for value in (run.added if name == "added" else run.values(name))
            if value == value
        ]

    def pairs(self, name: str) -> list[tuple[float, float]]:
        """When a turn began, in seconds since its run did, and its time of this name."""
        both = [pair for run in self.valid_runs for pair in zip(run.times["at"], run.times[name], strict=True)]
        return [(at, value) for at, value in both if at is not None and value is not None]


def group_runs(runs: Iterable[Run]) -> list[LoadStep]:
    """The steps of these runs, by load, and in the order in which the targets came."""
    found: dict[tuple[str, str, str, float], list[Run]] = {}
    for run in runs:
        found.setdefault((run.target, run.scenario, run.loop, run.offered), []).append(run)
    made = [LoadStep(*key, tuple(group)) for key, group in found.items()]
    return sorted(made, key=lambda step: (step.loop, step.offered))


def comparable_steps(found: Sequence[LoadStep]) -> list[LoadStep]:
    """One step per target that brought turns: the highest load that all of them had, or each its highest."""
    loads: dict[str, dict[tuple[str, float], LoadStep]] = {}
    for step in found:
        if step.turns:
            loads.setdefault(step.target, {})[step.loop, step.offered] = step
    shared = set.intersection(*map(set, loads.values())) if loads else set()
    return [own[max(shared or own, key=lambda load: (load[1], load[0]))] for own in loads.values()]


def ascending_steps(found: Sequence[LoadStep]) -> dict[tuple[str, str], list[LoadStep]]:
    """By loop and target: the steps upwards, where there are several that brought turns."""
    ways: dict[tuple[str, str], list[LoadStep]] = {}
    for step in found:
        if step.turns:
            ways.setdefault((step.loop, step.target), []).append(step)
    return {way: climb for way, climb in ways.items() if len(climb) > 1}


def count_held_steps(climb: Sequence[LoadStep]) -> int:
    """How many steps from the lowest were held before one was too much."""
    limit = quantile(climb[0].values("added"), 0.99)
    limit = max(limit * KNEE_FACTOR, limit + KNEE_SECONDS)

    def held(step: LoadStep) -> bool:
        lost = step.failed.total()
        return lost <= MAX_FAILED_SHARE * (step.turns + lost) and not quantile(step.values("added"), 0.99) > limit

    return len(list(takewhile(held, climb)))


def merge(files: Sequence[tuple[Path, Results]]) -> Results:
    """One result of several. A target that differing environments share is told apart by its file's name."""
    places = [tuple(str(found.environment.get(key)) for key in ("revision", "machine")) for _, found in files]
    runs, overheads = [], []
    for (path, found), place in zip(files, places, strict=True):
        others = {
            run.target
            for (_, other), there in zip(files, places, strict=True)
            if there != place
            for run in other.runs
        }
        name = {target: f"{target} ({path.stem})" for target in others}
        runs += [replace(run, target=name.get(run.target, run.target)) for run in found.runs]
        overheads += [replace(o, target=name.get(o.target, o.target)) for o in found.overheads]
    together = {path.name: found.environment for path, found in files}
    notes = [note for _, found in files for note in found.notes]
    return Results(files[0][1].environment if len(files) == 1 else together, runs, overheads, notes)
