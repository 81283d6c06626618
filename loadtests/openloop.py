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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import uvloop

from loadtests.arrivals import Knee
from loadtests.dialer import Dialer, Watch, unwatched
from loadtests.doors import Door
from loadtests.looks import stats
from loadtests.offers import Bound, Offer, Turn, planned, record, voided
from loadtests.plans import Plan
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


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtests.openloop", description="Offer turns at a fixed rate.")
    parser.add_argument("--target", required=True, metavar="URL", help="the gateway's base URL")
    parser.add_argument("--key", default="none")
    parser.add_argument("--upstream", metavar="URL", help="the loadtests.upstream behind it, to count with")
    parser.add_argument("--anywhere", action="store_true", help="the target may be another machine")
    parser.add_argument("--model", default="voice", help="see loadtests.plans")
    parser.add_argument("--rate", type=float, default=20.0, help="turns per second (default: 20)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of new turns (default: 10)")
    parser.add_argument("--steady", action="store_true", help="evenly spaced instead of Poisson arrivals")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--barge-in", type=float, default=0.0, metavar="SHARE", help="turns interrupted")
    parser.add_argument("--hang-up", type=float, default=0.0, metavar="SHARE", help="turns left")
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
    results.notes.append(f"{args.door.name} held {rate:g} turns/s of {args.model}, {bound}")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the run proves something, 1 when it is void, 130 when it was interrupted."""
    args = options(arguments)
    many_files()
    results = Results(environment(args.seed))
    with suppress(KeyboardInterrupt):
        uvloop.run(measure(args, results))
    stopped = any(run.void == STOPPED for run in results.runs)
    print(summary(results))
    if args.json:
        results.write(args.json)
    return 130 if stopped else int(not args.step and any(run.void for run in results.runs))


def many_files() -> None:
    """As many sockets as the system allows us."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
