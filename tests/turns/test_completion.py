"""A whole answer is what its events add up to."""

from __future__ import annotations

import pytest

from voicegw.events import Activity, Event, Finish, Message, ToolCall, Usage
from voicegw.turns.completion import Completion, collect

CALL = ToolCall("c", "weather")


@pytest.mark.parametrize(
    ("events", "answer"),
    [
        ([], Completion(())),
        (["Hi", " there", Activity("x"), "."], Completion(("Hi there.",))),
        (["", Usage(1, 2)], Completion((), "stop", Usage(1, 2))),
        ([CALL], Completion((CALL,), "tool_calls")),
        (["A", "b", CALL, "C", CALL], Completion(("Ab", CALL, "C", CALL), "tool_calls")),
        (["A", CALL, Finish("length")], Completion(("A", CALL), "length")),
        (["A", Finish("content_filter")], Completion(("A",), "content_filter")),
    ],
)
def test_events_add_up(events: list[Event], answer: Completion) -> None:
    assert collect(events) == answer


def test_as_a_part_of_the_conversation_it_is_one_message_or_none() -> None:
    assert Completion(("A", CALL, "b")).messages == (Message("assistant", "Ab", tool_calls=(CALL,)),)
    assert Completion(()).messages == ()
