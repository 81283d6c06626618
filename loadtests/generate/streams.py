"""What a load brings home: every stream with its raw times, and the figures that are made of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtests.report.results import Run, quantile

TIMES = ("at", "first_chunk", "ack", "answer", "waited", "gap", "done")
NO_FILES = "this machine lets the generator open no more sockets"
DIGITS = 7
"""Of a recorded second: a tenth of a microsecond, in half the space."""


@dataclass(slots=True)
class Stream:
    """One answer, in seconds since its request was written; NaN for what never came.

    `at` is when that was, since the load began, `waited` what the upstream itself waited before its first
    token, `gap` the longest silence after the first chunk, `failed` says what went wrong.
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
    failed: str = ""

    @property
    def overhead(self) -> float:
        """What the way there and back took: answer-TTFT without the upstream's own wait."""
        return self.answer - self.waited


@dataclass(slots=True)
class Load:
    """What one load brought: every stream, and the seconds from the first request to the last end.

    `open` is how many streams are open now, `begun` when the load began (`time.perf_counter`).
    """

    streams: list[Stream] = field(default_factory=list)
    seconds: float = 0.0
    open: int = 0
    begun: float = 0.0

    @property
    def good(self) -> list[Stream]:
        """Those that ended well and brought the answer."""
        return [s for s in self.streams if not s.failed]


def figures(load: Load) -> dict[str, float]:
    """The counts of a load, and its latencies at the 50th and 99th percentile in milliseconds."""
    good = load.good
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


def record(run: Run, load: Load) -> None:
    """Every stream that went well as a row of the run, the others by their reason."""
    run.turns = len(load.streams)
    for s in load.streams:
        if s.failed:
            run.failed[s.failed] = run.failed.get(s.failed, 0) + 1
        else:
            run.add(**{name: round(getattr(s, name), DIGITS) for name in TIMES})
    short = (reason for reason in run.failed if reason.startswith(NO_FILES))
    run.void = next(short, "" if load.good else "no stream came through")
