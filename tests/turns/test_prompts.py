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
from voicegw.turns.prompts import (
    ACTION_CUT_OFF,
    ACTION_DONE,
    ACTION_NOT_POSSIBLE,
    CALL_START_PROMPT,
    SILENCE_PROMPT,
    may_stay_silent,
)

RULES = Message("system", "Be kind.")
HELLO, HI = Message("user", "Hello?"), Message("assistant", "Hi!")
WHEN, WHERE = Message("user", "When?"), Message("user", "Where?")
BLANK = Message("user", " \n")
PICTURE = Message("user", parts=({"type": "image_url", "image_url": {"url": "x"}},))

roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
texts = st.text('a \n{}%"', max_size=5)
messages = st.lists(st.builds(Message, roles, texts), max_size=8)


def test_instructions_are_joined_in_order() -> None:
    more = (RULES, HELLO, Message("developer", "Be brief."), Message("system"), Message("system", " \n"))
    assert system_prompt(Turn("t", more)) == "Be kind.\n\nBe brief."
    assert system_prompt(Turn("t", (HELLO,))) == ""


@pytest.mark.parametrize(
    ("messages", "known_count", "new"),
    [
        ((HELLO,), 0, (HELLO,)),
        ((RULES, HELLO, HI, WHEN), 1, (WHEN,)),
        ((HELLO, HI, WHEN, WHERE), 1, (WHEN, WHERE)),
        ((HELLO, HI, WHEN, WHERE), 0, (HELLO, WHEN, WHERE)),
        ((HELLO, HI, PICTURE), 1, (PICTURE,)),
    ],
)
def test_messages_since_the_known_count_are_new(
    messages: tuple[Message, ...], known_count: int, new: tuple[Message, ...]
) -> None:
    assert new_user_messages(messages, known_count) == new


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
def test_unanswered_message_is_new_again(said: tuple[Message, ...]) -> None:
    assert new_user_messages(said, user_message_count(said)) == (WHEN,)
    assert new_user_messages(said, 99) == (WHEN,)


@pytest.mark.parametrize("said", [(HELLO, HI), (HELLO, HI, RULES), (HELLO, HI, BLANK)])
def test_silence_after_an_answer_becomes_the_silence_prompt(said: tuple[Message, ...]) -> None:
    assert new_user_messages(said, 1) == (Message("user", SILENCE_PROMPT),)


@pytest.mark.parametrize("said", [(), (RULES,), (HI,), (BLANK,), (RULES, HI, BLANK)])
def test_call_without_caller_messages_becomes_the_start_prompt(said: tuple[Message, ...]) -> None:
    assert new_user_messages(said, 0) == (Message("user", CALL_START_PROMPT),)


def test_blank_messages_are_not_counted() -> None:
    assert user_message_count((RULES, HELLO, HI, BLANK, PICTURE, WHEN)) == 3


@pytest.mark.parametrize(
    ("heard", "note"),
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
def test_interruption_note_quotes_the_heard_part(heard: str | None, note: str) -> None:
    assert interruption_note(heard) == note


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
def test_history_summary_has_a_line_for_each_message_that_is_not_new(
    said: tuple[Message, ...], lines: str
) -> None:
    assert history_summary(said) == f"(The conversation so far, which you do not need to answer:\n{lines}\n)"


@pytest.mark.parametrize("said", [(), (RULES,), (HELLO,), (RULES, HELLO, BLANK), (PICTURE, WHEN)])
def test_history_summary_is_empty_without_older_messages(said: tuple[Message, ...]) -> None:
    assert history_summary(said) == ""


def test_texts_are_joined_as_paragraphs_without_blank_ones() -> None:
    assert join_paragraphs("a", "", "b\n", " \n", "c") == "a\n\nb\n\n\nc"
    assert join_paragraphs() == ""


@given(messages, st.integers(0, 9))
def test_new_messages_are_never_empty_or_blank(said: list[Message], known: int) -> None:
    new = new_user_messages(said, known)
    assert new
    assert all(message.role == "user" and message.text.strip() for message in new)


@given(messages, messages)
def test_new_messages_are_exactly_those_after_the_known_ones(
    said: list[Message], more: list[Message]
) -> None:
    added = user_message_count(more)
    assert user_message_count(said + more) == user_message_count(said) + added
    if added:
        assert new_user_messages(said + more, user_message_count(said)) == tuple(
            message for message in more if message.role == "user" and message.text.strip()
        )


@given(messages)
def test_each_message_is_either_in_the_summary_or_new(said: list[Message]) -> None:
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
def test_interruption_note_is_one_line(heard: str | None) -> None:
    assert "\n" not in interruption_note(heard)
    assert bool(interruption_note(heard)) == (heard is not None)


ASKED = Message("user", "Sales?")


@pytest.mark.parametrize(
    ("kind", "results", "may"),
    [
        ("tool", [ACTION_DONE], True),
        ("tool", [ACTION_DONE, ACTION_NOT_POSSIBLE], False),
        ("tool", [ACTION_CUT_OFF, ACTION_DONE], False),
        ("said", [ACTION_DONE], False),
        ("reminder", [], False),
    ],
)
def test_silence_is_no_failure_after_actions_that_were_done(kind: str, results: list[str], may: bool) -> None:
    messages = (Message("tool", ACTION_NOT_POSSIBLE), ASKED, *(Message("tool", text) for text in results))
    assert may_stay_silent(Turn("t", messages, kind=kind)) is may
