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
from voicegw.turns.own_phrases import (
    OwnPhrase,
    find_own_phrases,
    letters_of,
    without_acknowledgements,
    without_own_phrases,
)
from voicegw.turns.phrases import PHRASES

ACKS = PHRASES["en"].ack
SORRY = PHRASES["en"].failure
Q = "When do you open?"
CALL = {"x-voicegw-call": "c1"}


def replies(*texts: str, question: str = Q) -> list[Message]:
    """Return a conversation in which the same words of the caller get these answers."""
    return [message for text in texts for message in (Message("user", question), Message("assistant", text))]


def cleaned(phrases: list[OwnPhrase], *texts: str, question: str = Q) -> list[str]:
    """Return the answers that are left of these."""
    messages = without_own_phrases(replies(*texts, question=question), phrases)
    return [message.text for message in messages if message.role == "assistant"]


# Requests without a call


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("One moment. We are open.", "We are open."),
        ("One moment... We are open.", "We are open."),
        ("One moment...We are open.", "We are open."),
        ("  one  moment…  We are open.", "We are open."),
        ("Onemoment. We are open.", "We are open."),
        ("One moment. Let me check. We are open.", "Let me check. We are open."),
        ('One moment. "Yes."', '"Yes."'),
        ("One moment.", "One moment."),
        ("One moment... -", "One moment... -"),
        ("One mom", "One mom"),
        ("", ""),
        ("We are open. One moment. Yes.", "We are open. One moment. Yes."),
        ("One moment of your time, please.", "One moment of your time, please."),
        ("One moment, I will look.", "One moment, I will look."),
        ("One moment I will look.", "One moment I will look."),
    ],
)
def test_acknowledgement_is_removed_at_the_start_and_before_other_words(text: str, left: str) -> None:
    assert without_acknowledgements([Message("assistant", text)], ACKS) == (Message("assistant", left),)


@pytest.mark.parametrize("phrases", [(), ("...", " ")])
def test_without_phrases_nothing_is_removed(phrases: tuple[str, ...]) -> None:
    history = tuple(replies("One moment. Yes.", "... Yes."))
    assert without_acknowledgements(history, phrases) == history
    assert without_own_phrases(history, find_own_phrases([(text, True) for text in phrases], Q)) == history


# Calls, where the gateway knows what it said

SPOKEN = [
    ("One moment. ", True),
    ("Let me look.", False),
    ("Still working on it. ", True),
    ("We are open until", False),
    (SORRY, True),
]


@pytest.mark.parametrize(
    ("heard", "left"),
    [
        (f"One moment. Let me look. Still working on it. We are open until... {SORRY}", None),
        (f"One moment… Let me look.  still working on it.We are open until... {SORRY}", None),
        (f"one moment Let me look Still working on it We are open until {SORRY}", None),
        (f"Let me look. Still working on it. We are open until... {SORRY}", None),
        ("One moment. Let me look. Still working on it. We are", "Let me look. We are"),
        ("One moment. Let me look. Still wor", "Let me look. "),
        ("One moment. Let me look. Still wor-", "Let me look. "),
        ("One moment. Let", "Let"),
        ("One moment.", ""),
        ("One mom", ""),
        ("O", ""),
        ("Let me look.", "Let me look."),
        ("One moment of your time. Let me look.", "One moment of your time. Let me look."),
        ("Still working on it all day.", "Still working on it all day."),
        ("We are open. One moment.", "We are open. One moment."),
        (f"Yes. {SORRY}", f"Yes. {SORRY}"),
    ],
)
def test_phrases_of_a_call_are_removed_where_they_were_said(heard: str, left: str | None) -> None:
    [answer] = cleaned(find_own_phrases(SPOKEN, Q), heard) or [""]
    whole = "Let me look. We are open until... "
    assert letters_of(answer) == letters_of(whole if left is None else left)
    assert left is None or answer == left


