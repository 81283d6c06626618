"""The open loop: turns begin at their moments, at a fixed rate, whatever became of the turns before.

    python -m loadtests.openloop --target http://127.0.0.1:8080/v1 --key KEY \
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
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from secrets import token_hex

import uvloop

from loadtests.arrivals import Knee
from loadtests.dialer import Dialer, Watch, unwatched
from loadtests.doors import Door
from loadtests.looks import stats
from loadtests.offers import Bound, Offer, Turn, planned, record, voided
from loadtests.plans import PLANS, Plan
from loadtests.results import Results, Run, environment
from loadtests.summary import summary

STOPPED = "stopped early"


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
    before = await stats(agent) if agent else None
    try:
        with undisturbed():
            await Dialer(door, turns, watch).run()
    except BaseException:
        run.void = STOPPED
        record(run, [turn for turn in turns if turn.stream], offer.seconds)
        raise
    record(run, turns, offer.seconds)
    asked = (await stats(agent)).begun - before.begun if agent and before else None
    run.void = run.void or voided(turns, asked)
    return turns


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


def positive(text: str) -> float:
    """An option's type."""
    if not 0 < (number := float(text)) < inf:
        raise ArgumentTypeError(f"{text} is not above 0")
    return number


def share(text: str) -> float:
    """An option's type."""
    if not 0 <= (number := float(text)) <= 1:
        raise ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtests.openloop", description="Offer turns at a fixed rate.")
    parser.add_argument("--target", required=True, metavar="URL", help="the gateway's base URL")
    parser.add_argument("--key", default="none", help="the target's key")
    parser.add_argument("--upstream", metavar="URL", help="the loadtests.upstream behind it, to count with")
    parser.add_argument("--anywhere", action="store_true", help="the target may be another machine")
    parser.add_argument(
        "--model",
        default="voice",
        help=f"{', '.join(PLANS)} (default: voice), or first=0.3,every=0.02,tokens=40",
    )
    parser.add_argument("--rate", type=positive, default=20.0, help="turns per second (default: 20)")
    parser.add_argument("--seconds", type=positive, default=10.0, help="of new turns (default: 10)")
    parser.add_argument("--steady", action="store_true", help="evenly spaced instead of Poisson arrivals")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and of what is drawn (default: 1)")
    parser.add_argument(
        "--barge-in", type=share, default=0.0, metavar="SHARE", help="of turns that are interrupted, 0 to 1"
    )
    parser.add_argument(
        "--hang-up", type=share, default=0.0, metavar="SHARE", help="of the others that are left"
    )
    parser.add_argument("--step", action="store_true", help="look for the largest rate that is held")
    parser.add_argument("--steps", type=int, default=8, help="at most (default: 8)")
    parser.add_argument("--added", type=float, default=50.0, help="bound of p99 added, ms (default: 50)")
    parser.add_argument("--gap", type=float, default=1.0, help="bound of the longest gap, s (default: 1)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args(arguments)
    try:
        args.door = Door.at(args.target, args.key, anywhere=args.anywhere)
        args.agent = Door.at(args.upstream, anywhere=args.anywhere) if args.upstream else None
        Plan.named(args.model)
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
    """0 when a run proves something, 1 when all are void or lost every turn, 130 when interrupted."""
    args = options(arguments)
    many_files()
    results = Results(environment(args.seed))
    try:
        with suppress(KeyboardInterrupt):
            uvloop.run(measure(args, results))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    stopped = any(run.void == STOPPED for run in results.runs)
    print(summary(results))
    if args.json:
        results.write(args.json)
    return 130 if stopped else int(not any(proves(run) for run in results.runs))


def proves(run: Run) -> bool:
    """Whether it says anything of the target: of one that nobody reached it does not."""
    return not run.void and sum(run.failed.values()) < run.turns


def many_files() -> None:
    """As many sockets as the system allows us."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
