"""The transcript in Retell's requests as messages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.platforms.retell.frames import (
    CALL,
    CALL_MESSAGE,
    HISTORY,
    INVOCATION,
    RESULT,
    RESULT_MESSAGE,
    TRANSCRIPT,
    keys,
    parse_history,
    received,
    request,
)
from voicegw.calls.codec import (
    TurnRequested,
)
from voicegw.events import Message
from voicegw.platforms.retell.codec import RetellCodec


def test_transcript_may_be_empty_or_without_words_of_the_caller() -> None:
    assert request(RetellCodec(CALL), 1, []) == TurnRequested("", history=(), id=1)
    alone = request(RetellCodec(CALL), 1, TRANSCRIPT[:1])
    assert (alone.user_text, alone.history) == ("", HISTORY[:1])


def test_unintelligible_speech_is_passed_on() -> None:
    requested = request(RetellCodec(CALL), 1, [{"role": "user", "content": "(unintelligible audio)"}])
    assert requested.user_text == "(unintelligible audio)"


def test_user_text_is_the_last_message_of_the_caller() -> None:
    more = [{"role": "user", "content": "Hm?"}, {"role": "system", "content": "Be brief."}, TRANSCRIPT[0]]
    requested = request(RetellCodec(CALL), 1, [*TRANSCRIPT, *more])
    assert requested.user_text == "Hm?"
    assert requested.history == (*HISTORY, Message("user", "Hm?"), Message("system", "Be brief."), HISTORY[0])


def test_transcript_with_tool_calls_is_preferred() -> None:
    requested = request(
        RetellCodec(CALL), 1, TRANSCRIPT, transcript_with_tool_calls=[*TRANSCRIPT, INVOCATION, RESULT]
    )
    assert requested == TurnRequested("Are you open?", history=(*HISTORY, CALL_MESSAGE, RESULT_MESSAGE), id=1)
    assert request(RetellCodec(CALL), 1, TRANSCRIPT, transcript_with_tool_calls=None).history == HISTORY


def test_tool_result_counts_once_and_only_after_its_call() -> None:
    assert parse_history([RESULT, INVOCATION, RESULT, RESULT]) == (CALL_MESSAGE, RESULT_MESSAGE)
    assert parse_history([{**RESULT, "tool_call_id": "t2"}, INVOCATION]) == (CALL_MESSAGE,)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "hello",
        [],
        {},
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "robot", "content": "x"},
        {"role": ["user"], "content": "x"},
        {"role": "dtmf", "digit": 1},
        {"role": "dtmf", "digit": "x"},
        {"role": "dtmf"},
        {**INVOCATION, "tool_call_id": 1},
        {**INVOCATION, "tool_call_id": ""},
        {**INVOCATION, "name": ""},
        {**INVOCATION, "name": None},
        {**INVOCATION, "arguments": {"day": "today"}},
        {**INVOCATION, "arguments": "[]"},
        {**INVOCATION, "arguments": "{"},
        {key: value for key, value in INVOCATION.items() if key != "arguments"},
        {**RESULT, "content": 5},
    ],
)
def test_invalid_entries_are_left_out_with_their_results(entry: Any) -> None:
    assert parse_history([TRANSCRIPT[0], entry, RESULT, TRANSCRIPT[1]]) == HISTORY


def test_keys_reach_the_agent_as_one_message() -> None:
    pressed = Message("user", "(The caller pressed 4711# on the keypad.)")
    assert parse_history([TRANSCRIPT[0], *keys("4711#"), TRANSCRIPT[1]]) == (HISTORY[0], pressed, HISTORY[1])
    codec = RetellCodec(CALL)
    for entries, kind in ((keys("4711#"), "keypad"), ([*keys("4711#"), TRANSCRIPT[1]], "said"), ([], "said")):
        event = received(
            codec,
            interaction_type="response_required",
            response_id=codec.newest_response_id + 1,
            transcript=[],
            transcript_with_tool_calls=entries,
        )
        assert isinstance(event, TurnRequested)
        assert event.kind == kind
        assert event.user_text == {"keypad": pressed.text, "said": "Are you open?" if entries else ""}[kind]
