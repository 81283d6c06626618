"""Situations of real calls: our gateway passes their checks, and breaks them with the fault put back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.calls.calls import PlannedAgent
from tests.simulate.asgi_websocket import sockets_to_app
from tests.simulate.flawed_websocket import Frame, bend_frames, broken_checks, check_states
from tests.simulate.platforms.realtime.test_client import our_gateway
from tests.simulate.platforms.realtime.test_client import run_call as run_realtime_call
from tests.simulate.platforms.test_conversation_relay import make_platform as make_relay
from tests.simulate.platforms.test_retell import make_platform as make_retell
from tests.simulate.platforms.websocket_cases import ACTIONS, make_script
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import make_call_server
from voicegw.calls.action_results import ActionResults
from voicegw.calls.turn_player import TurnPlayer
from voicegw.events import ToolCall
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.retell.codec import RetellCodec
from voicegw.simulate.call_runner import CallRunner

PATHS = {"twilio": "/twilio/relay", "telnyx": "/telnyx/relay", "retell": "/retell"}
LATE = ({"say": "Hello?"}, {"say": "When are you open?", "late_interrupt": 0.1})
COUGH = ({"say": "Tell me everything.", "interrupt": 0.3}, {"silent": True})
LOST = ({"say": "Your number?", "drop": 0.4, "resend": False},)
REFUSED = ({"say": "A person, please.", "refused": "number is wrong"}, {"say": "Thank you."})


def hours_agent() -> FakeAgent:
    return fake_agent(0.2, "We are open", 0.1, " from nine", 0.2, " to five.")


def transferring_agent() -> FakeAgent:
    def plan(turn: Any) -> Any:
        if "person" not in turn.said or turn.kind == "tool":
            return ("I am sorry, the number is wrong.",) if turn.kind == "tool" else ("You are welcome.",)
        return ("I put you through.", ToolCall("1", "transfer_call", '{"number": "my boss"}'))

    return PlannedAgent(plan)


@dataclass(frozen=True)
class Situation:
    """A situation, and the fault of a gateway that does not master it."""

    item: str
    platform: str
    turns: tuple[dict[str, Any], ...]
    violation: str
    fault: Callable[[pytest.MonkeyPatch], None] = lambda patch: None
    """Puts the fault back into our code."""
    faulty_profile: dict[str, Any] = field(default_factory=dict)
    """Keys of `CallProfile` that put the fault back."""
    side_effects: frozenset[str] = frozenset()
    agent: Callable[[], FakeAgent] = hours_agent


def stop_any_turn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TurnPlayer, "is_meant", lambda self, heard_text, last_spoken: True)


def forget_questions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RelayCodec, "asks_again", False)
    patch.setattr(RetellCodec, "asks_again", False)


def report_refused_actions_as_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        ActionResults, "refuse", lambda self, call, result="": self.by_id.update({call.id: "Done."})
    )


MUTE = frozenset({"answers", "silence"})
SITUATIONS = [
    *(
        Situation(
            "late-interrupt",
            relay,
            LATE,
            "turn 2: no words came after the report",
            stop_any_turn,
        )
        for relay in ("twilio", "telnyx")
    ),
    *(
        Situation(
            "dead-air",
            relay,
            COUGH,
            "turn 2: the agent said nothing",
            faulty_profile={"false_interruption": "ignore"},
            side_effects=frozenset({"answers"}),
        )
        for relay in ("twilio", "telnyx")
    ),
    *(
        Situation(
            "asks-again",
            platform,
            LOST,
            "turn 1: no end of the answer within 60 s",
            forget_questions,
            side_effects=MUTE | {"comes-back"},
        )
        for platform in ("twilio", "telnyx", "retell")
    ),
    *(
        Situation(
            "takes-back",
            platform,
            REFUSED,
            "turn 1: the agent did not say 'number is wrong'",
            report_refused_actions_as_done,
            agent=transferring_agent,
        )
        for platform in ("twilio", "retell")
    ),
]
SITUATION_ITEMS = {situation.item for situation in SITUATIONS}
"""The checks that a test here breaks."""


async def run_situation(situation: Situation, **profile: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the state of each check, and the violations of the broken ones."""
    script = make_script(*situation.turns)
    is_retell = situation.platform == "retell"
    platform = make_retell(script) if is_retell else make_relay(script, vendor=situation.platform)
    options = {"false_interruption": "resume", **profile}
    app, _ = make_call_server(situation.agent(), actions=ACTIONS, **options)
    url = f"ws://gateway{PATHS[situation.platform]}"
    recording = await CallRunner(platform, script, url, sockets_to_app(app)).run()
    checks = platform.checks
    return check_states(checks, recording, script), broken_checks(checks, recording, script)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda found: f"{found.item}-{found.platform}")
async def test_our_gateway_masters_the_situation(situation: Situation) -> None:
    states, broken = await run_situation(situation)
    assert (states[situation.item], broken) == ("held", {})


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda found: f"{found.item}-{found.platform}")
async def test_gateway_with_the_fault_breaks_the_check(
    situation: Situation, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation.fault(monkeypatch)
    _, broken = await run_situation(situation, **situation.faulty_profile)
    assert broken.keys() == {situation.item} | situation.side_effects
    assert situation.violation in broken[situation.item]


@pytest.mark.parametrize("is_faulty", [False, True])
async def test_truncated_older_item_does_not_stop_the_response(is_faulty: bool) -> None:
    """The fault: each truncation cancels the response that is active."""

    def bend(frame: Frame) -> Iterable[Frame]:
        yield frame
        if is_faulty and frame["type"] == "conversation.item.truncate":
            yield {"type": "response.cancel"}

    app = bend_frames(our_gateway(0.2, "We are open", 0.1, " from nine", 0.2, " to five."), bend)
    _, found = await run_realtime_call(app, script=make_script(*LATE))
    states = {result.item: result.state for result in found}
    assert states["truncates"] == "held"
    assert states["late-interrupt"] == ("broken" if is_faulty else "held")


async def test_caller_who_does_not_cough_is_asked_nothing() -> None:
    script = make_script({"say": "Hello?"}, {"silent": True})
    platform = make_relay(script)
    app, _ = make_call_server(hours_agent())
    recording = await CallRunner(platform, script, "ws://gateway/twilio/relay", sockets_to_app(app)).run()
    assert [number for number, _ in recording.skipped_steps] == [2]
    assert check_states(platform.checks, recording, script)["dead-air"] == "not tried"


async def test_transfer_that_is_executed_breaks_the_check() -> None:
    number = ToolCall("1", "transfer_call", '{"number": "+15550100199"}')
    agent = PlannedAgent(lambda turn: ("The number is wrong.", number))
    refused = Situation("takes-back", "twilio", REFUSED, "", agent=lambda: agent)
    _, broken = await run_situation(refused)
    assert broken == {"takes-back": ("turn 1: the call was ended or transferred",)}
