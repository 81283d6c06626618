"""The benchmark: the same callers and the same upstream, with and without a gateway between them.

    python -m loadtests.bench --rounds 3 --seconds 5 --json bench.json

The targets are the upstream itself, nginx, a sample server, voicegw and other gateways. They alternate in
every round, so that a noisy minute affects all of them. The server under test has a separate core; upstream
and load generator share another. A figure is the median over the rounds, a ratio is formed within its round
first. Ctrl-C prints what was measured so far. A load ends at most 15 s after its time: streams that are
still open then count as failed. docs/load-testing.md describes the targets and the files.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import uvloop

from loadtests.generate import closed_loop
from loadtests.generate.cli_types import SECONDS, count, writable
from loadtests.generate.open_loop import raise_file_limit
from loadtests.generate.scenarios import MAX_HELD_ADDED, SCENARIOS, Row, measure
from loadtests.generate.signals import interrupt_on_termination, print_lines
from loadtests.report import comparison, page
from loadtests.report.results import Results, Run, describe_environment
from loadtests.servers.launch import (
    DEFAULT_TARGETS,
    TARGET_NAMES,
    Server,
    pin_to_cores,
    run_target,
    run_upstream,
    split_cores,
)
from loadtests.servers.peers import PEERS, NotReady


def add_ratios(rows: Sequence[Row]) -> None:
    """Add to the rows of one step the time added to that of direct, and the ratios to other targets."""
    by_name = {row["target"]: row for row in rows}
    direct = by_name.get("direct", {})
    for row in rows:
        for q in ("p50", "p99"):
            if row is not direct:
                row[f"added_{q}"] = row[f"overhead_{q}"] - direct.get(f"overhead_{q}", 0.0)
    for row in rows:
        for name in ("nginx", "naive", *PEERS):
            other = by_name.get(name, {})
            for figure in ("added_p50", "cpu", "per_second"):
                if row is not other and figure in row and other.get(figure, 0.0) > 0:
                    row[f"{figure}_per_{name}"] = row[figure] / other[figure]


def run_scenario(
    name: str, servers: Sequence[Server], driver: Server, seconds: float, number: int
) -> Iterator[list[tuple[Row, Run]]]:
    """Run one round of a scenario, step by step; a server that does not hold a step skips the next ones."""
    remaining, scenario = list(servers), SCENARIOS[name]
    for callers in scenario.steps:
        runs = [Run(server.name, name, "closed", callers, seconds, round=number) for server in remaining]
        rows = []
        for server, run in zip(remaining, runs, strict=True):
            row = measure(server, driver, scenario, callers, run)
            rows.append({"scenario": name, "callers": callers, "target": server.name, "round": number, **row})
        add_ratios(rows)
        for row in rows:
            added = 0.0 if scenario.idle else row.get("added_p99", 0.0)
            row["held"] = row["streams"] > 0 and not row["failed"] and added < MAX_HELD_ADDED
        yield list(zip(rows, runs, strict=True))
        remaining = [server for server, row in zip(remaining, rows, strict=True) if row["held"]]


def run_rounds(
    args: argparse.Namespace, servers: list[Server], driver: Server
) -> Iterator[list[tuple[Row, Run]]]:
    """Run all rounds; each begins with another target."""
    for number in range(args.rounds if servers else 0):
        shift = number % len(servers)
        order = servers[shift:] + servers[:shift]
        for name in args.scenarios:
            if not (number and SCENARIOS[name].idle):
                yield from run_scenario(name, order, driver, args.seconds, number)


def start_targets(
    names: Sequence[str], driver: Server, stack: contextlib.ExitStack, folder: Path
) -> tuple[list[Server], dict[str, str]]:
    """Return the targets that started and answered, and the reason for each of the others."""
    servers, missing = [], {}
    for name in names:
        try:
            server = stack.enter_context(run_target(name, driver, folder))
        except NotReady as error:
            missing[name] = str(error)
            continue
        warm_up = uvloop.run(
            closed_loop.run(server.port, "quick", 4, 0.5, server.key, headers=server.headers)
        )
        if failures := {stream.failure for stream in warm_up.streams} - {""}:
            missing[name] = failures.pop()
        else:
            servers.append(server)
    return servers, missing


def name_list(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return an option type: names from a list, separated by commas."""

    def parse(text: str) -> list[str]:
        if unknown := set(names := text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is unknown: use {', '.join(known)}")
        return names

    return parse


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "loadtests.bench", description="Compare voicegw with nginx, a sample server and other gateways."
    )
    scenarios = f"names from {','.join(SCENARIOS)} (default: all)"
    targets = f"names from {','.join(TARGET_NAMES)} (default: {','.join(DEFAULT_TARGETS)})"
    parser.add_argument(
        "--scenarios",
        metavar="NAMES",
        type=name_list(tuple(SCENARIOS)),
        default=list(SCENARIOS),
        help=scenarios,
    )
    parser.add_argument(
        "--targets",
        metavar="NAMES",
        type=name_list(TARGET_NAMES),
        default=list(DEFAULT_TARGETS),
        help=targets,
    )
    parser.add_argument(
        "--rounds", type=count(1, 1000), default=3, help="rounds; figures are medians over them (default: 3)"
    )
    parser.add_argument(
        "--seconds",
        type=SECONDS,
        default=5.0,
        help="seconds in which new streams begin, per load (default: 5)",
    )
    parser.add_argument("--json", type=writable, help="write every round and the medians to this file")
    parser.add_argument(
        "--out",
        type=writable_folder,
        help="write raw times, table, report, configurations and logs to this folder",
    )
    return parser.parse_args()


