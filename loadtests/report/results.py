"""What load tools bring home: runs with every turn's raw times, in one JSON file that the report reads.

Times are seconds; what never came is None. Nothing is averaged before it is written: whoever doubts a
figure can compute it again.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import isfinite, isnan
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import orjson

FORMAT = "voicegw-load/1"
PACKAGES = (
    "voicegw",
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "sse-starlette",
    "orjson",
    "websockets",
    "locust",
)
ROOT = Path(__file__).parents[2]

Column: TypeAlias = list[float | None]

COLUMNS = ("at", "late", "first_chunk", "ack", "answer", "waited", "gap", "done", "stop")
"""A turn's times, one column each: `at` its (scheduled) start since the run's, `late` how much later it was
sent; from the scheduled start on: `first_chunk` the first event, `ack` the first words of any kind, `answer`
the first of the agent's own, `done` its end; `waited` what the agent itself waited before its first words;
`gap` the longest silence after the first chunk; `stop` from barge-in to silence."""


@dataclass(slots=True)
class Sample:
    """What the server under load used by then: `at` and `cpu` in s since the run's start, `rss` in bytes."""

    at: float
    cpu: float
    rss: int
    files: int
    streams: int


@dataclass(slots=True)
class Check:
    """Something that must be so after a run, what was `found`, and what was `wanted`, in words."""

    name: str
    ok: bool
    found: str
    wanted: str


@dataclass(slots=True)
class Run:
    """One load on one target. `offered`: callers at a time (closed), or turns per second (open).

    `void` says why the run proves nothing, "" if it does; `failed` how many turns failed, by reason. `times`
    has a row for each turn that went well. `turns` were begun in all, in `left` of them the caller hung up.
    `round` tells runs of the same load apart.
    """

    target: str
    scenario: str
    loop: str
    offered: float
    seconds: float
    seed: int = 0
    times: dict[str, Column] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    failed: dict[str, int] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    void: str = ""
    turns: int = 0
    left: int = 0
    round: int = 0

    def add(self, **turn: float) -> None:
        """One more turn; what is not given, or NaN, never came."""
        for name, column in self.times.items():
            value = turn.get(name)
            column.append(None if value is None or isnan(value) else value)

    def values(self, name: str) -> list[float]:
        """The times of this name, in seconds, of the turns that have one."""
        return [value for value in self.times[name] if value is not None]

    @property
    def added(self) -> list[float]:
        """Per turn: answer-TTFT without the agent's own wait. Minus the direct one's, it is the overhead."""
        pairs = zip(self.times["answer"], self.times["waited"], strict=True)
        return [answer - (waited or 0.0) for answer, waited in pairs if answer is not None]


@dataclass(slots=True)
class Overhead:
    """Target minus direct at a quantile of answer-TTFT, in s: the estimate and its 95 % interval."""

    target: str
    scenario: str
    quantile: float
    estimate: float
    low: float
    high: float


@dataclass(slots=True)
class Results:
    """Everything of one session of measuring."""

    environment: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    overheads: list[Overhead] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps({"format": FORMAT, **asdict(self)}))

    @classmethod
    def read(cls, path: Path) -> Results:
        """Raises ValueError if the file is not one of ours, or not whole."""
        try:
            found = orjson.loads(path.read_bytes())
            if (form := found.pop("format", None)) != FORMAT:
                raise ValueError(f"its format is {str(form)[:40]!r}, not {FORMAT!r}" if form else "")
            runs = [_parse_run(run) for run in found.pop("runs")]
            overheads = [_check_fields(Overhead(**overhead)) for overhead in found.pop("overheads")]
            return _check_fields(cls(runs=runs, overheads=overheads, **found))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f": {error}" if str(error) else ""
            raise ValueError(f"{path} holds no results of a load test{why}") from None


def _parse_run(found: dict[str, Any]) -> Run:
    samples = [_check_fields(Sample(**sample)) for sample in found.pop("samples")]
    checks = [_check_fields(Check(**check)) for check in found.pop("checks")]
    run = _check_fields(Run(samples=samples, checks=checks, **found))
    if {*run.times} != {*COLUMNS} or len({len(column) for column in run.times.values()}) != 1:
        raise ValueError("a run's times are not whole")
    if not all(value is None or _is_finite_number(value) for column in run.times.values() for value in column):
        raise ValueError("a run's times are no numbers")
    if not all(type(times) is int for times in run.failed.values()):
        raise ValueError("a run's failures are not counted")
    return run


FIELD_TYPES = {"str": str, "int": int, "bool": bool, "dict": dict, "list": list}
"""The types of fields as they come from JSON, by what stands before a bracket; a float is any number."""
Record = TypeVar("One", Sample, Check, Run, Overhead, "Results")


def _check_fields(one: Record) -> Record:
    """The same, if its fields are what they should be. Raises ValueError if not."""
    for each in fields(one):
        value, kind = getattr(one, each.name), str(each.type).partition("[")[0]
        if not (_is_finite_number(value) if kind == "float" else isinstance(value, FIELD_TYPES[kind])):
            raise ValueError(f"{each.name} of a {type(one).__name__.lower()} is no {kind}")
    return one


def _is_finite_number(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]


def quantile(values: Iterable[float], q: float) -> float:
    """The value that a share `q` of all does not exceed; NaN when there is none."""
    ordered = sorted(value for value in values if value == value)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def describe_environment(seed: int, argv: Sequence[str] = ()) -> dict[str, Any]:
    """The machine, the versions, the revision and the command, as far as they can be told."""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "command": " ".join(argv or sys.argv),
        "seed": seed,
        "revision": revision(),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "kernel": platform.release()},
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
    }


def revision() -> str:
    """The commit that is measured, with a mark if files differ from it; "" outside a checkout."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip()


def cpu_name() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def package_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
