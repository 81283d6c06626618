"""Calls on a websocket: the frames, their times, and the messages of the agent's turns."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.support.asgi_websocket import AsgiWebSocket, connect_websocket
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import make_call_server
from voicegw.calls import turn_player
from voicegw.calls.call_tools import build_call_tools
from voicegw.calls.caller_input import MAX_TURNS, CallerInput
from voicegw.errors import AgentUnavailable
from voicegw.events import Activity, Message, ToolCall
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.phrases import PHRASES
from voicegw.turns.prompts import NOT_DONE, SILENCE_PROMPT

SETUP = {"type": "setup", "callSid": "CA1"}
HELLO = {"type": "prompt", "voicePrompt": "Hello?", "last": True}
SILENT = AckPolicy(None)


def prompt(words: str, **more: Any) -> dict[str, Any]:
    return {**HELLO, "voicePrompt": words, **more}


def token(text: str, last: bool = False) -> dict[str, Any]:
    return {"type": "text", "token": text, "last": last}


def tokens(websocket: AsgiWebSocket) -> list[tuple[float, str, bool]]:
    return [
        (when, frame["token"], frame["last"]) for when, frame in websocket.frames if frame["type"] == "text"
    ]


async def test_acknowledgement_is_sent_at_once_and_the_turn_ends_once() -> None:
    app, _ = make_call_server(fake_agent(0.3, "Hello", 0.1, " there."))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert websocket.frames == [
        (0.0, token("One moment. ")),
        (0.3, token("Hello")),
        (0.4, token(" there.", last=True)),
    ]


async def test_close_deltas_share_a_frame_but_the_first_is_not_delayed() -> None:
    words = [step for word in "bcdefg" for step in (f" {word}", 0.01)]
    app, _ = make_call_server(fake_agent(0.1, *words), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert tokens(websocket) == [
        (0.1, "b", False),
        (0.125, " c d", False),
        (0.15, " e f", False),
        (0.16, " g", True),
    ]


async def test_interruption_stops_the_agent_and_truncates_the_transcript() -> None:
    agent = fake_agent(0.2, "We are open", 0.2, " from nine", 0.2, " to five.")
    app, _ = make_call_server(agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.5)
        websocket.send_frame(
            {
                "type": "interrupt",
                "utteranceUntilInterrupt": "One moment. We are",
                "durationUntilInterruptMs": "460",
            }
        )
        await asyncio.sleep(1)
        websocket.send_frame(prompt("Sorry?"))
        await asyncio.sleep(0.1)
    assert tokens(websocket)[:4] == [
        (0.0, "One moment. ", False),
        (0.2, "We are open", False),
        (0.4, " from nine", False),
        (0.5, "", True),
    ]
    assert agent.close_times[0] == 0.5
    second = agent.turns[1]
    assert [message.text for message in second.messages] == ["Hello?", "We are", "Sorry?"]
    assert second.heard == "We are"


async def test_interruption_after_the_last_token_truncates_the_transcript() -> None:
    agent = fake_agent("We are open from nine to five.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        websocket.send_frame({"type": "interrupt", "utteranceUntilInterrupt": ""})
        websocket.send_frame(prompt("Sorry?"))
        await asyncio.sleep(0.1)
    assert tokens(websocket)[0] == (0.0, "We are open from nine to five.", True)
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "Sorry?"]
    assert agent.turns[1].heard == ""


async def test_new_prompt_supersedes_the_current_turn() -> None:
    agent = fake_agent(0.2, "One", 0.2, " two", 0.2, " three.")
    app, dispatcher = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.3)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert tokens(websocket) == [
        (0.2, "One", False),
        (0.3, "", True),
        (0.5, "One", False),
        (0.7, " two", False),
        (0.9, " three.", True),
    ]
    assert agent.close_times == [0.3, 0.9]
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "One", "Hello?"]
    assert not dispatcher.runs


@pytest.mark.parametrize("heard", [None, "", "We are"])
async def test_turn_of_which_nothing_was_sent_is_not_interrupted(heard: str | None) -> None:
    app, _ = make_call_server(fake_agent(1, "Late."), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.5)
        websocket.send_frame({"type": "interrupt", "utteranceUntilInterrupt": heard})
        await asyncio.sleep(1)
    assert tokens(websocket) == [(1.0, "Late.", True)]


async def test_partial_prompt_is_not_answered() -> None:
    agent = fake_agent("Hi.")
    app, _ = make_call_server(agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("Hel", last=False))
        await asyncio.sleep(1)
    assert (websocket.frames, agent.turns) == ([], [])


@pytest.mark.parametrize(
    ("final", "turns", "first"), [("Hello?", 1, 0.5), ("Hello there?", 2, 0.8)], ids=["same", "other"]
)
async def test_speculative_run_is_used_if_the_final_prompt_is_the_same(
    final: str, turns: int, first: float
) -> None:
    agent = fake_agent(0.3, "Hi.")
    app, _ = make_call_server(agent, ack=SILENT, speculate=True)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt(" ", last=False))
        websocket.send_frame(prompt("Hello?", last=False))
        await asyncio.sleep(0.5)
        websocket.send_frame(prompt(final))
        await asyncio.sleep(1)
    assert len(agent.turns) == turns
    assert tokens(websocket) == [(first, "Hi.", True)]


async def test_speculative_run_is_cancelled_with_its_call() -> None:
    agent = fake_agent(1, "Hi.")
    app, dispatcher = make_call_server(agent, speculate=True)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("Hello?", last=False))
        await asyncio.sleep(0.5)
    await asyncio.sleep(0)
    assert agent.close_times == [0.5]
    assert not dispatcher.runs


async def test_digits_are_collected_into_one_turn() -> None:
    agent = fake_agent("Thank you.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        for digit in "12":
            websocket.send_frame({"type": "dtmf", "digit": digit})
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        for digit in "3#":
            websocket.send_frame({"type": "dtmf", "digit": digit})
        await asyncio.sleep(1)
        websocket.send_frame({"type": "dtmf", "digit": "9"})
    assert [when for when, *_ in tokens(websocket)] == [2.5, 3.0]
    assert [(turn.kind, turn.messages[-1].text) for turn in agent.turns] == [
        ("keypad", "(The caller pressed 12 on the keypad.)"),
        ("keypad", "(The caller pressed 3# on the keypad.)"),
    ]


async def test_reconnected_call_goes_on_and_ignores_replayed_prompts() -> None:
    agent = fake_agent("Yes.")
    app, _ = make_call_server(agent, ack=SILENT, greeting="Good morning.")
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("One?"))
        await asyncio.sleep(1)
        websocket.send_frame(prompt("Two?"))
        await asyncio.sleep(1)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("One?"))
        websocket.send_frame(prompt("Two?"))
        await asyncio.sleep(1)
        assert websocket.frames == []
        websocket.send_frame(prompt("Two?"))
        await asyncio.sleep(1)
        assert tokens(websocket) == [(1.0, "Yes.", True)]
    said = ["Good morning.", "One?", "Yes.", "Two?", "Yes.", "Two?"]
    assert [message.text for message in agent.turns[-1].messages] == said
    assert agent.warm_count == 1


async def test_replayed_prompt_is_answered_if_its_reply_was_lost() -> None:
    agent = fake_agent(1, "Yes.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("One?"))
        await asyncio.sleep(0.5)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("One?"))
        await asyncio.sleep(2)
    assert tokens(websocket) == [(1.0, "Yes.", True)]
    assert [message.text for message in agent.turns[1].messages] == ["One?"]


async def test_same_prompt_long_after_a_reconnect_is_answered() -> None:
    agent = fake_agent("Yes.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        await asyncio.sleep(6)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert tokens(websocket) == [(6.0, "Yes.", True)]


async def test_frames_before_the_setup_are_ignored() -> None:
    agent = fake_agent("Hi.")
    app, _ = make_call_server(agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert (websocket.frames, agent.turns) == ([], [])


@pytest.mark.parametrize(
    "frame", ["{", "[]", b"\0\1", {"type": "new"}, {"type": "prompt"}, {"type": "error"}]
)
async def test_invalid_frame_does_not_end_the_call(frame: Any) -> None:
    app, _ = make_call_server(fake_agent("Hi."), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(frame)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        assert websocket.close_code is None
    assert tokens(websocket) == [(0.0, "Hi.", True)]


async def test_agent_failure_is_spoken_and_the_call_goes_on() -> None:
    app, _ = make_call_server(fake_agent(0.5, AgentUnavailable("down")))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        assert websocket.close_code is None
    apology = "Sorry, something went wrong. Could you say that again?"
    assert tokens(websocket) == [(0.0, "One moment. ", False), (0.5, apology, True)]


async def test_agent_timeout_is_spoken() -> None:
    app, _ = make_call_server(fake_agent(60, "Late."), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(10)
    assert tokens(websocket) == [(5.0, "Sorry, something went wrong. Could you say that again?", True)]


async def test_turn_beyond_the_rate_limit_gets_the_busy_phrase() -> None:
    agent = fake_agent("Hi.")
    app, _ = make_call_server(agent, max_turns=1)
    async with connect_websocket(app, "/twilio/relay") as one, connect_websocket(app, "/retell/2") as two:
        one.send_frame(SETUP)
        agent.steps = (1, "Hi.")
        one.send_frame(HELLO)
        await asyncio.sleep(0)
        two.send_frame({"interaction_type": "response_required", "response_id": 1, "transcript": []})
        await asyncio.sleep(0.5)
        [_, _, (when, frame)] = two.frames
    assert (when, frame["content_complete"]) == (0.0, True)
    assert frame["content"] == "Sorry, we are very busy right now. Please try again in a moment."


async def test_draining_gateway_finishes_turns_and_closes_calls_with_new_ones() -> None:
    app, dispatcher = make_call_server(fake_agent(1, "Hi."), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as running, connect_websocket(app, "/retell/2") as new:
        running.send_frame(SETUP)
        running.send_frame(HELLO)
        await asyncio.sleep(0.5)
        dispatcher.drain()
        new.send_frame({"interaction_type": "response_required", "response_id": 1, "transcript": []})
        await asyncio.sleep(1)
    assert tokens(running) == [(1.0, "Hi.", True)]
    assert (running.close_code, new.close_code) == (None, 1012), "the platform may still play the last words"
    assert new.frames[-1][1]["content"] == "Sorry, I have to stop here. Please try again in a minute."


async def test_close_all_speaks_the_shutdown_phrase_before_it_closes() -> None:
    app, dispatcher = make_call_server(fake_agent(1, "Hi."), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.5)
        dispatcher.drain()
        app.close_all()
        dispatcher.stop_all()
        await asyncio.sleep(1)
    assert tokens(websocket) == [(0.5, "Sorry, I have to stop here. Please try again in a minute.", True)]
    assert websocket.close_code == 1012


async def test_progress_phrases_are_spoken_while_the_agent_works() -> None:
    app, _ = make_call_server(fake_agent(Activity("search"), 5, "Done."), ack=AckPolicy(None, every=2.0))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(6)
    assert [(when, text) for when, text, _ in tokens(websocket)] == [
        (2.0, "Still working on it. "),
        (4.0, "Just a little longer. "),
        (5.0, "Done."),
    ]


async def test_end_call_is_sent_after_the_last_words() -> None:
    agent = fake_agent("Good bye.", ToolCall("1", "end_call", '{"reason": "done"}'))
    app, dispatcher = make_call_server(agent, ack=SILENT, actions=build_call_tools(("end_call",)))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert tokens(websocket) == [(0.0, "Good bye.", True)]
    assert [frame["type"] for _, frame in websocket.frames] == ["text", "end"]
    assert [tool.name for tool in agent.turns[0].tools] == ["end_call"]
    assert len(dispatcher.calls) == 0


async def test_action_that_was_not_offered_does_nothing() -> None:
    app, _ = make_call_server(fake_agent("Hm.", ToolCall("1", "end_call")), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert [frame["type"] for _, frame in websocket.frames] == ["text"]


async def test_agent_that_only_called_an_action_is_run_again() -> None:
    class DigitSender(FakeAgent):
        async def reply(self, turn: Any) -> Any:
            self.turns.append(turn)
            yield ToolCall("1", "send_digits", '{"digits": "5"}') if len(self.turns) == 1 else "Sales, then."

    agent = DigitSender()
    app, _ = make_call_server(agent, ack=SILENT, actions=build_call_tools(("send_digits",)))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert [frame.get("digits", frame.get("token")) for _, frame in websocket.frames] == ["5", "Sales, then."]
    assert [message.role for message in agent.turns[1].messages] == ["user", "assistant", "tool"]


async def test_repeated_action_does_not_start_a_third_run() -> None:
    agent = fake_agent(ToolCall("1", "send_digits", '{"digits": "5"}'))
    app, _ = make_call_server(agent, ack=SILENT, actions=build_call_tools(("send_digits",)))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert len(agent.turns) == 2, "it runs once more, and the same action is not executed again"
    assert [frame["type"] for _, frame in websocket.frames] == ["sendDigits"]


async def test_tool_rounds_are_limited() -> None:
    class DigitSender(FakeAgent):
        async def reply(self, turn: Any) -> Any:
            self.turns.append(turn)
            yield ToolCall("1", "send_digits", json.dumps({"digits": str(len(self.turns))}))

    agent = DigitSender()
    app, _ = make_call_server(agent, ack=SILENT, actions=build_call_tools(("send_digits",)))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert len(agent.turns) == 1 + turn_player.MAX_TOOL_ROUNDS


async def test_invalid_action_has_a_result_that_says_so() -> None:
    agent = fake_agent("I put you through.", ToolCall("1", "transfer_call", '{"number": "0800"}'))
    app, _ = make_call_server(agent, ack=SILENT, actions=build_call_tools(("transfer_call",)))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        websocket.send_frame(prompt("And?"))
        await asyncio.sleep(1)
    result = agent.turns[1].messages[2]
    assert (result.role, result.tool_call_id, result.name) == ("tool", "1", "transfer_call")
    assert result.text.startswith(f"{NOT_DONE}This telephone number is invalid or incomplete.")


# Retell


def response_required(response_id: int, *texts: str, kind: str = "response_required") -> dict[str, Any]:
    roles = ("user", "agent")
    transcript = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
    return {"interaction_type": kind, "response_id": response_id, "transcript": transcript}


def responses(websocket: AsgiWebSocket) -> list[tuple[float, int, str, bool]]:
    return [
        (when, frame["response_id"], frame["content"], frame["content_complete"])
        for when, frame in websocket.frames
        if frame["response_type"] == "response"
    ]


async def test_retell_gets_config_greeting_and_reply_with_its_response_id() -> None:
    app, _ = make_call_server(fake_agent(0.3, "Hello."), greeting="Good morning.")
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_frame(response_required(1, "Hi"))
        await asyncio.sleep(1)
    assert websocket.frames[0][1]["response_type"] == "config"
    assert responses(websocket) == [
        (0.0, 0, "Good morning.", True),
        (0.0, 1, "One moment. ", False),
        (0.3, 1, "Hello.", True),
    ]


async def test_newer_retell_request_supersedes_the_older_silently() -> None:
    agent = fake_agent(0.2, "One", 0.2, " two.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_frame(response_required(1, "Hi"))
        await asyncio.sleep(0.3)
        websocket.send_frame({"interaction_type": "update_only", "transcript": []})
        websocket.send_frame(response_required(2, "Hi there"))
        await asyncio.sleep(1)
    assert responses(websocket)[1:] == [
        (0.2, 1, "One", False),
        (0.5, 2, "One", False),
        (0.7, 2, " two.", True),
    ]
    assert agent.close_times == [0.3, 0.7]


async def test_retell_update_does_not_stop_the_current_turn() -> None:
    app, _ = make_call_server(fake_agent(0.2, "One", 0.2, " two."), ack=SILENT)
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_frame(response_required(1, "Hi"))
        await asyncio.sleep(0.3)
        websocket.send_frame(
            {"interaction_type": "update_only", "transcript": [{"role": "user", "content": "Hi"}]}
        )
        await asyncio.sleep(1)
    assert responses(websocket)[1:] == [(0.2, 1, "One", False), (0.4, 1, " two.", True)]


async def test_retell_ping_is_answered_during_a_turn() -> None:
    app, _ = make_call_server(fake_agent(3, "Hello."))
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_frame(response_required(1, "Hi"))
        await asyncio.sleep(1)
        websocket.send_frame({"interaction_type": "ping_pong", "timestamp": 7})
        await asyncio.sleep(1)
    assert websocket.frames[-1] == (1.0, {"response_type": "ping_pong", "timestamp": 7})


async def test_retell_reminder_prompts_the_agent_about_the_silence() -> None:
    agent = fake_agent("Are you there?")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_frame(response_required(1, "Hi", "Hello.", kind="reminder_required"))
        await asyncio.sleep(1)
    [turn] = agent.turns
    assert (turn.kind, turn.messages[-1]) == ("reminder", Message("user", SILENCE_PROMPT))
    assert responses(websocket)[1:] == [(0.0, 1, "Are you there?", True)]


async def test_heard_text_is_taken_from_retells_transcript() -> None:
    agent = fake_agent("We are open from nine to five.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_frame(response_required(1, "Hi"))
        await asyncio.sleep(1)
        websocket.send_frame({**response_required(0, "Hi", "We are open"), "interaction_type": "update_only"})
        websocket.send_frame(response_required(2, "Hi", "We are open", "What?"))
        await asyncio.sleep(1)
    assert [turn.heard for turn in agent.turns] == [None, "We are open"]
    assert [message.text for message in agent.turns[1].messages] == ["Hi", "We are open", "What?"]


async def test_reconnected_retell_call_is_not_greeted_again() -> None:
    app, _ = make_call_server(fake_agent("Hello."), ack=SILENT, greeting="Good morning.")
    for greeted in (True, False):
        async with connect_websocket(app, "/retell/call1") as websocket:
            await asyncio.sleep(1)
        assert websocket.frames[0][1]["response_type"] == "config"
        assert (len(websocket.frames) == 2) is greeted


async def test_frames_keep_their_order_when_the_platform_reads_slowly() -> None:
    words = [step for word in "abcde" for step in (f" {word}", 0.1)]
    app, _ = make_call_server(fake_agent(*words), ack=SILENT)
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_gate = asyncio.Event()
        websocket.send_frame(response_required(1, "Hi"))
        await asyncio.sleep(2)
        websocket.send_gate.set()
        await asyncio.sleep(1)
    assert [content for _, _, content, _ in responses(websocket)] == ["", "a b c d e"]


async def test_exception_in_the_gateway_closes_the_socket_with_1011(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: CallerInput, *_: Any) -> None:
        raise ValueError("a bug")

    app, _ = make_call_server(fake_agent("Hi."))
    monkeypatch.setattr(CallerInput, "on_turn_requested", broken)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        assert websocket.close_code == 1011


async def test_change_of_the_platforms_configuration_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voicegw.error")
    agent = fake_agent("We are open.", 1, " Until five.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.5)
        for value in ("x", {"ttsProvider": "Google"}):
            websocket.send_frame({"type": "info", "name": "configUpdated", "value": value})
        await asyncio.sleep(1)
    assert [frame["token"] for _, frame in websocket.frames] == ["We are open.", " Until five."]
    notice = '{"event":"notice","platform":"twilio","about":"config-updated"}'
    assert [line for line in caplog.messages if "notice" in line] == [notice]


async def test_reply_is_in_the_callers_language_where_the_profile_says_so() -> None:
    app, _ = make_call_server(
        fake_agent(1, "Sí."), languages=("en-US", "es-ES"), language="en-US", speaks_callers_language=True
    )
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        for language, wait in (("es", 2), ("multi", 2), ("en", 2)):
            websocket.send_frame(prompt("?", lang=language))
            await asyncio.sleep(wait)
    assert [(frame["lang"], frame["token"]) for _, frame in websocket.frames if not frame["last"]] == [
        ("es-ES", f"{PHRASES['es'].ack[0]}. "),
        ("es-ES", f"{PHRASES['es'].ack[1]}. "),
        ("en-US", f"{PHRASES['en'].ack[2]}. "),
    ]
    assert {frame["lang"] for _, frame in websocket.frames if frame["last"]} == {"es-ES", "en-US"}


async def test_prompt_after_end_call_is_ignored() -> None:
    agent = fake_agent("Good bye.", ToolCall("1", "end_call"))
    app, _ = make_call_server(agent, ack=SILENT, actions=build_call_tools(("end_call",)))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        websocket.send_frame(prompt("Wait!"))
        await asyncio.sleep(1)
    assert (len(websocket.frames), len(agent.turns)) == (2, 1)


async def test_retell_caller_may_interrupt_the_last_words() -> None:
    agent = fake_agent("Good bye.", ToolCall("1", "end_call"))
    app, _ = make_call_server(agent, ack=SILENT, actions=build_call_tools(("end_call",)))
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_frame(response_required(1, "Bye"))
        await asyncio.sleep(1)
        websocket.send_frame(response_required(2, "Bye", "Good", "Wait!"))
        await asyncio.sleep(1)
    assert [frame.get("end_call") for _, frame in websocket.frames[2:]] == [True, True]
    assert agent.turns[1].heard == "Good"


async def test_lost_turn_is_run_again_once_on_the_new_socket() -> None:
    agent = fake_agent(1, "Yes.")
    app, _ = make_call_server(agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.5)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(2)
    assert [text for _, text, _ in tokens(websocket)] == ["One moment. ", "Yes."]
    assert [[message.text for message in turn.messages] for turn in agent.turns] == [["Hello?"]] * 2


async def test_older_prompt_soon_after_a_reconnect_is_answered() -> None:
    agent = fake_agent("Yes.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        for words in ("One?", "Two?", "Three?"):
            websocket.send_frame(prompt(words))
            await asyncio.sleep(1)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("Two?"))
        websocket.send_frame({"type": "interrupt", "utteranceUntilInterrupt": ""})
        websocket.send_frame(prompt("Three?"))
        await asyncio.sleep(2)
        assert websocket.frames == []
        websocket.send_frame(prompt("One?"))
        await asyncio.sleep(1)
    assert tokens(websocket) == [(2.0, "Yes.", True)]
    assert [message.text for message in agent.turns[-1].messages][-2:] == ["Yes.", "One?"]


async def test_setup_of_another_call_on_the_same_socket_is_ignored() -> None:
    agent = fake_agent("Hi.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame({**SETUP, "from": "+1"})
        websocket.send_frame({**SETUP, "callSid": "CA2", "from": "+666"})
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
    assert agent.turns[0].extra["call"]["from"] == "+1"


async def test_pressed_digits_are_added_before_the_next_prompt() -> None:
    agent = fake_agent("Yes.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame({"type": "dtmf", "digit": "5"})
        websocket.send_frame(HELLO)
        await asyncio.sleep(3)
    assert len(agent.turns) == 1
    texts = [message.text for message in agent.turns[0].messages]
    assert texts == ["(The caller pressed 5 on the keypad.)", "Hello?"]


async def test_language_of_the_last_prompt_is_kept() -> None:
    agent = fake_agent(0.5, "Ja.")
    app, _ = make_call_server(agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("Hallo?", lang="de-DE"))
        await asyncio.sleep(1)
        websocket.send_frame({"type": "dtmf", "digit": "#"})
        await asyncio.sleep(1)
    assert [turn.language for turn in agent.turns] == ["de-DE", "de-DE"]


async def test_prompts_beyond_the_turn_rate_are_dropped() -> None:
    agent = fake_agent(1, "Yes.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        for number in range(100):
            websocket.send_frame(prompt(f"Question {number}?"))
        await asyncio.sleep(5)
    assert len(agent.turns) <= MAX_TURNS
    assert tokens(websocket)[-1] == (1.0, "Yes.", True)


async def test_interruption_cancels_the_speculative_run() -> None:
    agent = fake_agent(5, "Hi.")
    app, _ = make_call_server(agent, ack=SILENT, speculate=True)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(prompt("Hello", last=False))
        await asyncio.sleep(0.5)
        websocket.send_frame({"type": "interrupt", "utteranceUntilInterrupt": ""})
        await asyncio.sleep(1)
        assert agent.close_times == [0.5]


async def test_every_retell_request_gets_a_reply_also_with_a_shorter_transcript() -> None:
    agent = fake_agent("Yes.")
    app, _ = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/retell/call1") as websocket:
        websocket.send_frame(response_required(1, "A", "B", "C"))
        await asyncio.sleep(1)
        websocket.send_frame(response_required(2, "A"))
        await asyncio.sleep(1)
    assert [content for _, _, content, _ in responses(websocket)[1:]] == ["Yes.", "Yes."]
