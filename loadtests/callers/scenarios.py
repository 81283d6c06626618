"""What can happen in a call, how often it does in the mix, and what is a failure then. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loadtests.callers.turn import TurnFailed, MeasuredTurn

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
        """Is it left before its end?"""
        return self.name in ("bargein", "hangup")

    def check(self, turn: MeasuredTurn, model: str) -> None:
        """Raises Failed if the turn did not go as this kind of call must."""
        if self.is_cut:
            return
        if not turn.has_ended:
            raise TurnFailed("the answer did not come to its end")
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
        raise TurnFailed("not a word was heard of the failure")


def _check_tokens(turn: MeasuredTurn, model: str) -> None:
    wanted = TOKEN_COUNT.search(model)
    if wanted and "fault=" not in model and turn.token_count != int(wanted[1]):
        raise TurnFailed("not all of the agent's words arrived")


_ALL = (
    CallScenario("short", "first=0.3,every=0.02,tokens=40", 10, "question, answer"),
    CallScenario("long", "tool:first=6,every=0.02,tokens=40", 2, "the agent works in silence, progress is heard"),
    CallScenario("bargein", "first=0.3,every=0.02,tokens=200", 3, "the caller speaks over the answer"),
    CallScenario("hangup", "first=5,every=0.02,tokens=40", 1, "the caller is gone before the first token"),
    CallScenario("duplicate", "first=0.5,every=0.02,tokens=40", 1, "asked twice, the agent runs once"),
    CallScenario("revision", "first=0.5,every=0.02,tokens=40", 2, "asked again in other words, which supersede"),
    CallScenario("slow", "first=3,every=0.1,tokens=20", 2, "an agent that takes its time"),
    CallScenario("dead", "dead", 1, "an agent that nobody can reach"),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}


def text_with_model(model: str, number: int, words: str = CALLER_TEXT) -> str:
    """What a caller says on a socket, where no field names an agent: `loadtests.servers.fault_agent` reads it."""
    return f"{words} ({number}) [{model}]"
