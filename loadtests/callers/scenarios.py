"""What can happen in a call, how often it does in the mix, and what is a failure then. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loadtests.callers.turn import Failed, Turn

TOKENS = re.compile(r"(?:^|[,:])tokens=(\d+)(?:,|$)")
CALLER = "Can you help me with that, please?"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of call. `model` names the agent that it needs, `weight` is its share of the mix."""

    name: str
    model: str
    weight: int
    about: str

    @property
    def cut(self) -> bool:
        """Is it left before its end?"""
        return self.name in ("bargein", "hangup")

    def judge(self, turn: Turn, model: str) -> None:
        """Raises Failed if the turn did not go as this kind of call must."""
        if self.cut:
            return
        if not turn.ended:
            raise Failed("the answer did not come to its end")
        if self.name == "dead":
            _apologised(turn)
            return
        if not turn.answered:
            raise Failed("the agent's answer was not in the turn")
        if len(turn.waits) > 1:
            raise Failed("the agent ran twice")
        _whole(turn, model)
        if self.name == "long" and turn.before < 2:
            raise Failed("no line of progress was heard")


def _apologised(turn: Turn) -> None:
    if not turn.text.strip():
        raise Failed("not a word was heard of the failure")


def _whole(turn: Turn, model: str) -> None:
    wanted = TOKENS.search(model)
    if wanted and "fault=" not in model and turn.tokens != int(wanted[1]):
        raise Failed("not all of the agent's words arrived")


_ALL = (
    Scenario("short", "first=0.3,every=0.02,tokens=40", 10, "question, answer"),
    Scenario("long", "tool:first=6,every=0.02,tokens=40", 2, "the agent works in silence, progress is heard"),
    Scenario("bargein", "first=0.3,every=0.02,tokens=200", 3, "the caller speaks over the answer"),
    Scenario("hangup", "first=5,every=0.02,tokens=40", 1, "the caller is gone before the first token"),
    Scenario("duplicate", "first=0.5,every=0.02,tokens=40", 1, "asked twice, the agent runs once"),
    Scenario("revision", "first=0.5,every=0.02,tokens=40", 2, "asked again in other words, which supersede"),
    Scenario("slow", "first=3,every=0.1,tokens=20", 2, "an agent that takes its time"),
    Scenario("dead", "dead", 1, "an agent that nobody can reach"),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}


def wish(model: str, number: int, words: str = CALLER) -> str:
    """What a caller says on a socket, where no field names an agent: `loadtests.servers.fault_agent` reads it."""
    return f"{words} ({number}) [{model}]"