@pytest.mark.parametrize(
    ("texts", "left"),
    [
        (["One moment. One moment. I will look."], ["One moment. I will look."]),
        (
            ["One moment.", "One moment. One moment. I will look."],
            ["One moment.", "One moment. I will look."],
        ),
        (["One moment. One moment. I will", "One moment."], ["One moment. I will", "One moment."]),
        (["One moment. I will look up your order."], ["One moment. I will look up your order."]),
    ],
)
def test_the_agents_own_words_stay_although_they_are_the_gateways_phrase(
    texts: list[str], left: list[str]
) -> None:
    spoken = [("One moment. ", True), ("One moment. I will look.", False)]
    assert cleaned(find_own_phrases(spoken, Q), *texts) == left


def test_phrase_is_found_by_the_words_around_it_when_the_platform_changed_the_question() -> None:
    phrases = find_own_phrases([("One moment. ", True), ("We are open until five.", False)], "When?")
    assert cleaned(phrases, "One moment. We are open until five.") == ["We are open until five."]
    assert cleaned(phrases, "One moment. We are") == ["One moment. We are"], "too few words to be sure"
    assert cleaned(phrases, "Hello. One moment. We are open until five. Yes?") == [
        "Hello. We are open until five. Yes?"
    ], "the platform joined two replies"


def test_each_phrase_is_removed_once() -> None:
    phrases = find_own_phrases([("One moment. ", True), ("Yes.", False)], Q)
    assert cleaned(phrases, "One moment. Yes.", "One moment. Yes.") == ["Yes.", "One moment. Yes."]
    assert cleaned(phrases * 2, "One moment. Yes.", "One moment. Yes.") == ["Yes.", "Yes."]


def test_marks_on_the_last_letter_belong_to_the_phrase() -> None:
    phrases = find_own_phrases([("रुको जी। ", True), ("हाँ।", False)], Q)
    assert cleaned(phrases, "रुको जी। हाँ।") == ["हाँ।"]
    phrases = find_own_phrases([("Ein Stoß. ", True), ("Ja.", False)], Q)
    assert cleaned(phrases, "Ein Stoß. Ja.") == ["Ja."]
    assert cleaned(phrases, "EIN STOSS! Ja.") == ["Ja."]


def test_messages_of_phrases_only_are_left_out_unless_they_have_a_tool_call() -> None:
    call = ToolCall("c", "f")
    phrases = find_own_phrases([("One moment. ", True)], Q)
    question = Message("user", Q)
    assert without_own_phrases([question, Message("assistant", "One moment.")], phrases) == (question,)
    calling = Message("assistant", "One moment.", tool_calls=(call,))
    assert without_own_phrases([calling, question, calling], phrases) == (
        calling,
        question,
        Message("assistant", "", tool_calls=(call,)),
    )
    shown = Message("assistant", "One moment.", parts=({"type": "image_url"},))
    assert without_own_phrases([question, shown], phrases) == (question, shown)


PIECES = st.lists(
    st.tuples(
        st.sampled_from(["One moment. ", "Let me look. ", "Yes. ", "No, we are closed. "]), st.booleans()
    ),
    max_size=5,
)


@given(st.lists(PIECES, min_size=1, max_size=4), st.data())
def test_the_agent_sees_exactly_its_own_words(
    turns: list[list[tuple[str, bool]]], data: st.DataObject
) -> None:
    """Every reply comes back as it was said, and the last one cut off at any letter."""
    phrases, history, expected = [], [], []
    for number, pieces in enumerate(turns):
        question = f"Question {number}?"
        phrases += find_own_phrases(pieces, question)
        whole = "".join(text for text, _ in pieces)
        is_last = number == len(turns) - 1
        length = data.draw(st.integers(0, len(whole))) if is_last else len(whole)
        history += [Message("user", question), Message("assistant", whole[:length])]
        agents = "".join(text if not is_own else " " * len(text) for text, is_own in pieces)
        expected.append(letters_of(agents[:length]))
    messages = without_own_phrases(history, phrases)
    answers = {message.text: "" for message in messages if message.role == "user"}
    for index, message in enumerate(messages):
        if message.role == "assistant":
            answers[messages[index - 1].text] = letters_of(message.text)
    assert [*answers.values()] == expected


