"""What a caller hears of one turn, and when. Pure: times are told, in seconds of one clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from loadtests.servers.upstream import MARK, waited

NEVER = float("nan")
WAIT = re.compile(rf"{MARK} ([a-j]{{10}})")
TOKEN = re.compile(r"\btok\d+")
METRICS = {
    "first chunk": "first_chunk",
    "ack-TTFT": "ack",
    "answer-TTFT": "answer",
    "longest gap": "gap",
    "stop": "stop",
}
"""Locust's name of a metric, and ours; "inter-delta gap" and "turn" come on top."""


class Failed(Exception):
    """The turn did not go as it should; the message is the same for all that failed alike."""


@dataclass(slots=True)
class Turn:
    """One turn, from its question on; NaN for what never came.

    `marker` stands in the agent's own words and in nobody else's: before it nothing counts as an answer.
    `gap` is the longest silence after the first chunk, `gaps` those between deltas of the agent's own, `stop`
    the time from the caller's interruption to the last that still came, 0 if nothing did.
    """

    asked: float
    marker: str = MARK
    first_chunk: float = NEVER
    ack: float = NEVER
    answer: float = NEVER
    gap: float = 0.0
    stop: float = NEVER
    done: float = NEVER
    gaps: list[float] = field(default_factory=list)
    text: str = ""
    before: int = 0
    """Pieces of words before the answer: an acknowledgement, lines of progress."""
    _event: float = NEVER
    _delta: float = NEVER

    @property
    def answered(self) -> bool:
        """Did the agent's own words begin?"""
        return self.answer == self.answer

    @property
    def ended(self) -> bool:
        return self.done == self.done

    @property
    def waits(self) -> list[float]:
        """What the agent itself waited before its first words, for each time that it began."""
        return [waited(word.encode()) for word in WAIT.findall(self.text)]

    @property
    def tokens(self) -> int:
        return len(TOKEN.findall(self.text))

    def event(self, now: float) -> None:
        """Something came: an event, a frame."""
        if self.first_chunk != self.first_chunk:
            self.first_chunk = now - self.asked
        else:
            self.gap = max(self.gap, now - self._event)
        self._event = now

    def words(self, now: float, text: str) -> None:
        """These words came, with an event that was told of."""
        self.text += text
        if self.answered:
            self.gaps.append(now - self._delta)
            self._delta = now
            return
        if text.strip() and self.ack != self.ack:
            self.ack = now - self.asked
        if self.marker in self.text[-len(self.marker) - len(text) :]:
            self.answer = now - self.asked
            self._delta = now
        elif text.strip():
            self.before += 1

    def end(self, now: float) -> None:
        """The answer is complete."""
        self.done = now - self.asked

    def metrics(self) -> Iterator[tuple[str, float]]:
        """Every metric that this turn has, as locust names it, in seconds; "turn" comes last."""
        if self.first_chunk == self.first_chunk:
            for name, own in METRICS.items():
                if (value := getattr(self, own)) == value:
                    yield name, value
        for gap in self.gaps:
            yield "inter-delta gap", gap
        if self.ended:
            yield "turn", self.done

    def row(self) -> dict[str, float]:
        """The times as `loadtests.report.results` has them."""
        known = {name: getattr(self, name) for name in (*METRICS.values(), "done")}
        return known | {"waited": self.waits[0] if self.answered and self.waits else NEVER}
