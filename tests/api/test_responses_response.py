"""Responses of the Responses API: the events of every kind of answer, and the final response."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.responses_lint import lint, parse_events, spoken_text
from voicegw.api import responses_response as responses
from voicegw.api.response_ids import output_items
from voicegw.api.responses_response import ResponseEventEncoder
from voicegw.errors import AgentTimeout
from voicegw.events import Message, ToolCall, Usage
from voicegw.turns.completion import Completion, collect
from voicegw.wire.openai import CANCELLED

ECHO = {"instructions": "Be brief.", "metadata": {"caller": "7"}, "store": False}
CALL = ToolCall("call_1", "weather", '{"city":"Paris"}')


def encode_stream(
    *parts: str | ToolCall,
    own_words: str = "",
    reason: str = "stop",
    usage: Usage | None = None,
    note: str = "",
) -> bytes:
    encoder = ResponseEventEncoder("7", "desk", 1700000000, ECHO)
    data = [encoder.start(own_words)]
    data += [encoder.text_delta(part) if isinstance(part, str) else encoder.tool_call(part) for part in parts]
    return b"".join([*data, encoder.finish(reason, usage, note)])


def event_types(stream: bytes) -> list[str]:
    return [event["type"].removeprefix("response.") for event in lint(stream)]


def final_response(stream: bytes) -> dict[str, Any]:
    return dict(lint(stream)[-1]["response"])


PIECE = st.one_of(st.text(), st.builds(ToolCall, st.uuids().map(str), st.just("weather"), st.just("{}")))


@given(st.text(), st.lists(PIECE), st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
def test_the_events_of_any_answer_are_in_order_and_add_up(
    own_words: str, parts: list[str | ToolCall], reason: str
) -> None:
    stream = encode_stream(*parts, own_words=own_words, reason=reason)
    output = final_response(stream)["output"]
    assert spoken_text(stream) == own_words + "".join(part for part in parts if isinstance(part, str))
    assert spoken_text(stream) == "".join(item["content"][0]["text"] for item in output if "content" in item)
    calls = [item["call_id"] for item in output if item["type"] == "function_call"]
    assert calls == [part.id for part in parts if isinstance(part, ToolCall)]


def test_a_spoken_answer_is_one_message() -> None:
    stream = encode_stream("We are", " open.", own_words="One moment. ")
    assert event_types(stream) == [
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
    [item] = final_response(stream)["output"]
    assert (item["id"], item["status"]) == ("msg_7_0", "completed")
    assert item["content"][0]["text"] == "One moment. We are open."


def test_without_own_words_no_message_opens_before_the_agent_speaks() -> None:
    encoder = ResponseEventEncoder("7", "desk", 1700000000, ECHO)
    first_events = encoder.start("")
    assert [event["type"] for event in parse_events(first_events)] == [
        "response.created",
        "response.in_progress",
    ]
    assert encoder.text_delta("") == b""


def test_a_tool_call_is_an_item_without_a_message_before_it() -> None:
    stream = encode_stream(CALL)
    assert event_types(stream)[2:-1] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert final_response(stream)["output"] == [
        {
            "id": "fc_7_0",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city":"Paris"}',
        }
    ]


def test_text_after_a_tool_call_is_another_message() -> None:
    output = final_response(encode_stream("Let me see. ", CALL, "There."))["output"]
    assert [item["id"] for item in output] == ["msg_7_0", "fc_7_0", "msg_7_1"]


@given(st.text(), st.lists(PIECE))
def test_an_item_s_id_is_that_of_the_agent_s_words_in_it(own_words: str, parts: list[str | ToolCall]) -> None:
    stored = output_items("7", collect(parts).parts)
    output = {
        item["id"]: item for item in final_response(encode_stream(*parts, own_words=own_words))["output"]
    }
    assert stored.keys() <= output.keys()
    for id, item in output.items():
        if item["type"] == "function_call":
            assert stored[id] == ToolCall(item["call_id"], item["name"], item["arguments"])
        else:
            text = item["content"][0]["text"]
            found = stored.get(id, Message("assistant"))
            assert isinstance(found, Message)
            assert text == found.text or text == own_words + found.text


@pytest.mark.parametrize("parts", [(), ("Well",), ("Well", CALL), (CALL,), (CALL, "The")])
def test_a_failed_response_holds_its_output_so_far_and_the_error(parts: tuple[str | ToolCall, ...]) -> None:
    encoder = ResponseEventEncoder("7", "desk", 1700000000, ECHO)
    stream = encoder.start("")
    for part in parts:
        stream += encoder.text_delta(part) if isinstance(part, str) else encoder.tool_call(part)
    failed = final_response(stream + encoder.fail(AgentTimeout("late")))
    assert (failed["status"], failed["error"]) == (
        "failed", {"code": "server_error", "message": "The agent took too long."},
    )  # fmt: skip
    expected = ["completed" if part is CALL or part != parts[-1] else "incomplete" for part in parts]
    assert [item["status"] for item in failed["output"]] == expected


def test_an_empty_answer_is_one_empty_message() -> None:
    [item] = final_response(encode_stream())["output"]
    assert (item["type"], item["content"][0]["text"]) == ("message", "")


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
        (CANCELLED, "incomplete", {"reason": "cancelled"}),
    ],
)
def test_a_truncated_answer_is_incomplete(reason: str, status: str, details: dict[str, str] | None) -> None:
    response = final_response(encode_stream("Well", reason=reason))
    assert (response["status"], response["incomplete_details"]) == (status, details)
    assert [item["status"] for item in response["output"]] == [status]


def test_usage_always_has_every_field() -> None:
    assert final_response(encode_stream("Hi", usage=Usage(5, 2, 1, 1)))["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 7,
    }
    assert final_response(encode_stream("Hi"))["usage"]["total_tokens"] == 0


def test_the_response_echoes_fields_of_the_request() -> None:
    response = final_response(encode_stream("Hi"))
    assert {key: response[key] for key in ECHO} == ECHO
    named = [response[key] for key in ("id", "object", "created_at", "model")]
    assert named == ["resp_7", "response", 1700000000, "desk"]
    assert (response["tools"], response["tool_choice"], response["parallel_tool_calls"]) == ([], "auto", True)


def test_a_note_becomes_a_comment_before_the_last_event() -> None:
    stream = encode_stream("Hi", note="ack=0.0ms")
    assert lint(stream)[-1]["type"] == "response.completed"
    assert stream.split(b"\n\n")[-3] == b": ack=0.0ms"


@pytest.mark.parametrize("deltas", [["Hi \ud83d", "\ude00"], ["\ud83d\ude00"], ["\\", '"', "\x00"]])
def test_deltas_and_the_whole_text_are_equal(deltas: list[str]) -> None:
    stream = encode_stream(*deltas)
    assert final_response(stream)["output"][0]["content"][0]["text"] == spoken_text(stream)


@pytest.mark.parametrize("model", ['a"b', "%d%b", "\x00"])
def test_no_name_of_a_model_breaks_an_event(model: str) -> None:
    encoder = ResponseEventEncoder("%d", model, 1, {"metadata": {"%b": "%d"}})
    stream = encoder.start("Hi") + encoder.text_delta("%b") + encoder.finish("stop", None)
    assert final_response(stream)["model"] == model
    assert spoken_text(stream) == "Hi%b"


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize("parts", [(), ("Hi",), ("Well", CALL), (CALL, "There.")])
def test_a_whole_response_equals_the_last_event_of_the_stream(
    parts: tuple[str | ToolCall, ...], reason: str
) -> None:
    answer = Completion(parts, reason, Usage(1, 2))
    whole = json.loads(responses.encode_response("7", "desk", 1700000000, ECHO, answer))
    assert whole == final_response(encode_stream(*parts, reason=reason, usage=Usage(1, 2)))
