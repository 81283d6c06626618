"""The open loop: turns begin at their moments, at a fixed rate, whatever became of the turns before.

    python -m loadtests.generate.open_loop --target http://127.0.0.1:8080/v1 --key KEY \
        --upstream http://127.0.0.1:9001 --rate 50 --seconds 10

Every time counts from the moment at which the turn was due, so a server that keeps callers waiting cannot
hide it by slowing the generator down. Each turn is a call of its own. `--step` looks for the knee instead:
the largest rate at which the 99th percentile of the added answer-TTFT and the longest gap stay in bounds.
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

from loadtests.generate.cli_types import RATE, SECONDS, SEED, SHARE, count, hidden, number, writable
from loadtests.generate.knee_search import Knee
from loadtests.generate.response_plan import PLANS, Plan
from loadtests.generate.signals import heed, say
from loadtests.generate.target import Door
from loadtests.generate.turn_sender import Dialer, Watch, unwatched
from loadtests.generate.workload import Bound, Offer, Turn, planned, record, voided
from loadtests.report.results import Results, Run, environment
from loadtests.report.summary import summary
from loadtests.servers.server_stats import stats

STOPPED = "stopped early"
MOST = 1_000_000
"""Turns of a run: all are made before it begins, so that none is late."""


def opened(door: Door, offer: Offer) -> Run:
    """An empty run for this offer."""
    return Run(door.name, offer.scenario, "open", offer.rate, 0.0, offer.seed)


async def drive(
    door: Door, offer: Offer, run: Run, agent: Door | None = None, watch: Watch = unwatched
) -> list[Turn]:
    """Make the offer, and add what became of it to `run`; the turns in the order in which they were due.

    `agent` is the upstream behind the door, which is asked how often it was; without it nobody knows. What
    was measured before this was cancelled is in `run` all the same.
    """
    turns = planned(offer, door, f"load-{token_hex(6)}")
    was, run.void = run.void, STOPPED  # until it has come to its end
    before = await asked(agent, run)
    try:
        with undisturbed():
            await Dialer(door, turns, watch).run()
    except BaseException:
        record(run, [turn for turn in turns if turn.stream], offer.seconds)
        raise
    record(run, turns, offer.seconds)
    after = await asked(agent, run)
    run.void = was or voided(turns, None if before is None or after is None else after - before)
    return turns


async def asked(agent: Door | None, run: Run) -> int | None:
    """How often the agent was asked so far. A run in which that cannot be told any more is void."""
    try:
        return (await stats(agent)).begun if agent else None
    except OSError as error:
        run.void = f"the agent's count is not known: {error or type(error).__name__}"
        raise


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the garbage collector, which would make the generator late."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def step(
    door: Door,
    offer: Offer,
    bound: Bound,
    steps: int,
    results: Results,
    agent: Door | None = None,
    watch: Callable[[Run], Watch] = lambda run: unwatched,
) -> float:
    """The largest rate in bounds, in turns per second; 0 when no step was. All runs are kept."""
    search = Knee(offer.rate, steps)
    while (rate := search.trying) is not None:
        tried = replace(offer, rate=rate)
        results.runs.append(run := opened(door, tried))
        await drive(door, tried, run, agent, watch(run))
        search.tell(rate, bound.holds(run))
    return search.held


def found(held: float, offer: Offer, bound: Bound, runs: Sequence[Run]) -> str:
    """What a search found, in words. A larger rate whose run was void may have been held all the same."""
    void = [run for run in runs if run.void and run.offered > held and run.scenario == offer.scenario]
    unsure = "".join(f"; {run.offered:.0f} turns/s proved nothing: {run.void}" for run in void)
    return f"{runs[-1].target} held {held:.0f} turns/s of {offer.models[0]}: {bound}{unsure}"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "loadtests.generate.open_loop", description="Offer turns at a fixed rate."
    )
    parser.add_argument("--target", required=True, metavar="URL", help="the gateway's base URL")
    parser.add_argument("--key", default="none", help="the target's key")
    parser.add_argument("--upstream", metavar="URL", help="the loadtests.upstream behind it, to count with")
    parser.add_argument("--anywhere", action="store_true", help="the target may be another machine")
    parser.add_argument(
        "--model",
        default="voice",
        help=f"{', '.join(PLANS)} (default: voice), or first=0.3,every=0.02,tokens=40",
    )
    parser.add_argument("--rate", type=RATE, default=20.0, help="turns per second (default: 20)")
    parser.add_argument("--seconds", type=SECONDS, default=10.0, help="of new turns (default: 10)")
    parser.add_argument("--steady", action="store_true", help="evenly spaced instead of Poisson arrivals")
    parser.add_argument("--seed", type=SEED, default=1, help="of arrivals and of what is drawn (default: 1)")
    parser.add_argument(
        "--barge-in", type=SHARE, default=0.0, metavar="SHARE", help="of turns that are interrupted, 0 to 1"
    )
    parser.add_argument(
        "--hang-up", type=SHARE, default=0.0, metavar="SHARE", help="of the others that are left"
    )
    parser.add_argument("--step", action="store_true", help="look for the largest rate that is held")
    parser.add_argument("--steps", type=count(1, 64), default=8, help="at most (default: 8)")
    parser.add_argument(
        "--added", type=number(0, inf), default=50.0, help="bound of p99 added, ms (default: 50)"
    )
    parser.add_argument(
        "--gap", type=number(0, inf), default=1.0, help="bound of the longest gap, s (default: 1)"
    )
    parser.add_argument("--json", type=writable, help="write the results to this file")
    args = parser.parse_args(arguments)
    try:
        args.door = Door.at(args.target, args.key, anywhere=args.anywhere)
        args.agent = Door.at(args.upstream, anywhere=args.anywhere) if args.upstream else None
        Plan.named(args.model)
        if args.rate * args.seconds > MOST:
            raise ValueError(f"--rate times --seconds is more than {MOST} turns")
    except ValueError as error:
        parser.error(str(error))
    return args


async def measure(args: argparse.Namespace, results: Results) -> None:
    shares = {"barge_in": args.barge_in, "hang_up": args.hang_up}
    models = (args.model,)
    offer = Offer("open", models, args.rate, args.seconds, args.seed, args.steady, **shares)
    if not args.step:
        results.runs.append(run := opened(args.door, offer))
        await drive(args.door, offer, run, args.agent)
        return
    bound = Bound(args.added / 1e3, args.gap)
    rate = await step(args.door, offer, bound, args.steps, results, args.agent)
    results.notes.append(found(rate, offer, bound, results.runs))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the run proves something (of a search, a step), 1 if not, 130 when it was interrupted."""
    args = options(arguments)
    heed()
    many_files()
    results = Results(environment(args.seed, hidden(sys.argv, args.key)))
    code = 0
    try:
        uvloop.run(measure(args, results))
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        code = 1
        results.notes.append(f"not measured to the end: {error or type(error).__name__}")
    kept = not args.json or written(results, args.json)
    say(summary(results))
    return code or int(not (kept and any(not run.void for run in results.runs)))


def written(results: Results, path: Path) -> bool:
    """Write the results, or say why that cannot be done."""
    try:
        results.write(path)
    except OSError as error:
        print(f"{path} could not be written: {error.strerror}", file=sys.stderr)
        return False
    return True


def many_files() -> None:
    """As many sockets as the system allows us."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
