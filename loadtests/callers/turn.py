"""The times of one turn as a caller measures them. Pure: times are arguments, in seconds of one clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from loadtests.servers.upstream import ANSWER_MARK, decode_wait

NOT_MEASURED = float("nan")
AGENT_WAIT = re.compile(rf"{ANSWER_MARK} ([a-j]{{10}})")
TOKEN = re.compile(r"\btok\d+")
METRICS = {
    "first chunk": "first_chunk",
    "ack-TTFT": "ack",
    "answer-TTFT": "answer",
    "longest gap": "gap",
    "stop": "stop",
}
"""The metrics by their names in locust, with the attribute; "inter-delta gap" and "turn" are added
to them.
"""


class TurnFailed(Exception):
    """The turn did not go as it should; equal failures have equal messages."""


@dataclass(slots=True)
class MeasuredTurn:
    """One turn, measured from its question on; a time is NaN if it never came.

    `marker` stands in the agent's words only: no text before it counts as the answer. `gap` is the longest
    silence after the first chunk, `gaps` are the silences between deltas of the agent. `stop` is the time
    from the caller's interruption to the last event after it, 0 if none came.
    """

    asked_at: float
    marker: str = ANSWER_MARK
    first_chunk: float = NOT_MEASURED
    ack: float = NOT_MEASURED
    answer: float = NOT_MEASURED
    gap: float = 0.0
    stop: float = NOT_MEASURED
    done: float = NOT_MEASURED
    gaps: list[float] = field(default_factory=list)
    text: str = ""
    early_pieces: int = 0
    """Pieces of text before the answer: an acknowledgement, lines of progress."""
    _last_event_at: float = NOT_MEASURED
    _last_delta_at: float = NOT_MEASURED

    @property
    def has_answer(self) -> bool:
        """Whether the agent's words have begun."""
        return self.answer == self.answer

    @property
    def has_ended(self) -> bool:
        return self.done == self.done

    @property
    def agent_waits(self) -> list[float]:
        """The waits of the agent before its first token, in seconds; one for each time that it ran."""
        return [decode_wait(word.encode()) for word in AGENT_WAIT.findall(self.text)]

    @property
    def token_count(self) -> int:
        return len(TOKEN.findall(self.text))

    def add_event(self, now: float) -> None:
        """Record that an event or a frame came."""
        if self.first_chunk != self.first_chunk:
            self.first_chunk = now - self.asked_at
        else:
            self.gap = max(self.gap, now - self._last_event_at)
        self._last_event_at = now

    def add_text(self, now: float, text: str) -> None:
        """Record text that came with the event recorded before."""
        self.text += text
        if self.has_answer:
            self.gaps.append(now - self._last_delta_at)
            self._last_delta_at = now
            return
        if text.strip() and self.ack != self.ack:
            self.ack = now - self.asked_at
        if self.marker in self.text[-len(self.marker) - len(text) :]:
            self.answer = now - self.asked_at
            self._last_delta_at = now
        elif text.strip():
            self.early_pieces += 1

    def finish(self, now: float) -> None:
        """Record the end of the answer."""
        self.done = now - self.asked_at

    def metrics(self) -> Iterator[tuple[str, float]]:
        """Yield the known metrics by their names in locust, in seconds; "turn" comes last."""
        if self.first_chunk == self.first_chunk:
            for name, attribute in METRICS.items():
                if (value := getattr(self, attribute)) == value:
                    yield name, value
        for gap in self.gaps:
            yield "inter-delta gap", gap
        if self.has_ended:
            yield "turn", self.done

    def times(self) -> dict[str, float]:
        """Return the times by the column names of `loadtests.report.results`."""
        known = {name: getattr(self, name) for name in (*METRICS.values(), "done")}
        return known | {
            "waited": self.agent_waits[0] if self.has_answer and self.agent_waits else NOT_MEASURED
        }
