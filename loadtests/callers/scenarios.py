"""The kinds of calls, their shares in the mix, and the failures of their turns. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loadtests.callers.turn import MeasuredTurn, TurnFailed

TOKEN_COUNT = re.compile(r"(?:^|[,:])tokens=(\d+)(?:,|$)")
CALLER_TEXT = "Can you help me with that, please?"


@dataclass(frozen=True, slots=True)
class CallScenario:
    """A kind of call. `model` names the agent that it needs, `weight` is its share of the mix."""

    name: str
    model: str
    weight: int
    description: str

    @property
    def is_cut(self) -> bool:
        """Whether the caller interrupts the answer or hangs up."""
        return self.name in ("bargein", "hangup")

    def check(self, turn: MeasuredTurn, model: str) -> None:
        """Check that a turn went as this kind of call requires. Raises TurnFailed with the reason."""
        if self.is_cut:
            return
        if not turn.has_ended:
            raise TurnFailed("the answer did not end")
        if self.name == "dead":
            _check_apology(turn)
            return
        if not turn.has_answer:
            raise TurnFailed("the agent's answer was not in the turn")
        if len(turn.agent_waits) > 1:
            raise TurnFailed("the agent ran twice")
        _check_tokens(turn, model)
        if self.name == "long" and turn.early_pieces < 2:
            raise TurnFailed("no line of progress was heard")


def _check_apology(turn: MeasuredTurn) -> None:
    if not turn.text.strip():
        raise TurnFailed("no words about the failure were heard")


def _check_tokens(turn: MeasuredTurn, model: str) -> None:
    expected = TOKEN_COUNT.search(model)
    if expected and "fault=" not in model and turn.token_count != int(expected[1]):
        raise TurnFailed("some of the agent's tokens are missing")


_ALL = (
    CallScenario("short", "first=0.3,every=0.02,tokens=40", 10, "a question and its answer"),
    CallScenario(
        "long",
        "tool:first=6,every=0.02,tokens=40",
        2,
        "the agent works in silence, and the caller hears progress",
    ),
    CallScenario("bargein", "first=0.3,every=0.02,tokens=200", 3, "the caller speaks over the answer"),
    CallScenario("hangup", "first=5,every=0.02,tokens=40", 1, "the caller hangs up before the first token"),
    CallScenario(
        "duplicate", "first=0.5,every=0.02,tokens=40", 1, "the same question twice, and the agent runs once"
    ),
    CallScenario("revision", "first=0.5,every=0.02,tokens=40", 2, "a revised question supersedes the first"),
    CallScenario("slow", "first=3,every=0.1,tokens=20", 2, "a slow agent"),
    CallScenario("dead", "dead", 1, "an agent that cannot be reached"),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
"""The kinds of calls by name."""


def text_with_model(model: str, number: int, words: str = CALLER_TEXT) -> str:
    """Return a caller's words with the model in brackets, for `loadtests.servers.fault_agent`.

    On a socket, no field names the model.
    """
    return f"{words} ({number}) [{model}]"
