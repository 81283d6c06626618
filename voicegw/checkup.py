"""What the doctor found out about one agent, and what to do about it. Pure; times are in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

SLOW, LATE, SLUGGISH = 2.0, 0.5, 0.25
"""Seconds to the first token from which on callers need words at once, or soon; and to stop."""
REPLAYED = 0.1
"""The part of the time of an answer within which all of it came, if it was replayed and not streamed."""
BRIEF = 0.1
"""Seconds within which an answer may be over without anybody having waited for its end."""
FEW = 4
"""Deltas that an answer must have for its cadence to mean anything."""
WORK = 1.0
"""Seconds of work without a word after which a caller should hear that it goes on."""


@dataclass(slots=True)
class Answer:
    """One answer as it came. `deltas` are the times of its pieces since the question, `work` what it did.

    `over` is when it ended, None if it was cut short; `stopped` how long it took to stop then.
    """

    deltas: list[float] = field(default_factory=list)
    work: list[tuple[float, str]] = field(default_factory=list)
    text: str = ""
    over: float | None = None
    stopped: float | None = None

    @property
    def first(self) -> float | None:
        """Seconds to the first token."""
        return self.deltas[0] if self.deltas else None

    @property
    def cadence(self) -> float | None:
        """The usual time between two pieces; None for too few of them."""
        if len(self.deltas) < FEW:
            return None
        return median(later - earlier for earlier, later in pairwise(self.deltas))

    @property
    def replayed(self) -> bool:
        """Did all of it come at once, at the end?"""
        if self.over is None or self.over < BRIEF or not self.deltas or len(self.text.split()) < FEW:
            return False
        return self.deltas[-1] - self.deltas[0] <= REPLAYED * self.over


@dataclass(slots=True)
class Checkup:
    """Everything about one agent. Steps that were not reached are None; `failure` is what ended it."""

    name: str
    kind: str
    connected: float | None = None
    secured: float | None = None
    ready: float | None = None
    models: Sequence[str] = ()
    answer: Answer | None = None
    cut: Answer | None = None
    failure: str = ""
    step: str = ""
    """The step that failed."""

    @property
    def well(self) -> bool:
        return not self.failure

    def as_json(self) -> dict[str, Any]:
        """All of it, with times in milliseconds."""
        answer, cut = self.answer or Answer(), self.cut or Answer()
        return {
            "agent": self.name,
            "kind": self.kind,
            "well": self.well,
            "failed_at": self.step or None,
            "failure": self.failure or None,
            "connect_ms": ms(self.connected),
            "tls_ms": ms(self.secured),
            "ready_ms": ms(self.ready),
            "models": list(self.models),
            "first_token_ms": ms(answer.first),
            "cadence_ms": ms(answer.cadence),
            "deltas": len(answer.deltas),
            "replayed": answer.replayed,
            "answer_ms": ms(answer.over),
            "stop_ms": ms(cut.stopped),
            "advice": list(advice(self)),
        }


def ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def advice(found: Checkup) -> Iterator[str]:
    """What the operator may want to do, in sentences."""
    answer, cut = found.answer, found.cut
    if answer is not None and answer.first is not None:
        if answer.first >= SLOW:
            yield "Callers wait long for its first word: let ours go at once (ack.after = 0)."
        elif answer.first >= LATE:
            yield "Its first word takes a moment: keep ack.after at 0.5 or below."
        if answer.replayed:
            yield (
                "It sends its answer whole, at the end: nothing is spoken before. Look for a way to make it "
                "stream, or let our words go at once (ack.after = 0)."
            )
        if any(when >= WORK for when, _ in answer.work):
            yield "It works in silence for a while: ack.every says that it goes on."
    if cut is not None and cut.stopped is not None and cut.stopped > SLUGGISH:
        yield "It is slow to stop when the caller interrupts; the next turn waits 0.15 s for it at most."


def table(found: Sequence[Checkup]) -> str:
    """The checkups as a table, with what failed and what is advised below it."""
    heads = ("agent", "kind", "connect", "TLS", "ready", "first token", "cadence", "stream", "stop")
    rows = [heads, *(_row(checkup) for checkup in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for checkup in found:
        notes = [f"failed at {checkup.step}: {checkup.failure}"] if checkup.failure else []
        lines += [f"{checkup.name}: {note}" for note in (*notes, *advice(checkup))]
    return "\n".join(lines)


def _row(found: Checkup) -> tuple[str, ...]:
    answer, cut = found.answer or Answer(), found.cut or Answer()
    stream = "-" if answer.over is None else "replayed" if answer.replayed else "real"
    times = (found.connected, found.secured, found.ready, answer.first, answer.cadence)
    return (found.name, found.kind, *map(_ms, times), stream, _ms(cut.stopped))


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
