"""The streams of one load with their raw times, and the figures computed from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtests.report.results import Run, quantile

RECORDED_TIMES = ("at", "first_chunk", "ack", "answer", "waited", "gap", "done")
"""The times of a stream that go into the results."""
NO_SOCKETS = "this machine lets the generator open no more sockets"
"""The beginning of a failure for which the generator's own machine is the cause."""
RECORDED_DIGITS = 7
"""Decimals of a recorded second: a tenth of a microsecond, in half the space."""


@dataclass(slots=True)
class Stream:
    """One answer; its times are seconds since its request was written, NaN for what never came.

    `at` is when the request was written, in seconds since the load began. `first_chunk` is the first event,
    `ack` the first words of any kind, `answer` the first words of the upstream, `done` the end. `waited` is
    what the upstream waited before its first token. `gap` is the longest silence after the first chunk.
    `failure` says what went wrong, "" if nothing did.
    """

    at: float = float("nan")
    first_chunk: float = float("nan")
    ack: float = float("nan")
    answer: float = float("nan")
    waited: float = float("nan")
    gap: float = 0.0
    done: float = float("nan")
    events: int = 0
    tokens: int = 0
    failure: str = ""

    @property
    def overhead(self) -> float:
        """Answer-TTFT minus the upstream's own wait, in seconds: the time on the way there and back."""
        return self.answer - self.waited


@dataclass(slots=True)
class Load:
    """The streams of one load, and the seconds from its first request to its last end.

    `open_streams` is the number of streams that are open now. `started_at` is a time of `time.perf_counter`.
    """

    streams: list[Stream] = field(default_factory=list)
    seconds: float = 0.0
    open_streams: int = 0
    started_at: float = 0.0

    @property
    def succeeded(self) -> list[Stream]:
        """The streams that ended well and brought the answer."""
        return [s for s in self.streams if not s.failure]


def compute_figures(load: Load) -> dict[str, float]:
    """Return the counts of a load, and its latencies at the 50th and 99th percentile in milliseconds."""
    good = load.succeeded
    counts = {
        "streams": len(good),
        "failed": len(load.streams) - len(good),
        "events": sum(s.events for s in good),
        "tokens": sum(s.tokens for s in good),
        "per_second": len(good) / load.seconds if load.seconds else 0.0,
    }
    names = ("first_chunk", "ack", "answer", "overhead", "gap", "done")
    raw = {name: [getattr(s, name) * 1e3 for s in good] for name in names}
    return counts | {f"{n}_p{q}": quantile(raw[n], q / 100) for n in names for q in (50, 99)}


def record_streams(run: Run, load: Load) -> None:
    """Add each successful stream to the run as a row, and count the others by their failure."""
    run.turns = len(load.streams)
    for s in load.streams:
        if s.failure:
            run.failed[s.failure] = run.failed.get(s.failure, 0) + 1
        else:
            run.add(**{name: round(getattr(s, name), RECORDED_DIGITS) for name in RECORDED_TIMES})
    no_sockets = (reason for reason in run.failed if reason.startswith(NO_SOCKETS))
    run.void = next(no_sockets, "" if load.succeeded else "every stream failed")
