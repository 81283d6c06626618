"""The CPU cost and the lateness of locust's callers, beside those of the bare load generator.

    python -m loadtests.micro.callers_overhead --rounds 3 --callers 50 --seconds 6

Both send requests directly to the same upstream, in turn. So the time that a caller measures beyond the
real wait of the upstream is its own lateness, and the difference between the two is locust's. Upstream and
callers have separate cores, if there are two. Ctrl-C prints what was measured so far.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from loadtests.generate import closed_loop
from loadtests.generate.cli_types import SECONDS, count
from loadtests.generate.signals import interrupt_on_termination
from loadtests.report.results import Results, quantile
from loadtests.servers.launch import free_port, pin_to_cores, run_server, split_cores

MODEL = "first=0.3,every=0.02,tokens=40"
ROOT = Path(__file__).parents[2]
FIGURES = {"streams": "streams", "cpu": "CPU ms per stream", "p50": "late p50 ms", "p99": "late p99 ms"}


def compute_figures(late: list[float], cpu: float) -> dict[str, float]:
    """Return the figures of one load: CPU and lateness in ms."""
    cpu_per_stream = cpu * 1e3 / max(len(late), 1)
    p50, p99 = (quantile(late, q) * 1e3 for q in (0.5, 0.99))
    return {"streams": len(late), "cpu": cpu_per_stream, "p50": p50, "p99": p99}


def run_bare(port: int, callers: int, seconds: float) -> dict[str, float]:
    """Run `loadtests.generate.closed_loop` in this process."""
    before = time.process_time()
    load = uvloop.run(closed_loop.run(port, MODEL, callers, seconds))
    return compute_figures([stream.overhead for stream in load.succeeded], time.process_time() - before)


def run_locust(port: int, callers: int, seconds: float, file: Path) -> dict[str, float]:
    """Run locust in a separate process; its CPU counts from the start of the run. Raises RuntimeError."""
    options = (
        f"-f loadtests/locustfile.py --headless --only-summary --loglevel ERROR --tags short "
        f"-u {callers} -r {callers} -t {seconds:g}s --turns 1000000 --think 0 --model-short {MODEL} "
        f"--host http://127.0.0.1:{port} --results {file} ChatCaller"
    )
    done = subprocess.run(
        [sys.executable, "-m", "locust", *options.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    results = Results.read(file)
    cpu, _ = results.environment["generators"]["alone"]
    return compute_figures(results.runs[0].added, cpu)


def run_rounds(args: argparse.Namespace, port: int, file: Path) -> Iterator[tuple[str, dict[str, float]]]:
    for number in range(args.rounds):
        loads = [
            ("bare", lambda: run_bare(port, args.callers, args.seconds)),
            ("locust", lambda: run_locust(port, args.callers, args.seconds, file)),
        ]
        for name, load in loads[:: -1 if number % 2 else 1]:
            yield name, load()


def main() -> int:
    about = "Compare locust's callers with the bare load generator."
    parser = argparse.ArgumentParser("loadtests.micro.callers_overhead", description=about)
    parser.add_argument(
        "--rounds", type=count(1, 1000), default=3, help="rounds; figures are medians over them (default: 3)"
    )
    parser.add_argument(
        "--callers", type=count(1, 20_000), default=50, help="callers at a time (default: 50)"
    )
    parser.add_argument("--seconds", type=SECONDS, default=6.0, help="seconds of each load (default: 6)")
    args = parser.parse_args()
    interrupt_on_termination()
    found: dict[str, list[dict[str, float]]] = {"bare": [], "locust": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder, port = Path(temporary), free_port()
        argv = [sys.executable, "-m", "loadtests.servers.upstream", "--port", str(port)]
        with (
            run_server(argv, port, split_cores()[0], folder / "log", dict(os.environ)),
            pin_to_cores(split_cores()[1]),
        ):
            try:
                for name, figures in run_rounds(args, port, folder / "results.json"):
                    found[name].append(figures)
            except KeyboardInterrupt:
                print("\nStopped early.")
    print(f"{'':<8}" + "".join(f"{title:>20}" for title in FIGURES.values()))
    for name, rows in found.items():
        medians = {key: statistics.median(row[key] for row in rows) for key in FIGURES if rows}
        print(f"{name:<8}" + "".join(f"{value:>20.3g}" for value in medians.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
