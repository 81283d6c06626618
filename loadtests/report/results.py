"""The results of load tests: runs with the raw times of every turn, in one JSON file that the report reads.

Times are seconds; a time that never came is None. Nothing is averaged before it is written, so that every
figure can be computed again.
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
"""The packages whose versions go into the results."""
ROOT = Path(__file__).parents[2]

Column: TypeAlias = list[float | None]

COLUMNS = ("at", "late", "first_chunk", "ack", "answer", "waited", "gap", "done", "stop")
"""A turn's times, one column each. `at` is its (scheduled) start since that of the run, `late` how much
later it was sent. These count from the scheduled start: `first_chunk` the first event, `ack` the first
words of any kind, `answer` the first words of the agent, `done` the end. `waited` is what the agent waited
before its first words, `gap` the longest silence after the first chunk, `stop` the time from barge-in to
silence.
"""


@dataclass(slots=True)
class Sample:
    """The usage of the server at one time.

    `at` and `cpu` are seconds since the start of the run, `rss` is bytes. `files` and `streams` are open
    ones.
    """

    at: float
    cpu: float
    rss: int
    files: int
    streams: int


@dataclass(slots=True)
class Check:
    """A condition after a run: whether it was met, what was found, and what was wanted, in words."""

    name: str
    ok: bool
    found: str
    wanted: str


@dataclass(slots=True)
class Run:
    """One load on one target. `offered`: callers at a time (closed loop), or turns per second (open loop).

    `void` says why the run proves nothing, "" if it does; `failed` counts the failed turns by reason.
    `times` has a row for each successful turn. `turns` is the number of all turns; in `left` of them the
    caller hung up as planned. `round` tells runs with the same load apart.
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
        """Add a successful turn; a time that is not given, or NaN, never came."""
        for name, column in self.times.items():
            value = turn.get(name)
            column.append(None if value is None or isnan(value) else value)

    def values(self, name: str) -> list[float]:
        """Return the times of this name, in seconds, of the turns that have one."""
        return [value for value in self.times[name] if value is not None]

    @property
    def added(self) -> list[float]:
        """Answer-TTFT of each turn without the wait of the agent; minus that of direct runs, the overhead."""
        pairs = zip(self.times["answer"], self.times["waited"], strict=True)
        return [answer - (waited or 0.0) for answer, waited in pairs if answer is not None]


@dataclass(slots=True)
class Overhead:
    """Target minus direct at a quantile of answer-TTFT, in seconds: the estimate and its 95 % interval."""

    target: str
    scenario: str
    quantile: float
    estimate: float
    low: float
    high: float


@dataclass(slots=True)
class Results:
    """All results of one load test."""

    environment: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    overheads: list[Overhead] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the file, and its folder if necessary. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps({"format": FORMAT, **asdict(self)}))

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return the results in a file.

        Raises ValueError for another format or an incomplete file, and OSError.
        """
        try:
            found = orjson.loads(path.read_bytes())
            if (form := found.pop("format", None)) != FORMAT:
                raise ValueError(f"its format is {str(form)[:40]!r}, not {FORMAT!r}" if form else "")
            runs = [_parse_run(run) for run in found.pop("runs")]
            overheads = [_check_fields(Overhead(**overhead)) for overhead in found.pop("overheads")]
            return _check_fields(cls(runs=runs, overheads=overheads, **found))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f": {error}" if str(error) else ""
            raise ValueError(f"{path} does not hold results of a load test{reason}") from None


def _parse_run(found: dict[str, Any]) -> Run:
    samples = [_check_fields(Sample(**sample)) for sample in found.pop("samples")]
    checks = [_check_fields(Check(**check)) for check in found.pop("checks")]
    run = _check_fields(Run(samples=samples, checks=checks, **found))
    if {*run.times} != {*COLUMNS} or len({len(column) for column in run.times.values()}) != 1:
        raise ValueError("the times of a run are incomplete")
    if not all(
        value is None or _is_finite_number(value) for column in run.times.values() for value in column
    ):
        raise ValueError("the times of a run are not numbers")
    if not all(type(times) is int for times in run.failed.values()):
        raise ValueError("the failures of a run are not counts")
    return run


FIELD_TYPES = {"str": str, "int": int, "bool": bool, "dict": dict, "list": list}
"""The types of fields in JSON, by the name before a bracket; a float is any number."""
Record = TypeVar("Record", Sample, Check, Run, Overhead, "Results")


def _check_fields(record: Record) -> Record:
    """Return the same record. Raises ValueError if a field has the wrong type."""
    for each in fields(record):
        value, kind = getattr(record, each.name), str(each.type).partition("[")[0]
        if not (_is_finite_number(value) if kind == "float" else isinstance(value, FIELD_TYPES[kind])):
            raise ValueError(f"{each.name} of {type(record).__name__} is not of type {kind}")
    return record


def _is_finite_number(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]


def quantile(values: Iterable[float], q: float) -> float:
    """Return the measured value that a share `q` of all values does not exceed; NaN if there is none."""
    ordered = sorted(value for value in values if value == value)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def describe_environment(seed: int, argv: Sequence[str] = ()) -> dict[str, Any]:
    """Return machine, versions, revision and command, as far as they are known."""
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
    """Return the commit, with a mark if files differ from it; "" outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return described.stdout.strip()


def cpu_name() -> str:
    """Return the name of the processor, or its architecture."""
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
