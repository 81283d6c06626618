"""The report of `voicegw doctor` about one agent, and the advice that follows from it. Times are in seconds.

It measures nothing: `examine` fills the report. `docs/agents.md` explains each column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

VERY_SLOW_FIRST_TOKEN, SLOW_FIRST_TOKEN = 2.0, 0.5
"""Seconds to the first token from which on callers need an acknowledgement at once, or soon."""
SLOW_STOP = 0.25
"""Seconds to stop from which on an interruption may delay the next turn."""
MAX_REPLAY_SHARE, MAX_REPLAY_GAP = 0.1, 0.001
"""An answer counts as replayed, not streamed, if all of it comes within this share of its time, and the
median gap between its pieces is at most this many seconds."""
MIN_REPLAY_SECONDS = 0.1
"""A shorter answer does not count as replayed: no caller waits for its end."""
MIN_PIECES = 4
"""Pieces, or words, that an answer needs before its cadence says anything."""
LONG_SILENCE = 4.0
"""Seconds of work without a word after which a caller should hear a progress line."""


@dataclass(slots=True)
class ObservedReply:
    """One answer as the agent streamed it. All times count from the question."""

    delta_times: list[float] = field(default_factory=list)
    """When each piece of text came; white space alone does not count."""
    activities: list[tuple[float, str]] = field(default_factory=list)
    """When the agent reported work, and its text for it."""
    text: str = ""
    """The whole text."""
    total_seconds: float | None = None
    """When the answer ended; None if it was cut off or failed."""
    stop_seconds: float | None = None
    """Seconds from the interruption until the reply was closed; None if it was not interrupted."""

    @property
    def first_token(self) -> float | None:
        """Seconds to the first token; None if there is none."""
        return self.delta_times[0] if self.delta_times else None

    @property
    def cadence(self) -> float | None:
        """The median time between two pieces; None with fewer than `MIN_PIECES`."""
        if len(self.delta_times) < MIN_PIECES:
            return None
        return median(later - earlier for earlier, later in pairwise(self.delta_times))

    @property
    def longest_silence(self) -> float:
        """The longest time between two pieces in which the agent worked; 0 if it reported no work."""
        gaps = pairwise((0.0, *self.delta_times))
        silences = (end - begin for begin, end in gaps if any(begin <= at < end for at, _ in self.activities))
        return max(silences, default=0.0)

    @property
    def is_replayed(self) -> bool:
        """Did the whole answer come at once, at its end?"""
        if self.total_seconds is None or self.total_seconds < MIN_REPLAY_SECONDS:
            return False
        if not self.delta_times or len(self.text.split()) < MIN_PIECES:
            return False
        is_burst = self.cadence is None or self.cadence <= MAX_REPLAY_GAP
        return (
            is_burst and self.delta_times[-1] - self.delta_times[0] <= MAX_REPLAY_SHARE * self.total_seconds
        )


@dataclass(slots=True)
class AgentReport:
    """The measurements of one agent, and the step that failed. A step that was not reached is None."""

    name: str
    """The agent's name in the configuration."""
    kind: str
    """The agent's `kind`."""
    connect_seconds: float | None = None
    """Time to connect to the agent's server."""
    tls_seconds: float | None = None
    """Time to connect and check the certificate."""
    ready_seconds: float | None = None
    """Time of the agent's preparation at start."""
    open_seconds: float | None = None
    """Time of the agent's preparation for a call."""
    models: Sequence[str] = ()
    """Further names for which the agent answers."""
    answer: ObservedReply | None = None
    """The answer that ran to its end."""
    interrupted_answer: ObservedReply | None = None
    """The answer that was cut off after its first word."""
    failure: str = ""
    """The failure as a sentence; "" if there is none."""
    failed_step: str = ""
    """The step that failed: "make", "connect", "TLS", "ready", "open", "answer" or "stop"."""
    hint: str = ""
    """How to mend the failure; "" if that is not known."""
    ack_after: float | None = 0.5
    """The agent's `ack.after`; None is off."""
    ack_every: float | None = 10.0
    """The agent's `ack.every`; None is off."""

    @property
    def is_well(self) -> bool:
        """Did every step succeed?"""
        return not self.failure

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object, with times in milliseconds; the keys are an interface."""
        answer = self.answer or ObservedReply()
        interrupted_answer = self.interrupted_answer or ObservedReply()
        return {
            "agent": self.name,
            "kind": self.kind,
            "well": self.is_well,
            "failed_at": self.failed_step or None,
            "failure": self.failure or None,
            "connect_ms": to_milliseconds(self.connect_seconds),
            "tls_ms": to_milliseconds(self.tls_seconds),
            "ready_ms": to_milliseconds(self.ready_seconds),
            "open_ms": to_milliseconds(self.open_seconds),
            "models": list(self.models),
            "first_token_ms": to_milliseconds(answer.first_token),
            "cadence_ms": to_milliseconds(answer.cadence),
            "deltas": len(answer.delta_times),
            "replayed": answer.is_replayed,
            "answer_ms": to_milliseconds(answer.total_seconds),
            "stop_ms": to_milliseconds(interrupted_answer.stop_seconds),
            "advice": list(give_advice(self)),
        }


def to_milliseconds(seconds: float | None) -> float | None:
    """Return a time in milliseconds, to a tenth; None stays None."""
    return None if seconds is None else round(seconds * 1000, 1)


def give_advice(report: AgentReport) -> Iterator[str]:
    """Yield what the operator may want to change, one sentence or two for each point."""
    if report.hint:
        yield report.hint
    answer, interrupted_answer = report.answer, report.interrupted_answer
    if answer is not None and answer.first_token is not None:
        yield from _advise_acknowledgement(report, answer)
        silence = answer.longest_silence
        if silence >= LONG_SILENCE and (report.ack_every is None or report.ack_every > silence):
            yield (
                f"It worked for {silence:.1f} s without a word: set a lower ack.every, such as "
                f"{LONG_SILENCE:g}, so that callers hear a progress line."
            )
    stop_seconds = interrupted_answer.stop_seconds if interrupted_answer is not None else None
    if stop_seconds is not None and stop_seconds > SLOW_STOP:
        yield (
            f"It took {stop_seconds:.1f} s to stop when it was interrupted: until then it works in vain, "
            "and the caller's next words may have to wait."
        )


def _advise_acknowledgement(report: AgentReport, answer: ObservedReply) -> Iterator[str]:
    """Yield advice about a slow first word, unless `ack.after` bridges it already."""
    wait, ack_after = answer.first_token or 0.0, report.ack_after
    change = ""
    if wait >= VERY_SLOW_FIRST_TOKEN and ack_after != 0:
        change = "set ack.after = 0 to acknowledge the caller at once"
    elif wait >= SLOW_FIRST_TOKEN and (ack_after is None or ack_after > SLOW_FIRST_TOKEN):
        change = "set ack.after = 0.5 to acknowledge the caller before that"
    if answer.is_replayed:
        until_then = f" Until then, {change}." if change else ""
        yield (
            f"Its whole answer came at once after {wait:.1f} s: configure it to stream if it can.{until_then}"
        )
    elif change:
        yield f"Its first word takes {wait:.1f} s: {change}."


def format_table(reports: Sequence[AgentReport]) -> str:
    """Return the reports as a table of text, with failures and advice below it."""
    head = ("agent", "kind", "connect", "TLS", "ready", "open", "first token", "cadence", "stream", "stop")
    rows = [head, *(_format_row(report) for report in reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for report in reports:
        notes = [f"failed at {report.failed_step}: {report.failure}"] if report.failure else []
        lines += [f"{report.name}: {note}" for note in (*notes, *give_advice(report))]
    return "\n".join(lines)


def _format_row(report: AgentReport) -> tuple[str, ...]:
    answer = report.answer or ObservedReply()
    interrupted_answer = report.interrupted_answer or ObservedReply()
    stream = "-" if answer.total_seconds is None else "replayed" if answer.is_replayed else "real"
    times = (
        report.connect_seconds,
        report.tls_seconds,
        report.ready_seconds,
        report.open_seconds,
        answer.first_token,
        answer.cadence,
    )
    stop = _format_milliseconds(interrupted_answer.stop_seconds)
    return (report.name, report.kind, *map(_format_milliseconds, times), stream, stop)


def _format_milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
