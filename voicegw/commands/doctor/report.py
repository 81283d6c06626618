"""What the doctor found out about one agent, and what to do about it. Pure; times are in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

SLOW, LATE, SLUGGISH = 2.0, 0.5, 0.25
"""Seconds to the first token from which on callers need words at once, or soon; and to stop."""
REPLAYED, BURST = 0.1, 0.001
"""If an answer was replayed and not streamed, all of it came within this part of its time, one piece right
after the other: so many seconds apart at most."""
BRIEF = 0.1
"""Seconds within which an answer may be over without anybody having waited for its end."""
FEW = 4
"""Deltas that an answer must have for its cadence to mean anything."""
WORK = 4.0
"""Seconds of work without a word after which a caller should hear that it goes on."""


@dataclass(slots=True)
class ObservedReply:
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
    def silence(self) -> float:
        """The longest time without a word while it worked, in seconds; 0 if it did no work."""
        gaps = pairwise((0.0, *self.deltas))
        worked = (end - begin for begin, end in gaps if any(begin <= at < end for at, _ in self.work))
        return max(worked, default=0.0)

    @property
    def replayed(self) -> bool:
        """Did all of it come at once, at the end?"""
        if self.over is None or self.over < BRIEF or not self.deltas or len(self.text.split()) < FEW:
            return False
        burst = self.cadence is None or self.cadence <= BURST
        return burst and self.deltas[-1] - self.deltas[0] <= REPLAYED * self.over


@dataclass(slots=True)
class AgentReport:
    """Everything about one agent. Steps that were not reached are None; `failure` is what ended it.

    `ack` and `every` are its `ack.after` and `ack.every`, in seconds; None is off.
    """

    name: str
    kind: str
    connected: float | None = None
    secured: float | None = None
    ready: float | None = None
    opened: float | None = None
    models: Sequence[str] = ()
    answer: ObservedReply | None = None
    cut: ObservedReply | None = None
    failure: str = ""
    step: str = ""
    """The step that failed."""
    remedy: str = ""
    """What to do about it."""
    ack: float | None = 0.5
    every: float | None = 10.0

    @property
    def well(self) -> bool:
        return not self.failure

    def as_json(self) -> dict[str, Any]:
        """All of it, with times in milliseconds."""
        answer, cut = self.answer or ObservedReply(), self.cut or ObservedReply()
        return {
            "agent": self.name,
            "kind": self.kind,
            "well": self.well,
            "failed_at": self.step or None,
            "failure": self.failure or None,
            "connect_ms": ms(self.connected),
            "tls_ms": ms(self.secured),
            "ready_ms": ms(self.ready),
            "open_ms": ms(self.opened),
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


def advice(found: AgentReport) -> Iterator[str]:
    """What the operator may want to do, in sentences."""
    if found.remedy:
        yield found.remedy
    answer, cut = found.answer, found.cut
    if answer is not None and answer.first is not None:
        yield from _bridging(found, answer)
        if answer.silence >= WORK and (found.every is None or found.every > answer.silence):
            yield (
                f"It worked for {answer.silence:.1f} s without a word: a lower ack.every, such as {WORK:g}, "
                "lets callers hear that it goes on."
            )
    if cut is not None and cut.stopped is not None and cut.stopped > SLUGGISH:
        yield (
            f"It took {cut.stopped:.1f} s to stop when it was interrupted: so long it works for nobody, "
            "and the caller's next words may have to wait for it."
        )


def _bridging(found: AgentReport, answer: ObservedReply) -> Iterator[str]:
    """What to say until it speaks, unless that is said already."""
    wait, ack = answer.first or 0.0, found.ack
    bridge = ""
    if wait >= SLOW and ack != 0:
        bridge = "let ours go at once (ack.after = 0)"
    elif wait >= LATE and (ack is None or ack > LATE):
        bridge = "let ours go before (ack.after = 0.5)"
    if answer.replayed:
        more = f" Until then, {bridge}." if bridge else ""
        yield f"Its answer came whole after {wait:.1f} s, not word by word: make it stream if it can.{more}"
    elif bridge:
        yield f"Its first word takes {wait:.1f} s: {bridge}."


def table(found: Sequence[AgentReport]) -> str:
    """The checkups as a table, with what failed and what is advised below it."""
    heads = ("agent", "kind", "connect", "TLS", "ready", "open", "first token", "cadence", "stream", "stop")
    rows = [heads, *(_row(checkup) for checkup in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for checkup in found:
        notes = [f"failed at {checkup.step}: {checkup.failure}"] if checkup.failure else []
        lines += [f"{checkup.name}: {note}" for note in (*notes, *advice(checkup))]
    return "\n".join(lines)


def _row(found: AgentReport) -> tuple[str, ...]:
    answer, cut = found.answer or ObservedReply(), found.cut or ObservedReply()
    stream = "-" if answer.over is None else "replayed" if answer.replayed else "real"
    times = (found.connected, found.secured, found.ready, found.opened, answer.first, answer.cadence)
    return (found.name, found.kind, *map(_ms, times), stream, _ms(cut.stopped))


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
