"""Parts that the tests of the websocket platforms' checks share: a full call, and gateways with a flaw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulate.asgi_websocket import Flaw, unchanged
from tests.simulate.flawed_websocket import Bend, broken_checks, run_call, unbent
from tests.support.fake_agent import FakeAgent as Agent
from tests.support.fake_agent import fake_agent as agent
from voicegw.calls.call_tools import build_call_tools
from voicegw.events import ToolCall
from voicegw.simulate.platform import SimulatedPlatform
from voicegw.simulate.recording import Recording
from voicegw.simulate.script import CallScript

HELLO = {"say": "Hello?"}
END = ToolCall("c1", "end_call", '{"reason":"done"}')
ACTIONS = build_call_tools(("end_call", "transfer_call"))
FULL_TURNS: list[dict[str, Any]] = [
    {"say": "Hello?", "nonsense": True},
    {"say": "Are you open?", "partial": ["Are", "Are you"], "wait": 0.5},
    {"say": "Where are you?", "interrupt": 0.3},
    {"say": "When?", "next": 0.3},
    {"say": "On Monday, I mean."},
    {"say": "Your number?", "drop": 0.35},
    {"say": "Again?", "again": 0.1},
    {"silent": True},
    {"press": "12#"},
    {"say": "Bye.", "hang_up": 0.3},
]
"""A call that exercises nearly all checks."""


def hours_agent() -> Agent:
    return agent(0.2, "We are open", 0.1, " from nine", 0.1, " to five.")


def make_script(*turns: dict[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": turns or [HELLO], **tables})


def round_turns(recording: Recording) -> list[tuple[Any, ...]]:
    """Return the times of each turn, rounded to nanoseconds, and its outcome."""
    return [
        (
            round(turn.asked_at, 9),
            None if turn.first_text_delay is None else round(turn.first_text_delay, 9),
            None if turn.answer_delay is None else round(turn.answer_delay, 9),
            [round(time, 9) for time in turn.end_times],
            turn.outcome,
        )
        for turn in recording.turns
    ]


@dataclass(frozen=True)
class Case:
    """A gateway with a flaw; `side_effects` are the other checks that it breaks too."""

    item: str
    violation: str
    flaw: Callable[[], Flaw] = lambda: unchanged
    bend: Callable[[], Bend] = lambda: unbent
    turns: tuple[dict[str, Any], ...] = (HELLO,)
    side_effects: frozenset[str] = frozenset()
    agent: Callable[[], Agent] = hours_agent
    path: str = ""
    """Replaces the path of the platform."""
    secret: str = ""
    patience: Mapping[str, float] = field(default_factory=dict)

    async def assert_breaks_only_its_check(
        self, url: str, make_platform: Callable[[CallScript, str], SimulatedPlatform]
    ) -> None:
        """Run the call at `url` against the flawed gateway."""
        script = make_script(*self.turns, patience=self.patience)
        platform = make_platform(script, self.secret)
        recording = await run_call(
            platform,
            script,
            f"ws://gateway{self.path}" if self.path else url,
            self.agent(),
            bend=self.bend(),
            flaw=self.flaw(),
            try_forged=bool(self.secret),
            actions=ACTIONS,
        )
        found = broken_checks(platform.checks, recording, script)
        assert found.keys() == {self.item} | self.side_effects
        assert any(breach.endswith(self.violation) for breach in found[self.item]), found[self.item]
