"""Histories that platforms send are compared with the words that were spoken."""

from __future__ import annotations

import pytest

from tests.conversations.test_transcript import HELLO, NEXT, NO, REPLY, YES
from voicegw.conversations.history import (
    heard_part,
    heard_part_of_last_reply,
    last_reply,
)
from voicegw.conversations.spoken_reply import SpokenReply
from voicegw.conversations.transcript import Transcript
from voicegw.events import Message, ToolCall


@pytest.mark.parametrize(
    ("said", "heard", "part"),
    [
        ("We are open now.", "We are open now.", None),
        ("We are open now.", "We are", "We are"),
        ("We are open now.", "We are...", "We are"),
        ("We are open now.", "We are open now...", "We are open now"),
        ("We are open now.", " We  are\n", "We are"),
        ("We are open now.", "", ""),
        ("We are open now.", "They are", None),
        ("We are open now.", "We are open now. And then", None),
        ("", "We", None),
    ],
)
def test_heard_words_with_which_the_reply_begins_are_its_heard_part(
    said: str, heard: str, part: str | None
) -> None:
    assert heard_part(said, heard) == part


def test_the_last_reply_is_found_before_tool_calls() -> None:
    call = Message("assistant", tool_calls=(ToolCall("1", "look"),))
    assert last_reply([HELLO, REPLY, call, Message("tool", "42"), HELLO]) == REPLY.text
    assert last_reply([HELLO]) is None


def test_own_words_count_as_heard_but_are_not_part_of_the_reply() -> None:
    for heard, text, expected in [
        ("One moment. We are", "We are", "We are"),
        ("One mo", None, ""),
        ("One moment.", None, ""),
        ("One moment. We are open.", "We are open.", None),
    ]:
        transcript = Transcript()
        transcript.add_user("Hello?")
        transcript.add_assistant(SpokenReply("One moment. We are open.", ((0, 12),)))
        assert transcript.messages[1:] == [Message("assistant", "We are open.")]
        transcript.truncate(heard)
        assert [message.text for message in transcript.messages[1:]] == ([] if text is None else [text])
        assert transcript.heard_text == expected


@pytest.mark.parametrize(
    ("said", "history", "heard"),
    [
        ([], [HELLO], None),
        ([NO], [HELLO, NEXT], ""),
        ([YES, NO], [HELLO, YES, NEXT], ""),
        ([YES, YES], [HELLO, YES, NEXT], None),
        ([YES, NO], [HELLO, YES, NEXT, Message("assistant", "No,")], "No,"),
        ([YES, NO], [HELLO, YES, NEXT, NO, NEXT], None),
        ([YES, NO], [HELLO, Message("assistant", "Perhaps."), NEXT], None),
    ],
)
def test_a_history_that_ends_before_the_last_reply_has_no_word_of_it(
    said: list[Message], history: list[Message], heard: str | None
) -> None:
    assert heard_part_of_last_reply(said, history) == heard