@given(st.text())
def test_cleaning_adds_nothing_and_changes_assistant_messages_only(text: str) -> None:
    phrases = find_own_phrases([("One moment. ", True), (text, False)], text)
    for role in ("user", "system", "tool"):
        message = Message(role, f"One moment. {text}")  # type: ignore[arg-type]
        assert without_own_phrases([message], phrases) == (message,)
        assert without_acknowledgements([message], ACKS) == (message,)
    [answer] = without_own_phrases([Message("assistant", f"{text} One moment.")], phrases) or [
        Message("user")
    ]
    assert f"{text} One moment.".endswith(answer.text) or answer.text in f"{text} One moment."


# Through the API


def turns(*answers: str, question: str = "And?") -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hello?"}]
    for answer in answers:
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": question}]
    return {"messages": messages}


@pytest.mark.parametrize("headers", [{}, CALL])
async def test_agent_never_sees_acknowledgements_and_they_still_vary(headers: dict[str, str]) -> None:
    agent = fake_agent("We are open.")
    app = create_gateway(agent)
    first = await send_turn(app, headers=headers)
    second = await send_turn(app, turns(first.text), headers=headers)
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "We are open.", "And?"]
    assert (first.text, second.text) == ("One moment. We are open.", "Let me see. We are open.")


async def test_progress_and_apologies_of_a_call_are_remembered_and_removed() -> None:
    agent = fake_agent("Let me look.", Activity("bash"), 9.0, " Found", ValueError("x"))
    app = create_gateway(agent, agent_section={"ack": {"every": 8.0}})
    reply = (await send_turn(app, headers=CALL)).text
    assert reply == f"One moment. Let me look. Still working on it. Found... {SORRY}"
    await send_turn(app, turns(reply), headers=CALL, hang_up=0.5)
    await send_turn(app, turns(reply), hang_up=0.5)
    await asyncio.sleep(1)
    in_call, elsewhere = (turn.messages[1].text for turn in agent.turns[1:])
    assert in_call == "Let me look. Found... "
    assert elsewhere == reply.removeprefix("One moment. "), "other calls lose acknowledgements only"


async def test_agent_of_a_call_sees_its_own_acknowledgements() -> None:
    """The agent is quicker than the gateway's phrase, and says the same words itself."""
    agent = fake_agent("One moment. I will look.")
    app = create_gateway(agent, agent_section={"ack": {"after": 0.5}})
    reply = (await send_turn(app, headers=CALL)).text
    await send_turn(app, turns(reply), headers=CALL)
    assert reply == agent.turns[1].messages[1].text == "One moment. I will look."


@pytest.mark.parametrize("headers", [{}, CALL])
async def test_chat_clients_keep_every_word_of_the_agent(headers: dict[str, str]) -> None:
    agent = fake_agent("Yes.")
    app = create_gateway(agent, agent_section={"dialect": "chat"})
    await send_turn(app, turns("One moment. I will look."), headers=headers)
    assert agent.turns[0].messages[1].text == "One moment. I will look."


async def test_acknowledgement_that_the_caller_interrupted_is_removed_in_a_call_only() -> None:
    agent = fake_agent(5.0, "We are open.")
    app = create_gateway(agent)
    for headers in ({}, CALL):
        await send_turn(app, headers=headers, hang_up=0.5)
        await send_turn(app, turns("One mom", question="On Sunday?"), headers=headers, hang_up=0.5)
    without_call, in_call = (turn.messages[1:] for turn in (agent.turns[1], agent.turns[3]))
    assert [message.text for message in without_call] == ["One mom", "On Sunday?"]
    assert [message.text for message in in_call] == ["On Sunday?"]
