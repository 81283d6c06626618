"""The turns that an open loop sends to a server, and the outcome of each turn. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from random import Random

from loadtests.generate.closed_loop import NO_ANSWER
from loadtests.generate.knee_search import arrival_times
from loadtests.generate.response_plan import Distribution, ResponsePlan
from loadtests.generate.streams import NO_SOCKETS, Stream
from loadtests.generate.target import Target
from loadtests.report.results import Run, quantile

MAX_LATENESS = 0.005
"""Seconds. A run is void when the 99th percentile of the generator's lateness is above: then the generator
was slow, and the times are not those of the server.
"""
RECORDED_TIMES = ("first_chunk", "ack", "answer", "waited", "gap", "done")
"""The times that a run takes from a stream."""
HUNG_UP = "the caller hung up"
"""The failure of a turn whose caller hung up as planned; it does not count as failed."""
NOT_CONNECTED = "no connection in time"
MIN_INTERRUPT_DELAY, MAX_INTERRUPT_DELAY = 0.1, 1.5
"""Seconds from a turn to its interruption or hang-up; after the minimum, the agent has its request."""

HANG_UP_DELAY = 1.0
"""Seconds from an interruption until the caller hangs up on the older turn, if that has not ended."""


@dataclass(frozen=True, slots=True)
class Workload:
    """`rate` turns per second for `seconds`, each on a new call; the turns use the `models` in rotation.

    Callers interrupt the share `barge_in` of the turns by a newer turn on the same call. They hang up in the
    middle of the share `hang_up` of the others, and of every turn that interrupted one.
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
class PlannedTurn:
    """A turn that starts `due_at` seconds after the start of its run, with its request and its response plan.

    The caller hangs up `hang_up_after` seconds after the due time, unless the stream has ended.
    `interrupts` is the turn that this one interrupts. `lateness` is how many seconds after its due time the
    turn was sent. `interrupted_after` is when a newer turn interrupted it, in seconds since its due time.
    `stream` is the answer.
    """

    due_at: float
    request: bytes
    plan: ResponsePlan
    hang_up_after: float = inf
    interrupts: PlannedTurn | None = None
    lateness: float = nan
    interrupted_after: float = nan
    stream: Stream | None = None

    @property
    def failure(self) -> str:
        """Why the turn failed, or HUNG_UP; "" when the turn brought everything that its plan promises."""
        stream = self.stream
        if stream is None or stream.failure:
            has_ended = stream is not None and stream.failure == NO_ANSWER
            if stream is None or not has_ended or not (self.plan.fault or self.is_interrupted):
                return stream.failure if stream else NOT_CONNECTED
        if self.plan.fault:
            return "no words were heard" if stream.ack != stream.ack else ""
        if self.is_interrupted or stream.tokens == self.plan.tokens:
            return ""
        return f"{stream.tokens} of {self.plan.tokens} tokens arrived"

    @property
    def is_interrupted(self) -> bool:
        return self.interrupted_after == self.interrupted_after

    @property
    def added(self) -> float:
        """Answer-TTFT minus the wait of the agent, in seconds; NaN if the turn failed."""
        return nan if self.stream is None or self.failure else self.stream.overhead


def plan_turns(workload: Workload, target: Target, call_prefix: str) -> list[PlannedTurn]:
    """Return all turns of a workload, ordered by due time. The same seed gives the same turns.

    `call_prefix` begins the name of every call. It must be new: the server treats a known call as a retry.
    """
    random = Random(workload.seed)
    times = arrival_times(workload.rate, workload.seconds, workload.seed, steady=workload.steady)
    calls = (_plan_call(workload, target, f"{call_prefix}-{n}", n, at, random) for n, at in enumerate(times))
    return sorted((turn for call in calls for turn in call), key=lambda turn: turn.due_at)


def _plan_call(
    workload: Workload, target: Target, call_id: str, number: int, at: float, random: Random
) -> Iterator[PlannedTurn]:
    """Yield the turns of one call: one turn, and the turn that interrupts it."""
    model = workload.models[number % len(workload.models)]
    plan = ResponsePlan.from_model_name(model)
    if isinstance(plan.first, Distribution) or isinstance(plan.every, Distribution):
        model = f"{model},seed={workload.seed * 1_000_000 + number}"
    first = PlannedTurn(at, target.encode_request(model, call_id), plan)
    yield first
    if random.random() < workload.barge_in:
        interrupted_at = at + random.uniform(MIN_INTERRUPT_DELAY, MAX_INTERRUPT_DELAY)
        first.hang_up_after = interrupted_at - at + HANG_UP_DELAY
        newer = target.encode_request(model, call_id, "No, wait, what about the dog?")
        yield PlannedTurn(
            interrupted_at, newer, plan, random.uniform(MIN_INTERRUPT_DELAY, MAX_INTERRUPT_DELAY), first
        )
    elif random.random() < workload.hang_up:
        first.hang_up_after = random.uniform(MIN_INTERRUPT_DELAY, MAX_INTERRUPT_DELAY)


def record_turns(run: Run, turns: Sequence[PlannedTurn], seconds: float) -> None:
    """Add the outcome of `turns` to a run, which may have some already.

    `seconds` is the length of the workload.
    """
    for turn in turns:
        stream = turn.stream
        if stream is not None and not turn.failure:
            times = {name: getattr(stream, name) for name in RECORDED_TIMES}
            stop = stream.done - turn.interrupted_after
            run.add(at=run.seconds + turn.due_at, late=turn.lateness, stop=stop, **times)
    reasons = Counter(turn.failure for turn in turns)
    run.turns += len(turns)
    run.left += reasons.pop(HUNG_UP, 0)
    reasons.pop("", 0)
    run.failed = dict(Counter(run.failed) + reasons)
    run.seconds += seconds


def void_reason(turns: Sequence[PlannedTurn], agent_requests: int | None) -> str:
    """Return why these turns prove nothing; "" if they do.

    `agent_requests` is the number of requests that the agent counted; None if that is not known.
    """
    reasons = Counter(turn.failure for turn in turns)
    if no_sockets := next((reason for reason in reasons if reason.startswith(NO_SOCKETS)), ""):
        return no_sockets
    lateness = quantile((turn.lateness for turn in turns), 0.99)
    if not lateness <= MAX_LATENESS:
        return f"the generator was late: p99 {lateness * 1e3:.1f} ms, {MAX_LATENESS * 1e3:g} ms are allowed"
    if "" not in reasons and HUNG_UP not in reasons:
        return f"every turn failed, most often: {reasons.most_common(1)[0][0]}"
    if agent_requests is not None and agent_requests != len(turns):
        return f"{len(turns)} turns were sent, the agent got {agent_requests} requests"
    return ""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits that a held rate stays below, in seconds: p99 of the added answer-TTFT, and the longest gap.

    No turn of a held rate may fail.
    """

    max_added: float = 0.05
    max_gap: float = 1.0

    def __str__(self) -> str:
        return f"p99 added below {self.max_added * 1e3:g} ms, longest gap below {self.max_gap:g} s"

    def are_met_by(self, run: Run) -> bool:
        """Whether the run is sound, has turns, has no failures, and stays below both limits."""
        if run.void or run.failed or not run.turns:
            return False
        return (
            quantile(run.added, 0.99) < self.max_added and max(run.values("gap"), default=inf) < self.max_gap
        )
