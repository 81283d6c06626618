"""The Responses API as bytes: every sequence that an answer can take, and the response at its end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.responses_lint import events, lint, spoken
from voicegw.api import responses_response as responses
from voicegw.api.responses_response import ResponseEventEncoder
from voicegw.events import ToolCall, Usage
from voicegw.turns.completion import Completion

ECHO = {"instructions": "Be brief.", "metadata": {"caller": "7"}, "store": False}
CALL = ToolCall("call_1", "weather", '{"city":"Paris"}')


def streamed(
    *said: str | ToolCall, begin: str = "", reason: str = "stop", usage: Usage | None = None, note: str = ""
) -> bytes:
    codec = ResponseEventEncoder("7", "desk", 1700000000, ECHO)
    parts = [codec.start(begin)]
    parts += [codec.text_delta(part) if isinstance(part, str) else codec.tool_call(part) for part in said]
    return b"".join([*parts, codec.finish(reason, usage, note)])


def kinds(stream: bytes) -> list[str]:
    return [event["type"].removeprefix("response.") for event in lint(stream)]


def final(stream: bytes) -> dict[str, Any]:
    return dict(lint(stream)[-1]["response"])


PIECE = st.one_of(st.text(), st.builds(ToolCall, st.uuids().map(str), st.just("weather"), st.just("{}")))


@given(st.text(), st.lists(PIECE), st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
def test_whatever_is_said_the_events_are_in_order_and_add_up(
    begin: str, said: list[str | ToolCall], reason: str
) -> None:
    stream = streamed(*said, begin=begin, reason=reason)
    output = final(stream)["output"]
    assert spoken(stream) == begin + "".join(part for part in said if isinstance(part, str))
    assert spoken(stream) == "".join(item["content"][0]["text"] for item in output if "content" in item)
    calls = [item["call_id"] for item in output if item["type"] == "function_call"]
    assert calls == [part.id for part in said if isinstance(part, ToolCall)]


def test_a_spoken_answer_is_one_message() -> None:
    stream = streamed("We are", " open.", begin="One moment. ")
    assert kinds(stream) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    [item] = final(stream)["output"]
    assert (item["id"], item["status"]) == ("msg_7_0", "completed")
    assert item["content"][0]["text"] == "One moment. We are open."


def test_without_words_of_ours_nothing_is_opened_before_the_agent_speaks() -> None:
    codec = ResponseEventEncoder("7", "desk", 1700000000, ECHO)
    begun = codec.start("")
    assert [event["type"] for event in events(begun)] == ["response.created", "response.in_progress"]
    assert codec.text_delta("") == b""


def test_a_tool_call_is_an_item_without_a_message_before_it() -> None:
    stream = streamed(CALL)
    assert kinds(stream)[2:-1] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert final(stream)["output"] == [
        {
            "id": "fc_7_0",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city":"Paris"}',
        }
    ]


def test_words_after_a_tool_call_are_another_message() -> None:
    output = final(streamed("Let me see. ", CALL, "There."))["output"]
    assert [item["id"] for item in output] == ["msg_7_0", "fc_7_1", "msg_7_2"]


def test_an_answer_without_a_word_is_one_empty_message() -> None:
    [item] = final(streamed())["output"]
    assert (item["type"], item["content"][0]["text"]) == ("message", "")


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_an_answer_that_was_cut_is_incomplete(reason: str, status: str, why: dict[str, str] | None) -> None:
    response = final(streamed("Well", reason=reason))
    assert (response["status"], response["incomplete_details"]) == (status, why)
    assert [item["status"] for item in response["output"]] == [status]


def test_usage_is_always_told_with_every_field() -> None:
    assert final(streamed("Hi", usage=Usage(5, 2, 1, 1)))["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 7,
    }
    assert final(streamed("Hi"))["usage"]["total_tokens"] == 0


def test_the_response_repeats_the_request_and_names_itself() -> None:
    response = final(streamed("Hi"))
    assert {key: response[key] for key in ECHO} == ECHO
    named = [response[key] for key in ("id", "object", "created_at", "model")]
    assert named == ["resp_7", "response", 1700000000, "desk"]
    assert (response["tools"], response["tool_choice"], response["parallel_tool_calls"]) == ([], "auto", True)


def test_a_note_is_a_comment_before_the_last_event() -> None:
    stream = streamed("Hi", note="ack=0.0ms")
    assert lint(stream)[-1]["type"] == "response.completed"
    assert stream.split(b"\n\n")[-3] == b": ack=0.0ms"


@pytest.mark.parametrize("cut", [["Hi \ud83d", "\ude00"], ["\ud83d\ude00"], ["\\", '"', "\x00"]])
def test_deltas_and_the_whole_text_are_the_same_whatever_is_in_them(cut: list[str]) -> None:
    stream = streamed(*cut)
    assert final(stream)["output"][0]["content"][0]["text"] == spoken(stream)


@pytest.mark.parametrize("model", ['a"b', "%d%b", "\x00"])
def test_no_name_of_a_model_breaks_an_event(model: str) -> None:
    codec = ResponseEventEncoder("%d", model, 1, {"metadata": {"%b": "%d"}})
    stream = codec.start("Hi") + codec.text_delta("%b") + codec.finish("stop", None)
    assert final(stream)["model"] == model
    assert spoken(stream) == "Hi%b"


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize("said", [(), ("Hi",), ("Well", CALL), (CALL, "There.")])
def test_a_whole_answer_is_what_the_stream_ends_with(said: tuple[str | ToolCall, ...], reason: str) -> None:
    answer = Completion(said, reason, Usage(1, 2))
    whole = json.loads(responses.encode_response("7", "desk", 1700000000, ECHO, answer))
    assert whole == final(streamed(*said, reason=reason, usage=Usage(1, 2)))
