"""The input of agents that keep the conversation themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.session_prompt import (
    UNHEARD_NOTE,
    earlier_user_message_count,
    new_input,
    session_prompt,
    with_missed_context,
)
from voicegw.events import Message, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

SYSTEM = Message("system", "Be kind.")
ONE, ANSWER, TWO, THREE = (
    Message("user", "One"),
    Message("assistant", "Yes"),
    Message("user", "Two"),
    Message("user", "Three"),
)


def turn(*messages: Message, heard: str | None = None) -> Turn:
    return Turn("t", messages, heard=heard)


@pytest.mark.parametrize(
    ("asked", "known", "said"),
    [
        (turn(ONE), 0, "One"),
        (turn(ONE, ANSWER, TWO), 1, "Two"),
        (turn(ONE, ANSWER, TWO, heard=""), 1, f"{UNHEARD_NOTE}\n\nTwo"),
        (turn(ONE, TWO, THREE, heard=""), 1, f"Two\n\n{UNHEARD_NOTE}\n\nThree"),
        (turn(ONE, ANSWER), 1, SILENCE_PROMPT),
        (turn(), 0, CALL_START_PROMPT),
        (turn(Message("user", "")), 0, CALL_START_PROMPT),
        (turn(Message("user", "", parts=({},))), 0, SILENCE_PROMPT),
        (turn(ONE), 1, "One"),
    ],
)
def test_known_session_gets_what_is_new(asked: Turn, known: int, said: str) -> None:
    assert new_input(asked, known) == said
    assert session_prompt(asked, known, fresh=True) == said


def test_fresh_session_gets_instructions_and_history() -> None:
    said = session_prompt(turn(SYSTEM, ONE, ANSWER, TWO), None, fresh=True)
    instructions, before, last = said.split("\n\n")
    assert instructions.endswith(":\nBe kind.\n)")
    assert before.endswith(":\nCaller: One\nYou: Yes\n)")
    assert last == "Two"
    assert session_prompt(turn(ONE), None, fresh=True) == "One"


def test_fresh_session_gets_an_interruption_note_only_after_an_answer() -> None:
    said = session_prompt(turn(ONE, TWO, heard=""), None, fresh=True)
    assert said == "(The conversation so far, which you do not need to answer:\nCaller: One\n)\n\nTwo"
    assert session_prompt(turn(ONE, ANSWER, TWO, heard="Ye"), None, fresh=True).endswith(
        'heard only "Ye".)\n\nTwo'
    )
    assert session_prompt(turn(ONE, TWO, heard=""), None, fresh=False) == f"{UNHEARD_NOTE}\n\nTwo"


def test_continued_session_gets_the_last_message() -> None:
    assert session_prompt(turn(SYSTEM, ONE, ANSWER, TWO), None, fresh=False) == "Two"
    assert session_prompt(turn(SYSTEM, ONE, ANSWER), None, fresh=False) == SILENCE_PROMPT


def test_last_message_does_not_count_as_earlier() -> None:
    assert [
        earlier_user_message_count(asked)
        for asked in (turn(), turn(ONE), turn(ONE, ANSWER), turn(ONE, ANSWER, TWO))
    ] == [
        0,
        0,
        1,
        1,
    ]


def test_missed_context_is_in_the_last_message() -> None:
    asked = turn(SYSTEM, ONE, ANSWER, TWO, THREE, heard="")
    last = Message("user", f"Two\n\n{UNHEARD_NOTE}\n\nThree")
    assert with_missed_context(asked, 1, keep_history=True) == replace(
        asked, messages=(SYSTEM, ONE, ANSWER, last)
    )
    assert with_missed_context(asked, 1, keep_history=False).messages == (SYSTEM, last)
    assert with_missed_context(turn(ONE, ANSWER), 1, keep_history=True).messages == (
        ONE,
        ANSWER,
        Message("user", SILENCE_PROMPT),
    )
    assert with_missed_context(turn(), 0, keep_history=True).messages == (Message("user", CALL_START_PROMPT),)


MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), st.text(max_size=5))
)


@given(MESSAGES, st.none() | st.integers(0, 5), st.booleans(), st.none() | st.text(max_size=5))
def test_prompt_is_never_empty(
    messages: list[Message], known: int | None, fresh: bool, heard: str | None
) -> None:
    assert session_prompt(turn(*messages, heard=heard), known, fresh=fresh)
