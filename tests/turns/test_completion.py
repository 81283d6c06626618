"""A whole answer is what its events add up to."""

from __future__ import annotations

import pytest

from voicegw.events import Doing, Event, Finish, Message, ToolCall, Usage
from voicegw.turns.completion import Answer, gather

CALL = ToolCall("c", "weather")


@pytest.mark.parametrize(
    ("events", "answer"),
    [
        ([], Answer(())),
        (["Hi", " there", Doing("x"), "."], Answer(("Hi there.",))),
        (["", Usage(1, 2)], Answer((), "stop", Usage(1, 2))),
        ([CALL], Answer((CALL,), "tool_calls")),
        (["A", "b", CALL, "C", CALL], Answer(("Ab", CALL, "C", CALL), "tool_calls")),
        (["A", CALL, Finish("length")], Answer(("A", CALL), "length")),
        (["A", Finish("content_filter")], Answer(("A",), "content_filter")),
    ],
)
def test_events_add_up(events: list[Event], answer: Answer) -> None:
    assert gather(events) == answer


def test_as_a_part_of_the_conversation_it_is_one_message_or_none() -> None:
    assert Answer(("A", CALL, "b")).messages == (Message("assistant", "Ab", tool_calls=(CALL,)),)
    assert Answer(()).messages == ()