def writable_folder(text: str) -> Path:
    """An option type: a writable folder. Raises ArgumentTypeError."""
    return writable(str(Path(text) / "table.txt")).parent


def copy_server_files(folder: Path, out: Path) -> None:
    """Copy the servers' configurations, command lines and logs; no key is in these files."""
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.suffix in (".toml", ".conf", ".yaml", ".json", ".log"):
            shutil.copy(file, out)


def write_results(
    args: argparse.Namespace, rows: list[Row], runs: list[Run], missing: dict[str, str], table: str
) -> None:
    """Write the figures (`--json`), and with `--out` also raw times, table and report.

    Raises OSError.
    """
    host = {"cores": os.cpu_count(), "kernel": os.uname().release}
    result = {"host": host, "missing": missing, "summary": comparison.summarise_rounds(rows), "rows": rows}
    for path in (args.json, args.out and args.out / "bench.json"):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    if args.out:
        (args.out / "table.txt").write_text(table)
        notes = [f"{name} was not measured: {reason}" for name, reason in missing.items()]
        results = Results(describe_environment(0), runs, notes=notes)
        results.write(args.out / "results.json")
        page.write_page(results, args.out / "report.html")


def main() -> int:
    """Return 0 when a run proves something, 1 when none does, 130 after Ctrl-C."""
    args = parse_options()
    interrupt_on_termination()
    raise_file_limit()
    measured: list[tuple[Row, Run]] = []
    missing: dict[str, str] = {}
    stopped = False
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voicegw-bench-")))
            folder.chmod(0o755)  # nginx started by root runs its worker as another user
            if args.out:
                stack.callback(copy_server_files, folder, args.out / "servers")
            driver = stack.enter_context(run_upstream(folder))
            stack.enter_context(pin_to_cores(split_cores()[1]))
            servers, missing = start_targets(args.targets, driver, stack, folder)
            for step in run_rounds(args, servers, driver):
                measured += step  # so that Ctrl-C keeps the steps before it
                if sys.stderr.isatty():
                    row = step[0][0]
                    print(f"round {row['round'] + 1}: {row['scenario']} x{row['callers']}", file=sys.stderr)
    except KeyboardInterrupt:
        stopped = True
    except NotReady as error:
        missing["the upstream"] = str(error)
    rows, runs = [row for row, _ in measured], [run for _, run in measured]
    table = comparison.format_table(rows, missing) + ("\nStopped early.\n" if stopped else "")
    try:
        write_results(args, rows, runs, missing, table)
    except OSError as error:
        print(f"{error.filename} cannot be written: {error.strerror}", file=sys.stderr)
        runs = []  # without results, no run proves anything
    print_lines(table.removesuffix("\n"))
    return 130 if stopped else int(all(run.void for run in runs))


if __name__ == "__main__":
    sys.exit(main())
