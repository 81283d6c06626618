"""Run the chaos suite: each experiment breaks something while innocent callers talk, on this machine only.

    python -m loadtests.chaos [--short] [--only WORDS] [--max-silence 300]

It prints a table of what the callers and the agent counted. The exit code is 0 if every experiment passed,
1 if one failed, and 130 after Ctrl-C. See docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from loadtests.chaos import faulty_agents, hostile_clients, processes, surroundings
from loadtests.chaos.agent import CountingAgent
from loadtests.chaos.counts import Counts, format_table, is_passed
from loadtests.chaos.lab import EXPERIMENTS, Experiment, Lab
from loadtests.generate.cli_types import number
from loadtests.generate.open_loop import raise_file_limit
from loadtests.generate.signals import interrupt_on_termination, print_lines
from loadtests.report.results import revision
from loadtests.servers.launch import split_cores

MODULES = (faulty_agents, hostile_clients, processes, surroundings)
"""The modules whose experiments are in `EXPERIMENTS` once they are imported."""


async def run_experiments(experiments: Sequence[Experiment], folder: Path, results: list[Counts]) -> None:
    """Run the experiments one after the other, and add the counts of each to `results`."""
    agent = CountingAgent()
    await agent.start()
    for index, each in enumerate(experiments):
        began = time.monotonic()
        counts = Counts(each.name)
        results.append(counts)
        try:
            await each.run(Lab(folder / str(index), agent, counts))
        except (OSError, TimeoutError) as error:
            counts.failures.append(f"broke off: {error or type(error).__name__}")
        print(f"{time.monotonic() - began:5.1f} s  {each.name}", file=sys.stderr)


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "loadtests.chaos", description="Break things around a gateway, and count."
    )
    parser.add_argument(
        "--short", action="store_true", help="run a part of the experiments, in under a minute"
    )
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="run the experiments whose name has these words"
    )
    parser.add_argument(
        "--max-silence",
        type=number(1, 60_000),
        default=300.0,
        metavar="MS",
        help="silence of an innocent stream at which an experiment fails (default: 300)",
    )
    args = parser.parse_args(arguments)
    args.chosen = [e for e in EXPERIMENTS if args.only in e.name and (e.is_short or not args.short)]
    if not args.chosen:
        parser.error(f"no experiment has {args.only!r} in its name")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when every experiment passed, 1 if one failed or none ran, 130 after Ctrl-C."""
    args = parse_options(arguments)
    interrupt_on_termination()
    raise_file_limit()
    os.sched_setaffinity(0, split_cores()[1])
    results: list[Counts] = []
    code = 0
    with tempfile.TemporaryDirectory(prefix="voicegw-chaos-") as name:
        try:
            uvloop.run(run_experiments(args.chosen, Path(name), results))
        except KeyboardInterrupt:
            code = 130
    silence = args.max_silence / 1e3
    when = time.strftime("%Y-%m-%d %H:%M %Z")
    print_lines(f"{when}, revision {revision() or 'unknown'}", "", format_table(results, silence))
    return code or int(not is_passed(results, silence))


if __name__ == "__main__":
    sys.exit(main())
