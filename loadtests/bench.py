"""The benchmark: the same callers against the same upstream, through nothing, nginx, a sample server, us.

    python -m loadtests.bench --rounds 3 --seconds 5 --json bench.json

The targets take turns in every round, so that a noisy minute hits all of them. The server under test has
a core of its own, upstream and load generator share another. A figure is the median over the rounds, a
ratio is formed within its round first. Ctrl-C prints what was measured so far.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import uvloop

from loadtests import report, voice
from loadtests.targets import NAMES, NotReady, Server, Used, cores, pinned, target, upstream

HELD = 50.0
"""S3: a target holds so many streams while the 99th percentile of what it adds is below (milliseconds)."""

Row: TypeAlias = dict[str, Any]
"""One load of one target in one round: `voice.figures` and what it cost."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """So many callers at a time, all asking for this model; with several steps, as many as are held."""

    model: str
    steps: tuple[int, ...]


SCENARIOS = {
    "S1": Scenario("quick", (1,)),
    "S2": Scenario("voice", (100,)),
    "S3": Scenario("voice", (100, 200, 500, 1000, 2000)),
    "S5": Scenario("burst", (64,)),
}


def measure(server: Server, driver: Server, model: str, callers: int, seconds: float) -> Row:
    """One load. Times in ms, `cpu` in seconds per 1000 streams, memory in MB, `driver` as share of a core."""
    marks: list[tuple[Used, float]] = []

    def meter() -> None:
        marks.append((server.used(), driver.used().cpu + time.process_time()))

    load = uvloop.run(voice.run(server.port, model, callers, seconds, server.key, meter))
    row: Row = dict(voice.figures(load))
    row["why"] = dict(Counter(stream.failed for stream in load.streams if stream.failed))
    if len(marks) == 3:  # the time may have been too short for a look in the middle
        (before, busy), (full, _), (after, busier) = marks
        row["driver"] = (busier - busy) / load.seconds
        if server is not driver:
            row["cpu"] = (after.cpu - before.cpu) / max(row["streams"], 1) * 1e3
            row |= {"rss_idle": server.idle.rss / 1e6, "rss": full.rss / 1e6}
    return row


def compare(rows: Sequence[Row]) -> None:
    """Add to the rows of one turn what they mean against each other."""
    by_name = {row["target"]: row for row in rows}
    direct, nginx, naive = (by_name.get(name, {}) for name in ("direct", "nginx", "naive"))
    for row in rows:
        for q in ("p50", "p99"):
            if row is not direct:
                row[f"added_{q}"] = row[f"overhead_{q}"] - direct.get(f"overhead_{q}", 0.0)
    for row in rows:
        for other, name in ((nginx, "nginx"), (naive, "naive")):
            for figure in ("added_p50", "cpu", "per_second"):
                if row is not other and figure in row and other.get(figure, 0.0) > 0:
                    row[f"{figure}_per_{name}"] = row[figure] / other[figure]


def turns(
    name: str, scenario: Scenario, servers: Sequence[Server], driver: Server, seconds: float
) -> Iterator[list[Row]]:
    """One round of a scenario, step by step; who does not hold a step is spared the next."""
    going = list(servers)
    for callers in scenario.steps:
        rows = []
        for server in going:
            row = measure(server, driver, scenario.model, callers, seconds)
            rows.append({"scenario": name, "callers": callers, "target": server.name, **row})
        compare(rows)
        for row in rows:
            added = row.get("added_p99", 0.0)
            row["held"] = row["streams"] > 0 and not row["failed"] and added < HELD
        yield rows
        going = [server for server, row in zip(going, rows, strict=True) if row["held"]]


def rounds(args: argparse.Namespace, servers: list[Server], driver: Server) -> Iterator[Row]:
    """All rounds; each begins with another target."""
    for number in range(args.rounds if servers else 0):
        shift = number % len(servers)
        order = servers[shift:] + servers[:shift]
        for name in args.scenarios:
            for rows in turns(name, SCENARIOS[name], order, driver, args.seconds):
                yield from ({"round": number, **row} for row in rows)


def start(
    names: Sequence[str], driver: Server, stack: contextlib.ExitStack, folder: Path
) -> tuple[list[Server], dict[str, str]]:
    """The targets that came up and answered, and why the others did not."""
    servers, missing = [], {}
    for name in names:
        try:
            server = stack.enter_context(target(name, driver, folder))
        except NotReady as error:
            missing[name] = str(error)
            continue
        warm = uvloop.run(voice.run(server.port, "quick", 4, 0.5, server.key))
        if failed := {stream.failed for stream in warm.streams} - {""}:
            missing[name] = failed.pop()
        else:
            servers.append(server)
    return servers, missing


def listed(known: Sequence[str]) -> Callable[[str], list[str]]:
    """An option's type: names from this list, separated by commas."""

    def parse(text: str) -> list[str]:
        if unknown := set(names := text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{unknown.pop()} is none of {', '.join(known)}")
        return names

    return parse


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure what voicegw adds, beside nginx and a sample server."
    )
    parser.add_argument("--scenarios", type=listed(tuple(SCENARIOS)), default=list(SCENARIOS))
    parser.add_argument("--targets", type=listed(NAMES), default=list(NAMES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of new streams, per load")
    parser.add_argument("--json", type=Path, help="write every round and the summary to this file")
    return parser.parse_args()


def main() -> int:
    args = options()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows: list[Row] = []
    missing: dict[str, str] = {}
    stopped = False
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voicegw-bench-")))
            folder.chmod(0o755)  # the worker of an nginx that root starts is another user
            driver = stack.enter_context(upstream(folder))
            stack.enter_context(pinned(cores()[1]))
            servers, missing = start(args.targets, driver, stack, folder)
            rows += rounds(args, servers, driver)  # row by row: what came before a Ctrl-C is kept
    except KeyboardInterrupt:
        stopped = True
    print(report.text(rows, missing) + ("\nStopped early.\n" if stopped else ""), end="")
    if args.json:
        host = {"cores": os.cpu_count(), "kernel": os.uname().release}
        result = {"host": host, "missing": missing, "summary": report.summary(rows), "rows": rows}
        args.json.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    return 130 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
