"""Anthropic's streams as events, whole or with pieces missing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.anthropic.decoder import MessagesDecoder
from voicegw.agents.finish_reasons import AnswerState
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentTimeout
from voicegw.events import REASONING, Activity, Event, Finish, ToolCall, Usage
from voicegw.wire.sse import ServerSentEvent


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


def message_start(**usage: Any) -> dict[str, Any]:
    return event("message_start", message={"id": "msg_1", "content": [], "usage": usage})


def block_start(kind: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return event("content_block_start", index=index, content_block={"type": kind, **more})


def delta(kind: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return event("content_block_delta", index=index, delta={"type": kind, **more})


def text_delta(words: str, index: int = 0) -> dict[str, Any]:
    return delta("text_delta", index, text=words)


def arguments_delta(json: str, index: int = 0) -> dict[str, Any]:
    return delta("input_json_delta", index, partial_json=json)


def block_stop(index: int = 0) -> dict[str, Any]:
    return event("content_block_stop", index=index)


def message_delta(reason: str | None, **usage: Any) -> dict[str, Any]:
    return event("message_delta", delta={"stop_reason": reason}, usage=usage)


MESSAGE_STOP = event("message_stop")


def sse(event: dict[str, Any] | ServerSentEvent) -> ServerSentEvent:
    return (
        event if isinstance(event, ServerSentEvent) else ServerSentEvent(event["type"], orjson.dumps(event))
    )


def feed(decoder: MessagesDecoder, *events: dict[str, Any] | ServerSentEvent) -> list[Event]:
    return [found for event in events for found in decoder.feed(sse(event))]


def decode(*events: dict[str, Any] | ServerSentEvent) -> list[Event]:
    """Return all events but `REASONING`."""
    decoder = MessagesDecoder("t1")
    return [event for event in [*feed(decoder, *events), *decoder.end()] if event != REASONING]


def test_text_and_usage() -> None:
    decoder = MessagesDecoder()
    events = [
        decoder.feed(sse(event))
        for event in (
            message_start(
                input_tokens=5, cache_read_input_tokens=20, cache_creation_input_tokens=3, output_tokens=1
            ),
            block_start("text", text=""),
            ServerSentEvent("ping", b'{"type":"ping"}'),
            text_delta("Hé"),
            text_delta(""),
            text_delta("llo"),
            block_stop(),
        )
    ]
    assert events == [[], [], [], ["Hé"], [], ["llo"], []]
    assert decoder.state is AnswerState.OPEN
    assert decoder.feed(sse(message_delta("end_turn", output_tokens=7))) == []
    assert (decoder.state, decoder.done) == (AnswerState.ENDED, False)
    assert decoder.feed(sse(MESSAGE_STOP)) == []
    assert (decoder.state, decoder.done) == (AnswerState.ENDED, True)
    assert decoder.feed(sse(text_delta("late"))) == []
    assert decoder.end() == [Usage(prompt=28, completion=7, cached=20)]


def test_thinking_is_dropped() -> None:
    assert decode(
        block_start("thinking", thinking="hm", signature=""),
        delta("thinking_delta", thinking="hm"),
        delta("signature_delta", signature="x"),
        block_stop(),
        block_start("redacted_thinking", 1, data="x"),
        block_stop(1),
        block_start("text", 2, text="a"),
        delta("citations_delta", 2, citation={}),
        text_delta("b", 2),
        block_stop(2),
        message_delta("end_turn", output_tokens=9, output_tokens_details={"thinking_tokens": 4}),
        MESSAGE_STOP,
    ) == ["a", "b", Usage(completion=9, reasoning=4)]


def test_tool_call_is_returned_when_its_block_ends() -> None:
    decoder = MessagesDecoder()
    for part in (
        block_start("tool_use", 1, id="toolu_1", name="f", input={}),
        arguments_delta("", 1),
        arguments_delta('{"x"', 1),
        arguments_delta(": 1}", 1),
    ):
        assert decoder.feed(sse(part)) == [REASONING]
    assert decoder.feed(sse(block_stop(1))) == [ToolCall("toolu_1", "f", '{"x": 1}')]
    decoder.feed(sse(message_delta("tool_use")))
    assert decoder.end() == [Finish("tool_calls")]


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([block_start("tool_use", id="a", name="f", input={}), block_stop()], [ToolCall("a", "f", "{}")]),
        (
            [block_start("tool_use", id="a", name="f", input={"x": 1}), block_stop()],
            [ToolCall("a", "f", '{"x":1}')],
        ),
        (
            [block_start("tool_use", name="f"), arguments_delta("{}"), block_stop()],
            [ToolCall("t1_1", "f", "{}")],
        ),
        (
            [block_start("tool_use", id="a", name="f"), arguments_delta('{"x":1}'), MESSAGE_STOP],
            [ToolCall("a", "f", '{"x":1}')],
        ),
        (
            [
                block_start("tool_use", 0, id="a", name="f"),
                block_start("tool_use", 1, id="b", name="g"),
                arguments_delta('{"x":1}', 1),
                arguments_delta('{"y":2}', 0),
                block_stop(0),
                block_stop(1),
            ],
            [ToolCall("a", "f", '{"y":2}'), ToolCall("b", "g", '{"x":1}')],
        ),
        (
            [block_start("server_tool_use", id="a", name="web_search"), arguments_delta('{"q'), block_stop()],
            [Activity("web_search")],
        ),
        (
            [
                {
                    "type": "content_block_start",
                    "content_block": {"type": "tool_use", "id": "a", "name": "f"},
                },
                {
                    "type": "content_block_delta",
                    "delta": {"type": "input_json_delta", "partial_json": '{"x":1}'},
                },
                {"type": "content_block_stop"},
            ],
            [ToolCall("a", "f", '{"x":1}')],
        ),
    ],
)
def test_tool_calls_become_whole(events: list[dict[str, Any]], found: list[Event]) -> None:
    assert decode(*events) == found


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("end_turn", []),
        ("stop_sequence", []),
        ("pause_turn", [Finish("length")]),
        ("max_tokens", [Finish("length")]),
        ("model_context_window_exceeded", [Finish("length")]),
        ("refusal", [Finish("content_filter")]),
        ("tool_use", []),
        (None, []),
    ],
)
def test_stop_reason_decides_the_finish(reason: str | None, found: list[Event]) -> None:
    assert decode(message_delta(reason), MESSAGE_STOP) == found


def test_stop_reason_stays_without_a_new_one() -> None:
    assert decode(message_delta("max_tokens"), message_delta(None), MESSAGE_STOP) == [Finish("length")]


@pytest.mark.parametrize(
    ("usages", "found"),
    [
        ([{"input_tokens": 5, "output_tokens": 1}, {"output_tokens": 7}], [Usage(5, 7)]),
        ([{"input_tokens": 5}, {"input_tokens": 6, "output_tokens": 7}], [Usage(6, 7)]),
        ([{"cache_read_input_tokens": 4}, {"cache_read_input_tokens": None}], [Usage(4, 0, 4)]),
        ([{"input_tokens": "5"}, {"output_tokens_details": None}], []),
        ([{"input_tokens": True}, {}], []),
    ],
)
def test_counts_are_totals(usages: list[dict[str, Any]], found: list[Event]) -> None:
    first, second = usages
    assert decode(message_start(**first), message_delta(None, **second)) == found


@pytest.mark.parametrize(
    "harmless",
    [
        event("ping"),
        event("content_block_explained", index=0),
        block_start("image", source={}),
        block_start("text"),
        delta("video_delta", video="x"),
        event("message_start", message={}),
        event("message_delta", delta={}),
        ServerSentEvent("ping", b""),
        ServerSentEvent("", b"{}"),
    ],
)
def test_unknown_events_and_missing_fields_are_skipped(harmless: dict[str, Any] | ServerSentEvent) -> None:
    assert decode(text_delta("a"), harmless, text_delta("b")) == ["a", "b"]


def test_event_type_may_be_in_the_data_or_the_event_name() -> None:
    said = {"index": 0, "delta": {"type": "text_delta", "text": "a"}}
    assert decode(ServerSentEvent("", orjson.dumps(said | {"type": "content_block_delta"}))) == ["a"]
    assert decode(ServerSentEvent("content_block_delta", orjson.dumps(said))) == ["a"]


def test_lone_surrogate_becomes_the_replacement_character() -> None:
    half = b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"\\ud83d!"}}'
    assert decode(ServerSentEvent("", half)) == ["�!"]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ({"type": "overloaded_error", "message": "Over\nloaded"}, AgentBusy, "Over loaded"),
        ({"type": "rate_limit_error", "message": "slow"}, AgentBusy, "slow"),
        ({"type": "authentication_error", "message": "no"}, AgentRejected, "no"),
        ({"type": "permission_error", "message": "no"}, AgentRejected, "no"),
        ({"type": "billing_error", "message": "no"}, AgentRejected, "no"),
        ({"type": "not_found_error", "message": "model: x"}, AgentRejected, "model: x"),
        ({"type": "invalid_request_error", "message": "bad"}, AgentProtocolError, "bad"),
        ({"type": "timeout_error", "message": "late"}, AgentTimeout, "late"),
        ({"type": "api_error", "message": "x" * 999}, AgentError, "x" * 300),
        ({"type": "new_error"}, AgentError, "new_error"),
        ({"type": ["odd"], "message": 7}, AgentError, "7"),
        ("broken", AgentError, "broken"),
        (None, AgentError, ""),
    ],
)
def test_error_type_decides_the_error(error: Any, kind: type[AgentError], words: str) -> None:
    with pytest.raises(AgentError) as raised:
        decode(text_delta("a"), event("error", error=error))
    assert (type(raised.value), raised.value.quote) == (kind, words)
    assert raised.value.summary == "the server reported an error"


@pytest.mark.parametrize(
    "wrong",
    [
        ServerSentEvent("message_stop", b"{"),
        ServerSentEvent("message_stop", b"[]"),
        ServerSentEvent("", b"\xff"),
        {"type": "content_block_delta"},
        {"type": "content_block_delta", "delta": None},
        {"type": "content_block_delta", "delta": {}},
        {"type": "content_block_start"},
        {"type": "content_block_start", "content_block": {}},
        {"type": "content_block_start", "index": [], "content_block": {"type": "tool_use"}},
        {"type": "message_start", "message": None},
        {"type": "message_delta", "delta": "x"},
        delta("text_delta", text=None),
        delta("text_delta", text=["a"]),
        block_start("text", text=["a"]),
    ],
)
def test_unknown_shape_raises_a_protocol_error(wrong: dict[str, Any] | ServerSentEvent) -> None:
    with pytest.raises(AgentProtocolError, match="an event of an unknown shape"):
        decode(wrong)


@pytest.mark.parametrize("pieces", [['{"x"'], ["[1]"], [7], ["{}", "{}"]])
def test_arguments_that_are_no_object_raise_a_protocol_error(pieces: list[Any]) -> None:
    begun = (block_start("tool_use", id="a", name="f"), *map(arguments_delta, pieces))
    with pytest.raises(AgentProtocolError, match="the arguments of a tool are no JSON object: f"):
        decode(*begun, block_stop())


def test_tool_call_without_a_name_raises_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="a tool call without a name"):
        decode(block_start("tool_use", id="a"), block_stop())


def test_too_deeply_nested_input_raises_a_protocol_error() -> None:
    deep = b'{"a":' * 1000 + b"{}" + b"}" * 1000
    begun = b'{"type":"content_block_start","content_block":{"type":"tool_use","name":"f","input":%b}}' % deep
    with pytest.raises(AgentProtocolError):
        decode(ServerSentEvent("", begun))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.sampled_from(["", "a", "{}", "text", "tool_use"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "usage", "stop_reason", "name", "input", "message"]), inner
        )
    ),
    max_leaves=6,
)
KINDS = st.sampled_from(
    [
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "error",
        "ping",
    ]
)
DELTAS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_delta", "input_json_delta", "x"])},
    optional={"text": VALUES, "partial_json": VALUES, "stop_reason": VALUES},
)
BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "thinking"])},
    optional={"text": VALUES, "name": VALUES, "id": VALUES, "input": VALUES},
)
EVENTS = st.fixed_dictionaries(
    {"type": KINDS},
    optional={
        "index": st.integers(0, 2) | VALUES,
        "delta": DELTAS | VALUES,
        "content_block": BLOCKS | VALUES,
        "message": VALUES,
        "usage": VALUES,
        "error": VALUES,
    },
)


@given(
    st.lists(st.builds(sse, EVENTS) | st.builds(ServerSentEvent, KINDS, st.binary(max_size=9)), max_size=8)
)
def test_every_stream_gives_events_or_an_agent_error(events: list[ServerSentEvent]) -> None:
    decoder = MessagesDecoder()
    with suppress(AgentError):
        for given in events:
            assert all(
                isinstance(event_found, (str, ToolCall, Activity)) for event_found in decoder.feed(given)
            )
        assert all(isinstance(event_found, (ToolCall, Usage, Finish)) for event_found in decoder.end())
