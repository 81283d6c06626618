"""Histories that platforms send are compared with what was said."""

from __future__ import annotations

import pytest

from tests.conversations.test_transcript import HELLO, NEXT, NO, REPLY, YES
from voicegw.conversations.history import last_reply, part_heard, part_of_last, without
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
def test_what_was_heard_of_a_reply_is_known_if_the_reply_begins_with_it(
    said: str, heard: str, part: str | None
) -> None:
    assert part_heard(said, heard) == part


def test_the_last_reply_is_found_behind_calls_of_tools() -> None:
    call = Message("assistant", tool_calls=(ToolCall("1", "look"),))
    assert last_reply([HELLO, REPLY, call, Message("tool", "42"), HELLO]) == REPLY.text
    assert last_reply([HELLO]) is None


def test_words_of_ours_are_counted_and_left_out() -> None:
    for heard, text, told in [
        ("One moment. We are", "We are", "We are"),
        ("One mo", None, ""),
        ("One moment.", None, ""),
        ("One moment. We are open.", "We are open.", None),
    ]:
        book = Transcript()
        book.add_user("Hello?")
        book.add_assistant("One moment. We are open.", own="One moment.")
        assert book.messages[1:] == [Message("assistant", "We are open.")]
        book.truncate(heard)
        assert [message.text for message in book.messages[1:]] == ([] if text is None else [text])
        assert book.heard == told


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
def test_a_history_that_ends_before_our_last_reply_has_nothing_of_it(
    said: list[Message], history: list[Message], heard: str | None
) -> None:
    assert part_of_last(said, history) == heard


@pytest.mark.parametrize(
    ("own", "last", "left"),
    [
        ("One moment.", "One", False),
        ("One moment.", "One moment.", False),
        ("One moment.", "One moment. One", True),
        ("One moment.", "On it.", True),
        ("One moment.", "...", True),
        ("", "One", True),
    ],
)
def test_the_beginning_of_our_own_words_is_no_reply(own: str, last: str, left: bool) -> None:
    history = (HELLO, REPLY, NEXT, Message("assistant", last), HELLO)
    assert without(own, history) == (history if left else (*history[:3], HELLO))
    acted = (HELLO, Message("assistant", "One", tool_calls=(ToolCall("c", "f"),)))
    assert without(own, acted) == acted
    assert without(own, (HELLO,)) == (HELLO,)
