"""A socket that is lost in the middle of a call, and the one that replaces it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.calls.calls import RELAYS, SETUP, SILENT, PlannedAgent, details, prompt, request, say, texts, words
from tests.support.asgi_websocket import connect_websocket
from tests.support.fake_agent import fake_agent
from tests.support.gateway import make_call_server
from voicegw.calls.call_tools import build_call_tools
from voicegw.events import ToolCall

QUESTIONS = {
    "/twilio/relay": (SETUP, prompt("When?")),
    "/telnyx/relay": (SETUP, prompt("When?")),
    "/retell/call1": (details(), request(3, "When?")),
}


@pytest.mark.parametrize("path", QUESTIONS)
@pytest.mark.parametrize("lost_after", [0.5, 1.2], ids=["before the first word", "in mid-answer"])
async def test_unanswered_question_is_asked_again_after_the_setup(path: str, lost_after: float) -> None:
    agent = fake_agent(1, "At nine", 1, " to five.")
    app, _ = make_call_server(agent, ack=SILENT)
    setup, question = QUESTIONS[path]
    async with connect_websocket(app, path) as websocket:
        await say(websocket, setup, question, wait=lost_after)
    async with connect_websocket(app, path) as websocket:
        await say(websocket, setup, wait=3)
    assert words(websocket) == [(1.0, "At nine"), (2.0, " to five.")]
    assert [texts(turn) for turn in agent.turns] == [["When?"], ["When?"]]
    if path.startswith("/retell"):
        ids = {frame["response_id"] for _, frame in websocket.frames if "response_id" in frame}
        assert ids == {3}, "Retell takes the reply to its newest request"


@pytest.mark.parametrize("path", QUESTIONS)
async def test_answered_question_is_not_asked_again(path: str) -> None:
    agent = fake_agent("At nine.")
    app, _ = make_call_server(agent, ack=SILENT)
    setup, question = QUESTIONS[path]
    async with connect_websocket(app, path) as websocket:
        await say(websocket, setup, question)
    async with connect_websocket(app, path) as websocket:
        await say(websocket, setup, wait=3)
    assert (words(websocket), len(agent.turns)) == ([], 1)


@pytest.mark.parametrize("path", QUESTIONS)
async def test_question_that_the_platform_repeats_is_answered_once(path: str) -> None:
    agent = fake_agent(1, "At nine.")
    app, _ = make_call_server(agent, ack=SILENT)
    setup, question = QUESTIONS[path]
    async with connect_websocket(app, path) as websocket:
        await say(websocket, setup, question, wait=0.5)
    async with connect_websocket(app, path) as websocket:
        await say(websocket, setup, wait=0.1)
        await say(websocket, question, wait=3)
    assert words(websocket) == [(1.0, "At nine.")]
    assert len(agent.turns) == 2


async def test_lost_turn_is_asked_again_when_a_new_socket_takes_the_call_over() -> None:
    agent = fake_agent("At", 1, " nine.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as old, connect_websocket(app, "/twilio/relay") as new:
        await say(old, SETUP, prompt("When?"), wait=0.5)
        await say(new, SETUP, wait=2)
    assert words(new) == [(0.5, "At"), (1.5, " nine.")]
    assert texts(agent.turns[1]) == ["When?"]


@pytest.mark.parametrize("relay", RELAYS)
@pytest.mark.parametrize("pause", [0.5, 3.0])
async def test_words_that_the_caller_says_again_after_a_reconnect_are_answered(
    relay: str, pause: float
) -> None:
    agent = fake_agent("For how many?")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, prompt("Yes."))
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, wait=pause)
        await say(websocket, prompt("Yes."))
    assert words(websocket) == [(pause, "For how many?")]


@pytest.mark.parametrize(("is_late", "turns"), [(False, 1), (True, 2)])
async def test_keys_are_dropped_only_if_the_platform_repeats_them(is_late: bool, turns: int) -> None:
    agent = fake_agent("Thank you.")
    app, _ = make_call_server(agent, ack=SILENT)
    keys = [{"type": "dtmf", "digit": digit} for digit in "12#"]
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, *keys)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, wait=float(is_late))
        await say(websocket, *keys)
    assert len(agent.turns) == turns


async def test_keys_before_the_loss_are_a_question_too() -> None:
    agent = fake_agent("Thank you.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, {"type": "dtmf", "digit": "7"})
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP)
    [turn] = agent.turns
    assert (turn.kind, turn.messages[-1].text) == ("keypad", "(The caller pressed 7 on the keypad.)")


async def test_action_of_a_lost_turn_is_not_repeated() -> None:
    def plan(turn: Any) -> Any:
        keys = ToolCall("1", "send_digits", '{"digits": "5"}')
        return (1, "Sales.") if turn.kind == "tool" else (keys, 1, "Sales.")

    agent = PlannedAgent(plan)
    app, _ = make_call_server(agent, ack=SILENT, actions=build_call_tools(("send_digits",)))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("Sales?"), wait=0.5)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, wait=2)
    assert [frame["type"] for _, frame in websocket.frames] == ["text"]
    assert texts(agent.turns[1]) == ["Sales?", "", "Done."]
