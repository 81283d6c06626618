"""The counts of one experiment, as callers and agent noticed it, and the verdict. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from loadtests.report.comparison import align

MAX_GROWTH = 50e6
"""Bytes by which resident memory may be above its base at the end of an experiment: for calls that are
remembered, and for memory that the allocator keeps.
"""
NOTED_LATENESS = 0.1
"""Seconds of the suite's own lateness above which the table names it."""
COLUMNS = ("turns", "refused", "lost", "doubled", "broken", "silence", "memory")
LEGEND = """\
turns = asked by innocent callers; refused = with an HTTP status; lost = without the agent's whole answer;
doubled = asked of the agent more than once; broken = streams and calls without a proper end;
silence = the longest wait of an innocent stream, ms; memory = above the base at the end, MB."""


@dataclass(slots=True)
class Limits:
    """The most that an experiment may cost: counts of turns, seconds of silence, bytes of memory."""

    refused: int = 0
    lost: int = 0
    broken: int = 0
    silence: float = inf
    growth: float = MAX_GROWTH


@dataclass(slots=True)
class Counts:
    """The counts of one experiment. `silence` is in seconds, `growth` in bytes.

    `lateness` is the longest pause of the suite's own event loop, in seconds: so much of the silence may come
    from the machine, so it is allowed.

    `skipped` says why it could not run, "" if it did. `reasons` counts why turns were lost. `failures` are
    the claims that did not hold, `notes` are other observations.
    """

    name: str
    turns: int = 0
    refused: int = 0
    lost: int = 0
    doubled: int = 0
    broken: int = 0
    silence: float = 0.0
    growth: float = 0.0
    lateness: float = 0.0
    skipped: str = ""
    limits: Limits = field(default_factory=Limits)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def judge(self, max_silence: float) -> list[str]:
        """Return why the experiment failed; none if it passed. `max_silence` is in seconds."""
        limits = self.limits
        silence = self.lateness + (max_silence if limits.silence == inf else limits.silence)
        pairs = (
            ("refused", self.refused, limits.refused),
            ("lost", self.lost, limits.lost),
            ("doubled", self.doubled, 0),
            ("broken", self.broken, limits.broken),
            ("ms of silence", round(self.silence * 1e3), round(silence * 1e3)),
            ("MB of memory", round(self.growth / 1e6), round(limits.growth / 1e6)),
        )
        found = [f"{n} {name}, at most {most} allowed" for name, n, most in pairs if n > most]
        if self.lost > limits.lost or self.broken > limits.broken:
            found += [f"{times} x {reason}" for reason, times in self.reasons.items()]
        return found + self.failures

    def cells(self) -> list[str]:
        numbers = (self.turns, self.refused, self.lost, self.doubled, self.broken)
        return [*map(str, numbers), f"{self.silence * 1e3:.0f}", f"{self.growth / 1e6:+.0f}"]


def format_table(results: Sequence[Counts], max_silence: float) -> str:
    """Return a line for each experiment, then every reason why one failed."""
    lines, reasons = [["fault", *COLUMNS, ""]], []
    for counts in results:
        if counts.skipped:
            lines.append([counts.name, *("-" for _ in COLUMNS), f"SKIPPED: {counts.skipped}"])
            continue
        failed = counts.judge(max_silence)
        notes = list(counts.notes)
        if counts.lateness > NOTED_LATENESS:
            notes.append(f"this machine paused for {counts.lateness * 1e3:.0f} ms")
        lines.append([counts.name, *counts.cells(), "; ".join(["FAILED"] * bool(failed) + notes)])
        reasons += [
            f"{counts.name}: {reason}{f' ({times} times)' * (times > 1)}"
            for reason, times in Counter(failed).items()
        ]
    return "\n".join([*align(lines), "", LEGEND, *([""] if reasons else []), *reasons])


def is_passed(results: Sequence[Counts], max_silence: float) -> bool:
    """Whether every experiment that ran has passed, and at least one ran."""
    ran = [counts for counts in results if not counts.skipped]
    return bool(ran) and not any(counts.judge(max_silence) for counts in ran)
