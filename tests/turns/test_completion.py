"""Events are collected into a whole answer."""

from __future__ import annotations

import pytest

from voicegw.events import Activity, Event, Finish, Message, ToolCall, Usage
from voicegw.turns.completion import Completion, collect
from voicegw.wire.openai import CANCELLED

CALL = ToolCall("c", "weather")


@pytest.mark.parametrize(
    ("events", "completion"),
    [
        ([], Completion(())),
        (["Hi", " there", Activity("x"), "."], Completion(("Hi there.",))),
        (["", Usage(1, 2)], Completion((), "stop", Usage(1, 2))),
        ([CALL], Completion((CALL,), "tool_calls")),
        (["A", Activity("f"), Finish("tool_calls")], Completion(("A",), "stop")),
        (["A", "b", CALL, "C", CALL], Completion(("Ab", CALL, "C", CALL), "tool_calls")),
        (["A", CALL, Finish("length")], Completion(("A", CALL), "length")),
        (["A", Finish("content_filter")], Completion(("A",), "content_filter")),
    ],
)
def test_events_are_collected(events: list[Event], completion: Completion) -> None:
    assert collect(events) == completion


@pytest.mark.parametrize(
    ("events", "reason"),
    [(["A"], CANCELLED), ([], CANCELLED), (["A", CALL], "tool_calls"), ([CALL, Finish("length")], "length")],
)
def test_an_answer_that_the_gateway_cut_is_not_called_complete(events: list[Event], reason: str) -> None:
    assert collect(events, was_cancelled=True).reason == reason


def test_completion_becomes_one_message_or_none() -> None:
    assert Completion(("A", CALL, "b")).messages == (Message("assistant", "Ab", tool_calls=(CALL,)),)
    assert Completion(()).messages == ()
