"""Interruptions that come late, twice, or without words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.calls.calls import RELAYS, SETUP, SILENT, PlannedAgent, interrupt, prompt, say, texts, words
from tests.support.asgi_websocket import connect_websocket
from tests.support.fake_agent import fake_agent
from tests.support.gateway import make_call_server
from voicegw.turns.prompts import RESUME_PROMPT, SILENCE_PROMPT


def two_answers(turn: Any) -> Any:
    return ("We open at nine.",) if turn.said == "When?" else (0.5, "Behind", 1, " the house.")


@pytest.mark.parametrize("relay", RELAYS)
@pytest.mark.parametrize("delay", [0.2, 0.7], ids=["before the newer words", "among the newer words"])
async def test_interruption_of_an_older_answer_does_not_stop_the_newer_turn(relay: str, delay: float) -> None:
    agent = PlannedAgent(two_answers)
    app, _ = make_call_server(agent, ack=SILENT, false_interruption="resume")
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, prompt("When?"))
        await say(websocket, prompt("Parking?"), wait=delay)
        await say(websocket, interrupt("We open"), wait=9)
        await say(websocket, prompt("Thanks."))
    assert words(websocket)[:3] == [(0.0, "We open at nine."), (1.5, "Behind"), (2.5, " the house.")]
    assert [turn.kind for turn in agent.turns] == ["said"] * 3
    assert texts(agent.turns[2]) == ["When?", "We open", "Parking?", "Behind the house.", "Thanks."]


@pytest.mark.parametrize("relay", RELAYS)
@pytest.mark.parametrize("heard", ["Behind", "", None, "Anything else"])
async def test_interruption_of_the_current_turn_stops_it(relay: str, heard: str | None) -> None:
    agent = PlannedAgent(two_answers)
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, prompt("When?"))
        await say(websocket, prompt("Parking?"), wait=0.7)
        await say(websocket, interrupt(heard), wait=3)
    assert words(websocket) == [(0.0, "We open at nine."), (1.5, "Behind")]


async def test_second_report_of_an_interruption_changes_nothing() -> None:
    agent = fake_agent("We open", 0.5, " at nine.")
    app, _ = make_call_server(agent, ack=SILENT, false_interruption="resume")
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("When?"), wait=0.2)
        await say(websocket, interrupt("We"), interrupt("We"), wait=0.1)
        await say(websocket, prompt("Sorry?"))
    assert texts(agent.turns[1]) == ["When?", "We", "Sorry?"]
    assert words(websocket)[1:] == [(0.3, "We open"), (0.8, " at nine.")]


@pytest.mark.parametrize("relay", RELAYS)
@pytest.mark.parametrize(("how", "last"), [("resume", RESUME_PROMPT), ("reminder", SILENCE_PROMPT)])
@pytest.mark.parametrize("after", [0.2, 2.0], ids=["in mid-answer", "after the answer"])
async def test_interruption_without_words_leaves_no_dead_air(
    relay: str, how: str, last: str, after: float
) -> None:
    def plan(turn: Any) -> Any:
        return (
            ("And close at six.",) if turn.kind == "reminder" else ("We open at nine, ", 0.5, "close at six.")
        )

    agent = PlannedAgent(plan)
    options: Any = {"false_interruption": how, "false_interruption_timeout": 4.0}
    app, _ = make_call_server(agent, ack=SILENT, **options)
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, prompt("When?"), wait=after)
        await say(websocket, interrupt("We open"), wait=10)
    assert words(websocket)[-1] == (after + 4, "And close at six.")
    assert len(agent.turns) == 2
    assert texts(agent.turns[1]) == ["When?", "We open", last]
    assert agent.turns[1].heard == "We open"


@pytest.mark.parametrize(
    "frame", [prompt("Sorry?"), prompt("Sor", last=False), {"type": "dtmf", "digit": "1"}, interrupt("We")]
)
async def test_words_keys_and_interruptions_make_the_gateway_wait_longer(frame: Any) -> None:
    agent = fake_agent("We open", 0.5, " at nine.")
    app, _ = make_call_server(
        agent, ack=SILENT, false_interruption="reminder", false_interruption_timeout=2.0
    )
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("When?"), wait=0.2)
        await say(websocket, interrupt("We"), wait=1.9)
        await say(websocket, frame, wait=1)
    assert [turn.kind for turn in agent.turns if turn.kind == "reminder"] == []


async def test_interruption_without_words_may_be_ignored() -> None:
    agent = fake_agent("We open", 0.5, " at nine.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("When?"), wait=0.2)
        await say(websocket, interrupt("We"), wait=60)
    assert len(agent.turns) == 1


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        ("好的，我们周二到周六营业，早上九点开门。", "好的，我们周二到周六"),
        ("はい、火曜日から土曜日まで営業しております。", "はい、火曜日から"),
        ("Good morning, we are open.", "Good"),
    ],
)
@pytest.mark.parametrize("relay", RELAYS)
async def test_agent_knows_the_heard_part_in_every_language(relay: str, answer: str, heard: str) -> None:
    agent = fake_agent(answer)
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, prompt("When?"))
        await say(websocket, interrupt(heard), prompt("Next."))
    assert texts(agent.turns[1])[1].rstrip("，、,") == heard
    assert agent.turns[1].heard == texts(agent.turns[1])[1]
