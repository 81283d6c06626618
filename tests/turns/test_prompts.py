"""Prompts of a session, for an agent that keeps the conversation itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.session_prompt import (
    HISTORY_NOTE,
    UNHEARD_NOTE,
    history_summary,
    interruption_note,
    join_paragraphs,
    new_user_messages,
    system_prompt,
    user_message_count,
)
from voicegw.events import Message, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

RULES = Message("system", "Be kind.")
HELLO, HI = Message("user", "Hello?"), Message("assistant", "Hi!")
WHEN, WHERE = Message("user", "When?"), Message("user", "Where?")
BLANK = Message("user", " \n")
PICTURE = Message("user", parts=({"type": "image_url", "image_url": {"url": "x"}},))

roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
texts = st.text('a \n{}%"', max_size=5)
messages = st.lists(st.builds(Message, roles, texts), max_size=8)


def test_the_instructions_are_all_of_them_in_order() -> None:
    more = (RULES, HELLO, Message("developer", "Be brief."), Message("system"), Message("system", " \n"))
    assert system_prompt(Turn("t", more)) == "Be kind.\n\nBe brief."
    assert system_prompt(Turn("t", (HELLO,))) == ""


@pytest.mark.parametrize(
    ("said", "known", "new"),
    [
        ((HELLO,), 0, (HELLO,)),
        ((RULES, HELLO, HI, WHEN), 1, (WHEN,)),
        ((HELLO, HI, WHEN, WHERE), 1, (WHEN, WHERE)),
        ((HELLO, HI, WHEN, WHERE), 0, (HELLO, WHEN, WHERE)),
        ((HELLO, HI, PICTURE), 1, (PICTURE,)),
    ],
)
def test_what_the_caller_said_since_is_new(
    said: tuple[Message, ...], known: int, new: tuple[Message, ...]
) -> None:
    assert new_user_messages(said, known) == new


@pytest.mark.parametrize(
    "said",
    [
        (HELLO, HI, WHEN),
        (HELLO, HI, WHEN, RULES),
        (HELLO, HI, WHEN, BLANK),
        (HELLO, HI, WHEN, Message("assistant", " ")),
        (HI, WHEN),
    ],
)
def test_words_that_were_not_answered_count_again(said: tuple[Message, ...]) -> None:
    assert new_user_messages(said, user_message_count(said)) == (WHEN,)
    assert new_user_messages(said, 99) == (WHEN,)


@pytest.mark.parametrize("said", [(HELLO, HI), (HELLO, HI, RULES), (HELLO, HI, BLANK)])
def test_a_caller_who_is_silent_after_an_answer_is_brought_back(said: tuple[Message, ...]) -> None:
    assert new_user_messages(said, 1) == (Message("user", SILENCE_PROMPT),)


@pytest.mark.parametrize("said", [(), (RULES,), (HI,), (BLANK,), (RULES, HI, BLANK)])
def test_a_call_in_which_the_caller_said_nothing_has_just_begun(said: tuple[Message, ...]) -> None:
    assert new_user_messages(said, 0) == (Message("user", CALL_START_PROMPT),)


def test_blank_words_were_never_said() -> None:
    assert user_message_count((RULES, HELLO, HI, BLANK, PICTURE, WHEN)) == 3


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        (None, ""),
        ("", UNHEARD_NOTE),
        (" \n", UNHEARD_NOTE),
        (
            "Well, {heard}\n I ",
            '(The caller interrupted you: of your last answer they heard only "Well, {heard} I".)',
        ),
    ],
)
def test_what_was_heard_of_an_answer_is_noted_if_it_was_not_all(heard: str | None, words: str) -> None:
    assert interruption_note(heard) == words


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ((HELLO, HI, WHEN), "Caller: Hello?\nYou: Hi!"),
        ((HELLO, HI), "Caller: Hello?\nYou: Hi!"),
        ((RULES, HELLO, HI, WHEN, RULES), "Caller: Hello?\nYou: Hi!"),
        ((HELLO, WHEN, BLANK), "Caller: Hello?"),
        ((HELLO, HI, PICTURE), "Caller: Hello?\nYou: Hi!"),
        ((PICTURE, HI, WHEN), "You: Hi!"),
        ((Message("user", " a {lines}\n b "), HI), "Caller: a {lines} b\nYou: Hi!"),
    ],
)
def test_the_conversation_before_has_a_line_for_everything_but_what_is_new(
    said: tuple[Message, ...], lines: str
) -> None:
    assert history_summary(said) == f"(The conversation so far, which you do not need to answer:\n{lines}\n)"


@pytest.mark.parametrize("said", [(), (RULES,), (HELLO,), (RULES, HELLO, BLANK), (PICTURE, WHEN)])
def test_a_conversation_without_anything_before_has_no_before(said: tuple[Message, ...]) -> None:
    assert history_summary(said) == ""


def test_texts_are_joined_as_paragraphs_without_blank_ones() -> None:
    assert join_paragraphs("a", "", "b\n", " \n", "c") == "a\n\nb\n\n\nc"
    assert join_paragraphs() == ""


@given(messages, st.integers(0, 9))
def test_there_is_always_something_new_that_is_not_blank(said: list[Message], known: int) -> None:
    new = new_user_messages(said, known)
    assert new
    assert all(message.role == "user" and message.text.strip() for message in new)


@given(messages, messages)
def test_an_agent_that_was_told_everything_hears_of_everything_else(
    said: list[Message], more: list[Message]
) -> None:
    added = user_message_count(more)
    assert user_message_count(said + more) == user_message_count(said) + added
    if added:
        assert new_user_messages(said + more, user_message_count(said)) == tuple(
            message for message in more if message.role == "user" and message.text.strip()
        )


@given(messages)
def test_each_message_is_told_once_before_or_as_new(said: list[Message]) -> None:
    spoken = [m for m in said if m.role in ("user", "assistant") and m.text.strip()]
    new = [
        m
        for m in new_user_messages(said, user_message_count(said))
        if m.text not in (SILENCE_PROMPT, CALL_START_PROMPT)
    ]
    _, *lines, _ = (history_summary(said) or "\n").split("\n")
    assert len(lines) + len(new) == len(spoken)
    assert history_summary(said) == (HISTORY_NOTE.format(lines="\n".join(lines)) if lines else "")


@given(st.none() | texts)
def test_a_note_is_one_line(heard: str | None) -> None:
    assert "\n" not in interruption_note(heard)
    assert bool(interruption_note(heard)) == (heard is not None)
