"""What an open loop offers a server, turn by turn, and what became of each turn. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from random import Random

from loadtests.generate.closed_loop import UNANSWERED
from loadtests.generate.knee_search import arrivals
from loadtests.generate.response_plan import Draw, Plan
from loadtests.generate.streams import NO_FILES, Stream
from loadtests.generate.target import Door
from loadtests.report.results import Run, quantile

LATE = 0.005
"""Seconds. A run is void when the 99th percentile of the generator's own lateness is above: then it was the
generator that was slow, and whatever it measured is not the server's."""
HEARD = ("first_chunk", "ack", "answer", "waited", "gap", "done")
HUNG_UP = "the caller hung up"
UNCONNECTED = "no connection in time"
SOON, LATER = 0.1, 1.5
"""Seconds after its beginning between which a turn is interrupted: by then the agent was asked."""

PATIENCE = 1.0
"""Seconds after an interruption after which the caller hangs up on an older turn that still goes on."""


@dataclass(frozen=True, slots=True)
class Offer:
    """`rate` turns per second for so many seconds, each a call of its own; the `models` take turns.

    Callers interrupt a share of the turns, `barge_in`, by a newer one on the same call, and hang up in the
    middle of a share `hang_up` of the others and of every turn that interrupted one.
    """

    scenario: str
    models: tuple[str, ...]
    rate: float
    seconds: float
    seed: int = 0
    steady: bool = False
    barge_in: float = 0.0
    hang_up: float = 0.0


@dataclass(slots=True, eq=False)
class Turn:
    """A turn that is due `at` seconds after the start of its run, by the request and the plan it names.

    The caller hangs up `leave` seconds later, if not before. `barges` is the turn that this one interrupts.
    `late`: how much later it was sent; `barged`: when it was interrupted, since it was due.
    """

    at: float
    request: bytes
    plan: Plan
    leave: float = inf
    barges: Turn | None = None
    late: float = nan
    barged: float = nan
    stream: Stream | None = None

    @property
    def failed(self) -> str:
        """Why it counts as failed, or HUNG_UP; "" when all came that was to come."""
        stream = self.stream
        if stream is None or stream.failed:
            ended = stream is not None and stream.failed == UNANSWERED
            if stream is None or not ended or not (self.plan.fault or self.interrupted):
                return stream.failed if stream else UNCONNECTED
        if self.plan.fault:
            return "not a word was said" if stream.ack != stream.ack else ""
        if self.interrupted or stream.tokens == self.plan.tokens:
            return ""
        return f"{stream.tokens} of {self.plan.tokens} tokens arrived"

    @property
    def interrupted(self) -> bool:
        return self.barged == self.barged

    @property
    def added(self) -> float:
        """Answer-TTFT without the agent's own wait, NaN if the turn did not go well."""
        return nan if self.stream is None or self.failed else self.stream.overhead


def planned(offer: Offer, door: Door, name: str) -> list[Turn]:
    """All turns of an offer, in the order in which they are due; the same for the same seed.

    `name` begins those of the calls. It must be new: a call that the server knows would be no new one.
    """
    random = Random(offer.seed)
    moments = arrivals(offer.rate, offer.seconds, offer.seed, steady=offer.steady)
    calls = (_call(offer, door, f"{name}-{n}", n, at, random) for n, at in enumerate(moments))
    return sorted((turn for call in calls for turn in call), key=lambda turn: turn.at)


def _call(offer: Offer, door: Door, call: str, n: int, at: float, random: Random) -> Iterator[Turn]:
    """One call: a turn, and the one that interrupts it."""
    model = offer.models[n % len(offer.models)]
    plan = Plan.named(model)
    if isinstance(plan.first, Draw) or isinstance(plan.every, Draw):
        model = f"{model},seed={offer.seed * 1_000_000 + n}"
    first = Turn(at, door.request(model, call), plan)
    yield first
    if random.random() < offer.barge_in:
        again = at + random.uniform(SOON, LATER)
        first.leave = again - at + PATIENCE
        newer = door.request(model, call, "No, wait, what about the dog?")
        yield Turn(again, newer, plan, random.uniform(SOON, LATER), first)
    elif random.random() < offer.hang_up:
        first.leave = random.uniform(SOON, LATER)


def record(run: Run, turns: Sequence[Turn], seconds: float) -> None:
    """Add what became of the turns to a run, which may have had some before."""
    for turn in turns:
        stream, failed = turn.stream, turn.failed
        if stream is not None and not failed:
            times = {name: getattr(stream, name) for name in HEARD}
            stop = stream.done - turn.barged
            run.add(at=run.seconds + turn.at, late=turn.late, stop=stop, **times)
    reasons = Counter(turn.failed for turn in turns)
    run.turns += len(turns)
    run.left += reasons.pop(HUNG_UP, 0)
    reasons.pop("", 0)
    run.failed = dict(Counter(run.failed) + reasons)
    run.seconds += seconds


def voided(turns: Sequence[Turn], asked: int | None) -> str:
    """Why these turns prove nothing, "" if they do. `asked`: how often the agent was, if that is known."""
    reasons = Counter(turn.failed for turn in turns)
    if short := next((why for why in reasons if why.startswith(NO_FILES)), ""):
        return short
    late = quantile((turn.late for turn in turns), 0.99)
    if not late <= LATE:
        return f"the generator was late: p99 {late * 1e3:.1f} ms, {LATE * 1e3:g} ms are allowed"
    if "" not in reasons and HUNG_UP not in reasons:
        return f"not one turn went well: {reasons.most_common(1)[0][0]}"
    if asked is not None and asked != len(turns):
        return f"{len(turns)} turns were offered, the agent was asked {asked} times"
    return ""


@dataclass(frozen=True, slots=True)
class Bound:
    """A rate is held while the 99th percentile of what is added to the answer-TTFT, and the longest gap of
    all, stay below, in seconds; and nothing failed."""

    added: float = 0.05
    gap: float = 1.0

    def __str__(self) -> str:
        return f"p99 added below {self.added * 1e3:g} ms, longest gap below {self.gap:g} s"

    def holds(self, run: Run) -> bool:
        if run.void or run.failed or not run.turns:
            return False
        return quantile(run.added, 0.99) < self.added and max(run.known("gap"), default=inf) < self.gap
