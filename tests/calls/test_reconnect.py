"""A socket that is lost in the middle of a call, and the one that replaces it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.calls.calls import RELAYS, SETUP, SILENT, PlannedAgent, details, prompt, request, say, texts, words
from tests.support.asgi_websocket import connect_websocket
from tests.support.fake_agent import fake_agent
from tests.support.gateway import make_call_server
from voicegw.calls.call_tools import build_call_tools
from voicegw.calls.codec import SESSION_FAILED
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


# A new session of the same call


def resumed(reason: str) -> dict[str, Any]:
    return {**SETUP, "customParameters": {"voicegw-resumed": reason}}


def transfer(turn: Any) -> Any:
    if turn.kind in ("tool", "reminder"):
        return ("Nobody is there.",)
    switch = ToolCall("1", "switch_language", '{"language": "de-DE"}')
    number = ToolCall("2", "transfer_call", '{"number": "+15550100199"}')
    return (switch, number, "I put you through.") if "person" in turn.said else ("Bye.",)


def make_resuming_server(agent: Any) -> Any:
    actions = build_call_tools(("transfer_call", "switch_language"))
    app, _ = make_call_server(agent, ack=SILENT, actions=actions, languages=("en-US", "de-DE"))
    return app


async def test_agent_is_told_of_a_failed_transfer_and_goes_on_in_the_same_language() -> None:
    agent = PlannedAgent(transfer)
    app = make_resuming_server(agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("A person!"))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, resumed("no-answer"))
        await say(websocket, prompt("Bye."))
    language = {"type": "language", "ttsLanguage": "de-DE", "transcriptionLanguage": "de-DE"}
    assert websocket.frames[0][1] == language
    assert [text for _, text in words(websocket)] == ["Nobody is there.", "Bye."]
    told, after = agent.turns[1:]
    result = "Not done: the transfer failed (no-answer), and the caller is back."
    assert (told.kind, texts(told)) == ("tool", ["A person!", "I put you through.", "Done.", result])
    assert texts(after) == [*texts(told), "Nobody is there.", "Bye."]
    assert "voicegw-resumed" not in str(told.extra)


async def test_setup_of_a_failed_transfer_that_the_platform_repeats_changes_nothing() -> None:
    agent = PlannedAgent(transfer)
    app = make_resuming_server(agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("A person!"))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, resumed("no-answer"))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, resumed("no-answer"))
    assert (len(agent.turns), words(websocket)) == (2, [])


async def test_failed_transfer_of_an_unknown_call_is_told_in_the_prompt() -> None:
    agent = PlannedAgent(transfer)
    async with connect_websocket(make_resuming_server(agent), "/twilio/relay") as websocket:
        await say(websocket, resumed("busy"))
    assert [text for _, text in words(websocket)] == ["Nobody is there."]
    [turn] = agent.turns
    assert turn.kind == "reminder"
    assert texts(turn) == ["(The transfer of this call failed (busy). The caller is back: go on.)"]


@pytest.mark.parametrize("is_known", [True, False])
async def test_unanswered_question_is_asked_again_in_a_new_session(is_known: bool) -> None:
    agent = fake_agent(1, "At nine.")
    app, _ = make_call_server(agent, ack=SILENT, greeting="Hello.")
    if is_known:
        async with connect_websocket(app, "/twilio/relay") as websocket:
            await say(websocket, SETUP, prompt("When?"), wait=0.5)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, resumed(SESSION_FAILED), wait=2)
        assert words(websocket) == ([(1.0, "At nine.")] if is_known else [])
        await say(websocket, prompt("When?"), wait=2)
    greeting = ["Hello."] if is_known else []
    assert texts(agent.turns[-1]) == [*greeting, *(["When?", "At nine."] * is_known), "When?"]
