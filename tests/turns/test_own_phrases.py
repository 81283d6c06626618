"""Our own words are taken out of the history, and never a word of the agent's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gateway import ask, gateway
from tests.support.script import script
from voicegw.events import Activity, Message, ToolCall
from voicegw.turns.own_phrases import OwnPhraseFilter
from voicegw.turns.phrases import PHRASES

ACKS = PHRASES["en"].ack
SORRY = PHRASES["en"].failed
OURS = OwnPhraseFilter(ACKS)
ALL = OwnPhraseFilter(ACKS, [SORRY, "Still working on it. "])


@pytest.mark.parametrize(
    ("sent", "left"),
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
def test_words_at_the_start_of_an_answer(sent: str, left: str) -> None:
    assert OURS.text(sent) == left


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (f"We are open until... {SORRY}", "We are open until... "),
        ("Let me look. Still working on it. Found it.", "Let me look. Found it."),
        ("I am still working on it all day.", "I am still working on it all day."),
        (SORRY, ""),
        (SORRY[:20], ""),
    ],
)
def test_words_that_we_know_we_said_are_found_anywhere(sent: str, left: str) -> None:
    assert ALL.text(sent) == left


@given(st.text())
def test_what_is_left_was_there_and_no_other_role_is_touched(text: str) -> None:
    assert all(character in text for character in ALL.text(text))
    for role in ("user", "system", "tool"):
        said = Message(role, f"One moment. {text}")  # type: ignore[arg-type]
        assert ALL.clean([said]) == (said,)


@given(st.text(st.characters(categories=["L", "N", "Zs"]), min_size=5).filter(str.strip))
def test_an_answer_behind_our_words_is_left_whole(answer: str) -> None:
    bare = OURS.text(answer)
    if bare == answer:
        assert OURS.text(f"One moment. {answer.lstrip()}") == answer.lstrip()


def test_a_message_that_was_ours_alone_disappears_unless_it_calls_a_tool() -> None:
    call = ToolCall("c", "f")
    history = [Message("assistant", "One moment. "), Message("assistant", "One moment. ", tool_calls=(call,))]
    assert OURS.clean(history) == (Message("assistant", "", tool_calls=(call,)),)


def turns(*answers: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hello?"}]
    for answer in answers:
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And?"}]
    return {"messages": messages}


async def test_the_agent_never_sees_what_we_said_and_we_still_vary_it() -> None:
    agent = script("We are open.")
    app = gateway(agent)
    first = await ask(app)
    second = await ask(app, turns(first.text))
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "We are open.", "And?"]
    assert (first.text, second.text) == ("One moment. We are open.", "Let me see. We are open.")


async def test_in_a_call_progress_and_apologies_are_remembered_and_removed() -> None:
    agent = script("Let me look.", Activity("bash"), 9.0, " Found", ValueError("x"))
    app = gateway(agent, desk={"ack": {"every": 8.0}})
    call = {"x-voicegw-call": "c1"}
    heard = (await ask(app, headers=call)).text
    assert heard == f"One moment. Let me look. Still working on it. Found... {SORRY}"
    await ask(app, turns(heard), headers=call, hang_up=0.5)
    await ask(app, turns(heard), hang_up=0.5)
    await asyncio.sleep(1)
    in_call, elsewhere = (turn.messages[1].text for turn in agent.turns[1:])
    assert in_call == "Let me look. Found... "
    assert elsewhere == heard.removeprefix("One moment. "), "others only lose what is surely ours"
