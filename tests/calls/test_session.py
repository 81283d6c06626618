"""Calls on a websocket: what the caller hears, when it stops, and what the agent is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.gateway import floor
from tests.support.phone import Phone, dial
from tests.support.script import Script, script
from voicegw.calls import session as calls
from voicegw.calls.call_tools import call_tools
from voicegw.calls.session import CallSession
from voicegw.conversations.transcript import NOT_DONE
from voicegw.errors import AgentUnavailable
from voicegw.events import Activity, Message, ToolCall
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.prompts import SILENCE_PROMPT

SETUP = {"type": "setup", "callSid": "CA1"}
HELLO = {"type": "prompt", "voicePrompt": "Hello?", "last": True}
SILENT = AckPolicy(None)


def prompt(words: str, **more: Any) -> dict[str, Any]:
    return {**HELLO, "voicePrompt": words, **more}


def token(text: str, last: bool = False) -> dict[str, Any]:
    return {"type": "text", "token": text, "last": last}


def heard(phone: Phone) -> list[tuple[float, str, bool]]:
    return [(when, frame["token"], frame["last"]) for when, frame in phone.frames if frame["type"] == "text"]


async def test_the_first_words_leave_at_once_and_the_turn_ends_once() -> None:
    app, _ = floor(script(0.3, "Hello", 0.1, " there."))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert phone.frames == [
        (0.0, token("One moment. ")),
        (0.3, token("Hello")),
        (0.4, token(" there.", last=True)),
    ]


async def test_words_that_follow_others_closely_share_a_frame_but_the_first_waits_for_nobody() -> None:
    words = [step for word in "abcdef" for step in (f" {word}", 0.01)]
    app, _ = floor(script(0.1, *words), ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert heard(phone) == [
        (0.1, "a", False),
        (0.125, " b c", False),
        (0.15, " d e", False),
        (0.16, " f", True),
    ]


async def test_an_interruption_stops_the_words_and_the_agent_and_is_remembered() -> None:
    agent = script(0.2, "We are open", 0.2, " from nine", 0.2, " to five.")
    app, _ = floor(agent)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(0.5)
        phone.says(
            {
                "type": "interrupt",
                "utteranceUntilInterrupt": "One moment. We are",
                "durationUntilInterruptMs": "460",
            }
        )
        await asyncio.sleep(1)
        phone.says(prompt("Sorry?"))
        await asyncio.sleep(0.1)
    assert heard(phone)[:4] == [
        (0.0, "One moment. ", False),
        (0.2, "We are open", False),
        (0.4, " from nine", False),
        (0.5, "", True),
    ]
    assert agent.closed[0] == 0.5
    second = agent.turns[1]
    assert [message.text for message in second.messages] == ["Hello?", "We are", "Sorry?"]
    assert second.heard == "We are"


async def test_an_interruption_after_the_last_word_still_counts() -> None:
    agent = script("We are open from nine to five.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
        phone.says({"type": "interrupt", "utteranceUntilInterrupt": ""})
        phone.says(prompt("Sorry?"))
        await asyncio.sleep(0.1)
    assert heard(phone)[0] == (0.0, "We are open from nine to five.", True)
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "Sorry?"]
    assert agent.turns[1].heard == ""


async def test_a_new_prompt_supersedes_what_is_being_said() -> None:
    agent = script(0.2, "One", 0.2, " two", 0.2, " three.")
    app, board = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(0.3)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert heard(phone) == [
        (0.2, "One", False),
        (0.3, "", True),
        (0.5, "One", False),
        (0.7, " two", False),
        (0.9, " three.", True),
    ]
    assert agent.closed == [0.3, 0.9]
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "One", "Hello?"]
    assert not board.runs


async def test_nothing_is_sent_to_end_a_turn_of_which_nothing_was_heard() -> None:
    app, _ = floor(script(1, "Late."), ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(0.5)
        phone.says({"type": "interrupt"})
        await asyncio.sleep(1)
    assert phone.frames == []


async def test_words_that_may_still_change_are_not_answered() -> None:
    agent = script("Hi.")
    app, _ = floor(agent)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("Hel", last=False))
        await asyncio.sleep(1)
    assert (phone.frames, agent.turns) == ([], [])


@pytest.mark.parametrize(
    ("final", "turns", "first"), [("Hello?", 1, 0.5), ("Hello there?", 2, 0.8)], ids=["same", "other"]
)
async def test_an_agent_may_be_asked_before_the_caller_is_done(final: str, turns: int, first: float) -> None:
    agent = script(0.3, "Hi.")
    app, _ = floor(agent, ack=SILENT, speculate=True)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt(" ", last=False))
        phone.says(prompt("Hello?", last=False))
        await asyncio.sleep(0.5)
        phone.says(prompt(final))
        await asyncio.sleep(1)
    assert len(agent.turns) == turns
    assert heard(phone) == [(first, "Hi.", True)]


async def test_a_guess_goes_with_its_call() -> None:
    agent = script(1, "Hi.")
    app, board = floor(agent, speculate=True)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("Hello?", last=False))
        await asyncio.sleep(0.5)
    await asyncio.sleep(0)
    assert agent.closed == [0.5]
    assert not board.runs


async def test_digits_are_one_turn_together() -> None:
    agent = script("Thank you.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        for digit in "12":
            phone.says({"type": "dtmf", "digit": digit})
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        for digit in "3#":
            phone.says({"type": "dtmf", "digit": digit})
        await asyncio.sleep(1)
        phone.says({"type": "dtmf", "digit": "9"})
    assert [when for when, *_ in heard(phone)] == [2.5, 3.0]
    assert [(turn.kind, turn.messages[-1].text) for turn in agent.turns] == [
        ("keypad", "(The caller pressed 12 on the keypad.)"),
        ("keypad", "(The caller pressed 3# on the keypad.)"),
    ]


async def test_a_call_that_comes_back_goes_on_and_repeats_nothing() -> None:
    agent = script("Yes.")
    app, _ = floor(agent, ack=SILENT, greeting="Good morning.")
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("One?"))
        await asyncio.sleep(1)
        phone.says(prompt("Two?"))
        await asyncio.sleep(1)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("One?"))
        phone.says(prompt("Two?"))
        await asyncio.sleep(1)
        assert phone.frames == []
        phone.says(prompt("Two?"))
        await asyncio.sleep(1)
        assert heard(phone) == [(1.0, "Yes.", True)]
    said = ["Good morning.", "One?", "Yes.", "Two?", "Yes.", "Two?"]
    assert [message.text for message in agent.turns[-1].messages] == said
    assert agent.warmed == 1


async def test_a_prompt_whose_answer_was_lost_is_answered_when_it_is_repeated() -> None:
    agent = script(1, "Yes.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("One?"))
        await asyncio.sleep(0.5)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("One?"))
        await asyncio.sleep(2)
    assert heard(phone) == [(1.0, "Yes.", True)]
    assert [message.text for message in agent.turns[1].messages] == ["One?"]


async def test_long_after_a_reconnect_the_same_words_are_meant() -> None:
    agent = script("Yes.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        await asyncio.sleep(6)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert heard(phone) == [(6.0, "Yes.", True)]


async def test_what_comes_before_the_setup_is_nobodys() -> None:
    agent = script("Hi.")
    app, _ = floor(agent)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert (phone.frames, agent.turns) == ([], [])


@pytest.mark.parametrize(
    "frame", ["{", "[]", b"\0\1", {"type": "new"}, {"type": "prompt"}, {"type": "error"}]
)
async def test_nonsense_is_survived(frame: Any) -> None:
    app, _ = floor(script("Hi."), ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(frame)
        phone.says(HELLO)
        await asyncio.sleep(1)
        assert phone.code is None
    assert heard(phone) == [(0.0, "Hi.", True)]


async def test_a_failure_is_a_sentence_and_the_call_goes_on() -> None:
    app, _ = floor(script(0.5, AgentUnavailable("down")))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
        assert phone.code is None
    apology = "Sorry, something went wrong. Could you say that again?"
    assert heard(phone) == [(0.0, "One moment. ", False), (0.5, apology, True)]


async def test_an_agent_that_takes_too_long_is_given_up_with_a_sentence() -> None:
    app, _ = floor(script(60, "Late."), ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(10)
    assert heard(phone) == [(5.0, "Sorry, something went wrong. Could you say that again?", True)]


async def test_too_many_turns_are_told() -> None:
    agent = script("Hi.")
    app, _ = floor(agent, turns=1)
    async with dial(app, "/twilio/relay") as one, dial(app, "/retell/2") as two:
        one.says(SETUP)
        agent.steps = (1, "Hi.")
        one.says(HELLO)
        await asyncio.sleep(0)
        two.says({"interaction_type": "response_required", "response_id": 1, "transcript": []})
        await asyncio.sleep(0.5)
        [_, _, (when, frame)] = two.frames
    assert (when, frame["content_complete"]) == (0.0, True)
    assert frame["content"] == "Sorry, we are very busy right now. Please try again in a moment."


async def test_while_the_gateway_ends_callers_are_told_and_sent_elsewhere() -> None:
    app, board = floor(script(1, "Hi."), ack=SILENT)
    async with dial(app, "/twilio/relay") as going, dial(app, "/retell/2") as new:
        going.says(SETUP)
        going.says(HELLO)
        await asyncio.sleep(0.5)
        board.drain()
        new.says({"interaction_type": "response_required", "response_id": 1, "transcript": []})
        await asyncio.sleep(1)
    assert heard(going) == [(1.0, "Hi.", True)]
    assert (going.code, new.code) == (None, 1012), "what was said last may still be playing"
    assert new.frames[-1][1]["content"] == "Sorry, I have to stop here. Please try again in a minute."


async def test_hanging_up_on_a_call_lets_its_sentence_end() -> None:
    app, board = floor(script(1, "Hi."), ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(0.5)
        board.drain()
        app.close_all()
        board.stop_all()
        await asyncio.sleep(1)
    assert heard(phone) == [(0.5, "Sorry, I have to stop here. Please try again in a minute.", True)]
    assert phone.code == 1012


async def test_progress_is_told_while_the_agent_works() -> None:
    app, _ = floor(script(Activity("search"), 5, "Done."), ack=AckPolicy(None, every=2.0))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(6)
    assert [(when, text) for when, text, _ in heard(phone)] == [
        (2.0, "Still working on it. "),
        (4.0, "Just a little longer. "),
        (5.0, "Done."),
    ]


async def test_an_agent_hangs_up_after_its_farewell() -> None:
    agent = script("Good bye.", ToolCall("1", "end_call", '{"reason": "done"}'))
    app, board = floor(agent, ack=SILENT, actions=call_tools(("end_call",)))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert heard(phone) == [(0.0, "Good bye.", True)]
    assert [frame["type"] for _, frame in phone.frames] == ["text", "end"]
    assert [tool.name for tool in agent.turns[0].tools] == ["end_call"]
    assert len(board.calls) == 0


async def test_what_was_not_offered_is_not_done() -> None:
    app, _ = floor(script("Hm.", ToolCall("1", "end_call")), ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert [frame["type"] for _, frame in phone.frames] == ["text"]


async def test_an_agent_that_only_acted_is_asked_to_go_on() -> None:
    class Presser(Script):
        async def reply(self, turn: Any) -> Any:
            self.turns.append(turn)
            yield ToolCall("1", "send_digits", '{"digits": "5"}') if len(self.turns) == 1 else "Sales, then."

    agent = Presser()
    app, _ = floor(agent, ack=SILENT, actions=call_tools(("send_digits",)))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert [frame.get("digits", frame.get("token")) for _, frame in phone.frames] == ["5", "Sales, then."]
    assert [message.role for message in agent.turns[1].messages] == ["user", "assistant", "tool"]


async def test_an_agent_that_never_says_anything_is_not_asked_for_ever() -> None:
    agent = script(ToolCall("1", "send_digits", '{"digits": "5"}'))
    app, _ = floor(agent, ack=SILENT, actions=call_tools(("send_digits",)))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert len(agent.turns) == 2, "it is asked once more, and does nothing new"
    assert [frame["type"] for _, frame in phone.frames] == ["sendDigits"]


async def test_an_agent_that_only_acts_is_not_asked_for_ever() -> None:
    class Presser(Script):
        async def reply(self, turn: Any) -> Any:
            self.turns.append(turn)
            yield ToolCall("1", "send_digits", json.dumps({"digits": str(len(self.turns))}))

    agent = Presser()
    app, _ = floor(agent, ack=SILENT, actions=call_tools(("send_digits",)))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert len(agent.turns) == 1 + calls.MAX_TOOL_ROUNDS


async def test_what_cannot_be_done_is_told_to_the_agent() -> None:
    agent = script("I put you through.", ToolCall("1", "transfer_call", '{"number": "0800 123"}'))
    app, _ = floor(agent, ack=SILENT, actions=call_tools(("transfer_call",)))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
        phone.says(prompt("And?"))
        await asyncio.sleep(1)
    assert agent.turns[1].messages[2] == Message("tool", NOT_DONE, tool_call_id="1", name="transfer_call")


# Retell


def required(number: int, *said: str, kind: str = "response_required") -> dict[str, Any]:
    roles = ("user", "agent")
    transcript = [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]
    return {"interaction_type": kind, "response_id": number, "transcript": transcript}


def answers(phone: Phone) -> list[tuple[float, int, str, bool]]:
    return [
        (when, frame["response_id"], frame["content"], frame["content_complete"])
        for when, frame in phone.frames
        if frame["response_type"] == "response"
    ]


async def test_retell_is_greeted_and_answered_under_the_number_it_asked_for() -> None:
    app, _ = floor(script(0.3, "Hello."), greeting="Good morning.")
    async with dial(app, "/retell/call1") as phone:
        phone.says(required(1, "Hi"))
        await asyncio.sleep(1)
    assert phone.frames[0][1]["response_type"] == "config"
    assert answers(phone) == [
        (0.0, 0, "Good morning.", True),
        (0.0, 1, "One moment. ", False),
        (0.3, 1, "Hello.", True),
    ]


async def test_a_newer_question_of_retells_leaves_the_older_one_without_a_word() -> None:
    agent = script(0.2, "One", 0.2, " two.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/retell/call1") as phone:
        phone.says(required(1, "Hi"))
        await asyncio.sleep(0.3)
        phone.says({"interaction_type": "update_only", "transcript": []})
        phone.says(required(2, "Hi there"))
        await asyncio.sleep(1)
    assert answers(phone)[1:] == [(0.2, 1, "One", False), (0.5, 2, "One", False), (0.7, 2, " two.", True)]
    assert agent.closed == [0.3, 0.7]


async def test_an_update_changes_nothing_while_we_speak() -> None:
    app, _ = floor(script(0.2, "One", 0.2, " two."), ack=SILENT)
    async with dial(app, "/retell/call1") as phone:
        phone.says(required(1, "Hi"))
        await asyncio.sleep(0.3)
        phone.says({"interaction_type": "update_only", "transcript": [{"role": "user", "content": "Hi"}]})
        await asyncio.sleep(1)
    assert answers(phone)[1:] == [(0.2, 1, "One", False), (0.4, 1, " two.", True)]


async def test_a_ping_is_answered_whatever_the_agent_does() -> None:
    app, _ = floor(script(3, "Hello."))
    async with dial(app, "/retell/call1") as phone:
        phone.says(required(1, "Hi"))
        await asyncio.sleep(1)
        phone.says({"interaction_type": "ping_pong", "timestamp": 7})
        await asyncio.sleep(1)
    assert phone.frames[-1] == (1.0, {"response_type": "ping_pong", "timestamp": 7})


async def test_a_silent_caller_is_brought_back() -> None:
    agent = script("Are you there?")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/retell/call1") as phone:
        phone.says(required(1, "Hi", "Hello.", kind="reminder_required"))
        await asyncio.sleep(1)
    [turn] = agent.turns
    assert (turn.kind, turn.messages[-1]) == ("reminder", Message("user", SILENCE_PROMPT))
    assert answers(phone)[1:] == [(0.0, 1, "Are you there?", True)]


async def test_retells_transcript_tells_what_was_heard() -> None:
    agent = script("We are open from nine to five.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/retell/call1") as phone:
        phone.says(required(1, "Hi"))
        await asyncio.sleep(1)
        phone.says({**required(0, "Hi", "We are open"), "interaction_type": "update_only"})
        phone.says(required(2, "Hi", "We are open", "What?"))
        await asyncio.sleep(1)
    assert [turn.heard for turn in agent.turns] == [None, "We are open"]
    assert [message.text for message in agent.turns[1].messages] == ["Hi", "We are open", "What?"]


async def test_retell_reconnects_without_a_second_greeting() -> None:
    app, _ = floor(script("Hello."), ack=SILENT, greeting="Good morning.")
    for greeted in (True, False):
        async with dial(app, "/retell/call1") as phone:
            await asyncio.sleep(1)
        assert phone.frames[0][1]["response_type"] == "config"
        assert (len(phone.frames) == 2) is greeted


async def test_frames_keep_their_order_when_the_platform_reads_slowly() -> None:
    words = [step for word in "abcde" for step in (f" {word}", 0.1)]
    app, _ = floor(script(*words), ack=SILENT)
    async with dial(app, "/retell/call1") as phone:
        phone.slow = asyncio.Event()
        phone.says(required(1, "Hi"))
        await asyncio.sleep(2)
        phone.slow.set()
        await asyncio.sleep(1)
    assert [content for _, _, content, _ in answers(phone)] == ["", "a b c d e"]


async def test_a_mistake_of_ours_ends_the_call_and_not_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: CallSession, *_: Any) -> None:
        raise ValueError("a mistake")

    app, _ = floor(script("Hi."))
    monkeypatch.setattr(CallSession, "_asked", broken)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
        assert phone.code == 1011


async def test_nothing_is_said_after_the_end_of_a_call() -> None:
    agent = script("Good bye.", ToolCall("1", "end_call"))
    app, _ = floor(agent, ack=SILENT, actions=call_tools(("end_call",)))
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
        phone.says(prompt("Wait!"))
        await asyncio.sleep(1)
    assert (len(phone.frames), len(agent.turns)) == (2, 1)


async def test_retells_caller_may_still_interrupt_a_farewell() -> None:
    agent = script("Good bye.", ToolCall("1", "end_call"))
    app, _ = floor(agent, ack=SILENT, actions=call_tools(("end_call",)))
    async with dial(app, "/retell/call1") as phone:
        phone.says(required(1, "Bye"))
        await asyncio.sleep(1)
        phone.says(required(2, "Bye", "Good", "Wait!"))
        await asyncio.sleep(1)
    assert [frame.get("end_call") for _, frame in phone.frames[2:]] == [True, True]
    assert agent.turns[1].heard == "Good"


async def test_a_question_whose_answer_was_lost_is_answered_on_the_new_socket() -> None:
    agent = script(1, "Yes.")
    app, _ = floor(agent)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(0.5)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(2)
    assert [text for _, text, _ in heard(phone)] == ["One moment. ", "Yes."]
    assert [[message.text for message in turn.messages] for turn in agent.turns] == [["Hello?"]] * 2


async def test_soon_after_a_reconnect_people_may_say_what_they_said_before() -> None:
    agent = script("Yes.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        for words in ("One?", "Two?", "Three?"):
            phone.says(prompt(words))
            await asyncio.sleep(1)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("Two?"))
        phone.says({"type": "interrupt", "utteranceUntilInterrupt": ""})
        phone.says(prompt("Three?"))
        await asyncio.sleep(2)
        assert phone.frames == []
        phone.says(prompt("One?"))
        await asyncio.sleep(1)
    assert heard(phone) == [(2.0, "Yes.", True)]
    assert [message.text for message in agent.turns[-1].messages][-2:] == ["Yes.", "One?"]


async def test_another_call_on_the_same_socket_is_ignored() -> None:
    agent = script("Hi.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says({**SETUP, "from": "+1"})
        phone.says({**SETUP, "callSid": "CA2", "from": "+666"})
        phone.says(HELLO)
        await asyncio.sleep(1)
    assert agent.turns[0].extra["call"]["from"] == "+1"


async def test_pressed_keys_are_taken_with_the_words_that_follow() -> None:
    agent = script("Yes.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says({"type": "dtmf", "digit": "5"})
        phone.says(HELLO)
        await asyncio.sleep(3)
    assert len(agent.turns) == 1
    texts = [message.text for message in agent.turns[0].messages]
    assert texts == ["(The caller pressed 5 on the keypad.)", "Hello?"]


async def test_a_call_goes_on_in_the_language_it_came_to() -> None:
    agent = script(0.5, "Ja.")
    app, _ = floor(agent)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("Hallo?", lang="de-DE"))
        await asyncio.sleep(1)
        phone.says({"type": "dtmf", "digit": "#"})
        await asyncio.sleep(1)
    assert [turn.language for turn in agent.turns] == ["de-DE", "de-DE"]


async def test_a_flood_of_questions_is_no_callers() -> None:
    agent = script(1, "Yes.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        for number in range(100):
            phone.says(prompt(f"Question {number}?"))
        await asyncio.sleep(5)
    assert len(agent.turns) <= calls.MAX_TURNS
    assert heard(phone)[-1] == (1.0, "Yes.", True)


async def test_a_guess_ends_when_the_caller_interrupts() -> None:
    agent = script(5, "Hi.")
    app, _ = floor(agent, ack=SILENT, speculate=True)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(prompt("Hello", last=False))
        await asyncio.sleep(0.5)
        phone.says({"type": "interrupt", "utteranceUntilInterrupt": ""})
        await asyncio.sleep(1)
        assert agent.closed == [0.5]


async def test_retell_gets_an_answer_for_whatever_transcript_it_sends() -> None:
    agent = script("Yes.")
    app, _ = floor(agent, ack=SILENT)
    async with dial(app, "/retell/call1") as phone:
        phone.says(required(1, "A", "B", "C"))
        await asyncio.sleep(1)
        phone.says(required(2, "A"))
        await asyncio.sleep(1)
    assert [content for _, _, content, _ in answers(phone)[1:]] == ["Yes.", "Yes."]
