r"""The open loop: turns start at a fixed rate, whether or not the turns before them have ended.

    python -m loadtests.generate.open_loop --target http://127.0.0.1:8080/v1 --key KEY \
        --upstream http://127.0.0.1:9001 --rate 50 --seconds 10

Every time counts from the due time of the turn, so that a slow server cannot hide its delay by slowing the
generator down. Each turn is a new call. `--step` searches for the knee instead: the highest rate at which the
99th percentile of the added answer-TTFT and the longest gap stay below their limits.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from secrets import token_hex

import uvloop

from loadtests.generate.cli_types import RATE, SECONDS, SEED, SHARE, count, number, redact_secrets, writable
from loadtests.generate.knee_search import KneeSearch
from loadtests.generate.response_plan import PRESETS, ResponsePlan
from loadtests.generate.signals import interrupt_on_termination, print_lines
from loadtests.generate.target import Target
from loadtests.generate.turn_sender import Observer, TurnSender, ignore
from loadtests.generate.workload import (
    PlannedTurn,
    Thresholds,
    Workload,
    plan_turns,
    record_turns,
    void_reason,
)
from loadtests.report.results import Results, Run, describe_environment
from loadtests.report.summary import format_summary
from loadtests.servers.server_stats import fetch_stats

STOPPED_EARLY = "stopped early"
MAX_TURNS = 1_000_000
"""Turns of a run: all are made before it begins, so that making them delays none."""


def new_run(target: Target, workload: Workload) -> Run:
    """Return an empty run for this workload."""
    return Run(target.name, workload.scenario, "open", workload.rate, 0.0, workload.seed)


async def run_workload(
    target: Target, workload: Workload, run: Run, agent: Target | None = None, observer: Observer = ignore
) -> list[PlannedTurn]:
    """Send the turns of a workload, add their outcome to `run`, and return them ordered by due time.

    `agent` is the upstream behind the target; its request count is compared with the turns. None skips
    that. If this is cancelled, `run` has what was measured before, and is void.

    Raises OSError when the count of the agent cannot be read.
    """
    turns = plan_turns(workload, target, f"load-{token_hex(6)}")
    earlier_void, run.void = run.void, STOPPED_EARLY  # until the end is reached
    before = await count_agent_requests(agent, run)
    try:
        with gc_disabled():
            await TurnSender(target, turns, observer).run()
    except BaseException:
        record_turns(run, [turn for turn in turns if turn.stream], workload.seconds)
        raise
    record_turns(run, turns, workload.seconds)
    after = await count_agent_requests(agent, run)
    run.void = earlier_void or void_reason(turns, None if before is None or after is None else after - before)
    return turns


async def count_agent_requests(agent: Target | None, run: Run) -> int | None:
    """Return how many requests the agent got so far; None without an agent.

    Raises OSError, and makes the run void, when the agent does not say.
    """
    try:
        return (await fetch_stats(agent)).begun if agent else None
    except OSError as error:
        run.void = f"the request count of the agent is not known: {error or type(error).__name__}"
        raise


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Disable the garbage collector, whose pauses would make the generator late."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def search_knee(
    target: Target,
    workload: Workload,
    thresholds: Thresholds,
    max_steps: int,
    results: Results,
    agent: Target | None = None,
    observe: Callable[[Run], Observer] = lambda run: ignore,
) -> float:
    """Return the highest rate within the thresholds, in turns per second; 0 if no step was within.

    The results keep all runs. `observe` makes the observer of a run.
    """
    search = KneeSearch(workload.rate, max_steps)
    while (rate := search.next_rate) is not None:
        step = replace(workload, rate=rate)
        results.runs.append(run := new_run(target, step))
        await run_workload(target, step, run, agent, observe(run))
        search.record(rate, thresholds.are_met_by(run))
    return search.max_held


def describe_knee(max_held: float, workload: Workload, thresholds: Thresholds, runs: Sequence[Run]) -> str:
    """Return the result of a search in words, with the higher rates whose runs were void."""
    void = [run for run in runs if run.void and run.offered > max_held and run.scenario == workload.scenario]
    unsure = "".join(f"; the run of {run.offered:.0f} turns/s is void: {run.void}" for run in void)
    return f"{runs[-1].target} held {max_held:.0f} turns/s of {workload.models[0]}: {thresholds}{unsure}"


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "loadtests.generate.open_loop", description="Send turns at a fixed rate."
    )
    parser.add_argument("--target", required=True, metavar="URL", help="base URL of the gateway")
    parser.add_argument("--key", default="none", help="API key of the target")
    parser.add_argument(
        "--upstream", metavar="URL", help="URL of the loadtests.servers.upstream behind it, to compare counts"
    )
    parser.add_argument("--anywhere", action="store_true", help="allow a target on another machine")
    parser.add_argument(
        "--model",
        default="voice",
        help=f"{', '.join(PRESETS)}, or first=0.3,every=0.02,tokens=40 (default: voice)",
    )
    parser.add_argument("--rate", type=RATE, default=20.0, help="turns per second (default: 20)")
    parser.add_argument(
        "--seconds", type=SECONDS, default=10.0, help="seconds in which turns start (default: 10)"
    )
    parser.add_argument("--steady", action="store_true", help="evenly spaced instead of Poisson arrivals")
    parser.add_argument(
        "--seed", type=SEED, default=1, help="seed of the arrivals and of random waits (default: 1)"
    )
    parser.add_argument(
        "--barge-in",
        type=SHARE,
        default=0.0,
        metavar="SHARE",
        help="share of turns that are interrupted, 0 to 1",
    )
    parser.add_argument(
        "--hang-up",
        type=SHARE,
        default=0.0,
        metavar="SHARE",
        help="share of the other turns in which the caller hangs up",
    )
    parser.add_argument("--step", action="store_true", help="search for the highest rate that is held")
    parser.add_argument(
        "--steps", type=count(1, 64), default=8, help="steps of the search at most (default: 8)"
    )
    parser.add_argument(
        "--added", type=number(0, inf), default=50.0, help="limit of p99 added, ms (default: 50)"
    )
    parser.add_argument(
        "--gap", type=number(0, inf), default=1.0, help="limit of the longest gap, s (default: 1)"
    )
    parser.add_argument("--json", type=writable, help="write the results to this file")
    args = parser.parse_args(arguments)
    try:
        args.target = Target.from_url(args.target, args.key, anywhere=args.anywhere)
        args.agent = Target.from_url(args.upstream, anywhere=args.anywhere) if args.upstream else None
        ResponsePlan.from_model_name(args.model)
        if args.rate * args.seconds > MAX_TURNS:
            raise ValueError(f"--rate times --seconds is more than {MAX_TURNS} turns")
    except ValueError as error:
        parser.error(str(error))
    return args


async def measure(args: argparse.Namespace, results: Results) -> None:
    """Run the workload, or search for the knee with --step, and add the runs to the results."""
    shares = {"barge_in": args.barge_in, "hang_up": args.hang_up}
    models = (args.model,)
    workload = Workload("open", models, args.rate, args.seconds, args.seed, args.steady, **shares)
    if not args.step:
        results.runs.append(run := new_run(args.target, workload))
        await run_workload(args.target, workload, run, args.agent)
        return
    thresholds = Thresholds(args.added / 1e3, args.gap)
    rate = await search_knee(args.target, workload, thresholds, args.steps, results, args.agent)
    results.notes.append(describe_knee(rate, workload, thresholds, results.runs))


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when a run proves something, 1 if none does, 130 when it was interrupted."""
    args = parse_options(arguments)
    interrupt_on_termination()
    raise_file_limit()
    results = Results(describe_environment(args.seed, redact_secrets(sys.argv, args.key)))
    code = 0
    try:
        uvloop.run(measure(args, results))
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        code = 1
        results.notes.append(f"the measurement broke off: {error or type(error).__name__}")
    is_written = not args.json or write_results(results, args.json)
    print_lines(format_summary(results))
    return code or int(not (is_written and any(not run.void for run in results.runs)))


def write_results(results: Results, path: Path) -> bool:
    """Write the results; return False, and print the reason, when that fails."""
    try:
        results.write(path)
    except OSError as error:
        print(f"{path} cannot be written: {error.strerror}", file=sys.stderr)
        return False
    return True


def raise_file_limit() -> None:
    """Allow as many open sockets as the system permits to this process."""
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


if __name__ == "__main__":
    sys.exit(main())
