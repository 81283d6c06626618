"""The gateway's phrases are removed from histories, and no words of the agent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_agent import fake_agent
from tests.support.gateway import create_gateway, send_turn
from voicegw.events import Activity, Message, ToolCall
from voicegw.turns.own_phrases import OwnPhraseFilter
from voicegw.turns.phrases import PHRASES

ACKS = PHRASES["en"].ack
SORRY = PHRASES["en"].failure
ACK_FILTER = OwnPhraseFilter(ACKS)
CALL_FILTER = OwnPhraseFilter(ACKS, [SORRY, "Still working on it. "])


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("One moment. We are open.", "We are open."),
        ("One moment... We are open.", "We are open."),
        ("One moment...We are open.", "We are open."),
        ("  one  moment…  We are open.", "We are open."),
        ("Onemoment. We are open.", "We are open."),
        ("One moment. Let me check. We are open.", "We are open."),
        ("One moment", ""),
        ("One mom", ""),
        ("Let me", ""),
        ("", ""),
        ("We are open. One moment. Yes.", "We are open. One moment. Yes."),
        ("One moment of your time, please.", "One moment of your time, please."),
        ("One moment, I will look.", "One moment, I will look."),
        ("Let me see what I can do.", "Let me see what I can do."),
        ("One", "One"),
        ("On Monday.", "On Monday."),
    ],
)
def test_acknowledgement_is_removed_at_the_start_of_a_message(text: str, cleaned: str) -> None:
    assert ACK_FILTER.clean_text(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"We are open until... {SORRY}", "We are open until... "),
        ("Let me look. Still working on it. Found it.", "Let me look. Found it."),
        ("I am still working on it all day.", "I am still working on it all day."),
        (SORRY, ""),
        (SORRY[:20], ""),
    ],
)
def test_remembered_phrases_are_removed_anywhere(text: str, cleaned: str) -> None:
    assert CALL_FILTER.clean_text(text) == cleaned


@given(st.text())
def test_cleaning_adds_nothing_and_changes_assistant_messages_only(text: str) -> None:
    assert all(character in text for character in CALL_FILTER.clean_text(text))
    for role in ("user", "system", "tool"):
        message = Message(role, f"One moment. {text}")  # type: ignore[arg-type]
        assert CALL_FILTER.clean([message]) == (message,)


@given(st.text(st.characters(categories=["L", "N", "Zs"]), min_size=5).filter(str.strip))
def test_answer_after_an_acknowledgement_is_unchanged(answer: str) -> None:
    cleaned = ACK_FILTER.clean_text(answer)
    if cleaned == answer:
        assert ACK_FILTER.clean_text(f"One moment. {answer.lstrip()}") == answer.lstrip()


def test_message_of_phrases_only_is_left_out_unless_it_has_a_tool_call() -> None:
    call = ToolCall("c", "f")
    history = [Message("assistant", "One moment. "), Message("assistant", "One moment. ", tool_calls=(call,))]
    assert ACK_FILTER.clean(history) == (Message("assistant", "", tool_calls=(call,)),)


def turns(*answers: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hello?"}]
    for answer in answers:
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And?"}]
    return {"messages": messages}


async def test_agent_never_sees_acknowledgements_and_they_still_vary() -> None:
    agent = fake_agent("We are open.")
    app = create_gateway(agent)
    first = await send_turn(app)
    second = await send_turn(app, turns(first.text))
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "We are open.", "And?"]
    assert (first.text, second.text) == ("One moment. We are open.", "Let me see. We are open.")


async def test_progress_and_apologies_of_a_call_are_remembered_and_removed() -> None:
    agent = fake_agent("Let me look.", Activity("bash"), 9.0, " Found", ValueError("x"))
    app = create_gateway(agent, agent_section={"ack": {"every": 8.0}})
    call = {"x-voicegw-call": "c1"}
    reply = (await send_turn(app, headers=call)).text
    assert reply == f"One moment. Let me look. Still working on it. Found... {SORRY}"
    await send_turn(app, turns(reply), headers=call, hang_up=0.5)
    await send_turn(app, turns(reply), hang_up=0.5)
    await asyncio.sleep(1)
    in_call, elsewhere = (turn.messages[1].text for turn in agent.turns[1:])
    assert in_call == "Let me look. Found... "
    assert elsewhere == reply.removeprefix("One moment. "), "other calls lose acknowledgements only"
