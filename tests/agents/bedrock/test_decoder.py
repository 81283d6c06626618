"""Messages of ConverseStream as events and errors."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.bedrock.frames import (
    HI_DELTA,
    THROTTLED,
    block_delta,
    block_stop,
    event,
    event_with_payload,
    exception_message,
    message_stop,
    metadata,
    string_message,
    tool_use,
)
from voicegw.agents.bedrock.decoder import ConverseDecoder, error_class_for, parse_error_name
from voicegw.agents.bedrock.eventstream import EventStreamMessage, EventStreamParser
from voicegw.agents.finish_reasons import AnswerState
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
)
from voicegw.events import REASONING, Activity, Event, Finish, ToolCall, Usage

START = event("messageStart", role="assistant")


def decode(*data: bytes) -> list[Event]:
    """Return all events but `REASONING`."""
    decoder = ConverseDecoder("t1")
    events = [said for frame in EventStreamParser().feed(b"".join(data)) for said in decoder.feed(frame)]
    return [event for event in [*events, *decoder.end()] if event != REASONING]


def test_text_and_usage() -> None:
    assert decode(
        START,
        HI_DELTA,
        block_delta(text=""),
        block_delta(text=" there"),
        block_stop(),
        message_stop(),
        metadata(5, 7),
    ) == [
        "Hi",
        " there",
        Usage(5, 7),
    ]


def test_text_is_returned_with_its_message() -> None:
    assert ConverseDecoder().feed(next(EventStreamParser().feed(HI_DELTA))) == ["Hi"]


def test_tool_call_is_returned_when_its_block_ends() -> None:
    decoder = ConverseDecoder("t1")
    results = [
        decoder.feed(frame)
        for frame in EventStreamParser().feed(tool_use(1, "weather", '{"city":', '"Rome"}'))
    ]
    assert results == [
        [REASONING],
        [REASONING],
        [REASONING],
        [ToolCall("tooluse_1", "weather", '{"city":"Rome"}')],
    ]


def test_text_and_several_tool_calls() -> None:
    data = (
        HI_DELTA,
        block_stop(),
        tool_use(1, "a", ""),
        tool_use(2, "b", id=""),
        message_stop("tool_use"),
        metadata(1, 2),
    )
    assert decode(*data) == [
        "Hi",
        ToolCall("tooluse_1", "a"),
        ToolCall("t1_2", "b"),
        Usage(1, 2),
        Finish("tool_calls"),
    ]


def test_pieces_of_tool_calls_may_be_interleaved() -> None:
    whole = [
        EventStreamParser().feed(tool_use(index, name, '{"a":', "1}", id=name))
        for index, name in ((0, "x"), (1, "y"))
    ]
    decoder = ConverseDecoder()
    mixed = [frame for pair in zip(*whole, strict=True) for frame in pair]
    assert [event for frame in mixed for event in decoder.feed(frame) if event != REASONING] == [
        ToolCall("x", "x", '{"a":1}'),
        ToolCall("y", "y", '{"a":1}'),
    ]


def test_tool_call_without_a_block_stop_ends_with_the_message() -> None:
    assert decode(tool_use(0, "a", "{}")[: -len(block_stop())], message_stop("tool_use")) == [
        ToolCall("tooluse_1", "a"),
        Finish("tool_calls"),
    ]


def test_tool_run_by_bedrock_becomes_an_activity() -> None:
    result = {"toolResult": {"toolUseId": "tooluse_1"}}
    data = (
        tool_use(0, "search", '{"q":1}', type="server_tool_use"),
        event("contentBlockStart", contentBlockIndex=1, start=result),
        block_delta(1, toolResult=[{"text": "found"}]),
        block_stop(1),
    )
    assert decode(*data, message_stop()) == [Activity("search")]


def test_reasoning_and_unknown_events_are_dropped() -> None:
    assert (
        decode(
            block_delta(reasoningContent={"text": "Hm"}),
            block_delta(reasoningContent={"signature": "abc"}),
            block_delta(citation={"title": "A book"}),
            event("surprise", text="no"),
            event_with_payload("initial-response", b""),
            message_stop(),
        )
        == []
    )


def test_cache_tokens_are_part_of_the_prompt_tokens() -> None:
    data = metadata(5, 7, cacheReadInputTokens=100, cacheWriteInputTokens=20)
    assert decode(message_stop(), data) == [Usage(125, 7, 100)]


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("end_turn", []),
        ("stop_sequence", []),
        ("tool_use", []),
        ("max_tokens", [Finish("length")]),
        ("model_context_window_exceeded", [Finish("length")]),
        ("guardrail_intervened", [Finish("content_filter")]),
        ("content_filtered", [Finish("content_filter")]),
    ],
)
def test_stop_reason_decides_the_finish(reason: str, end: list[Event]) -> None:
    assert decode(HI_DELTA, message_stop(reason)) == ["Hi", *end]


@pytest.mark.parametrize("reason", ["malformed_tool_use", "malformed_model_output"])
def test_malformed_stop_reason_raises_a_protocol_error(reason: str) -> None:
    with pytest.raises(AgentProtocolError, match=f"broke off with {reason}"):
        decode(HI_DELTA, message_stop(reason))


def test_stream_is_done_after_usage_that_follows_the_end() -> None:
    decoder, seen = ConverseDecoder(), []
    for frame in EventStreamParser().feed(HI_DELTA + message_stop() + metadata(1, 2)):
        decoder.feed(frame)
        seen.append((decoder.state is AnswerState.ENDED, decoder.done))
    assert seen == [(False, False), (True, False), (True, True)]


def test_text_after_the_end_is_skipped() -> None:
    assert decode(HI_DELTA, message_stop(), block_delta(text="again"), metadata(1, 2)) == ["Hi", Usage(1, 2)]


def test_usage_may_come_before_the_end() -> None:
    decoder, seen = ConverseDecoder(), []
    for frame in EventStreamParser().feed(metadata(1, 2) + message_stop()):
        decoder.feed(frame)
        seen.append((decoder.state is AnswerState.ENDED, decoder.done))
    assert seen == [(False, False), (True, True)]


@pytest.mark.parametrize("data", [b"", HI_DELTA, START + HI_DELTA + block_stop()])
def test_stream_that_ends_before_the_answer_raises_a_protocol_error(data: bytes) -> None:
    with pytest.raises(AgentProtocolError, match="ended in the middle of an answer"):
        decode(data)


@pytest.mark.parametrize(
    ("data", "kind", "summary", "quote"),
    [
        (THROTTLED, AgentBusy, "the server reported an error (throttlingException)", "slow down"),
        (
            exception_message("validationException", "bad  model"),
            AgentRejected,
            "the server reported an error (validationException)",
            "bad model",
        ),
        (
            exception_message("serviceUnavailableException", ""),
            AgentBusy,
            "the server reported an error (serviceUnavailableException)",
            "",
        ),
        (
            exception_message("internalServerException", "oh"),
            AgentError,
            "the server reported an error (internalServerException)",
            "oh",
        ),
        (
            exception_message("modelStreamErrorException", "oh"),
            AgentError,
            "the server reported an error (modelStreamErrorException)",
            "oh",
        ),
        (
            exception_message("modelTimeoutException", "x" * 400),
            AgentTimeout,
            "the server reported an error (modelTimeoutException)",
            "x" * 300,
        ),
        (
            string_message({":message-type": "exception"}, b"oh"),
            AgentError,
            "the server reported an error",
            "",
        ),
        (
            string_message({":message-type": "exception", ":exception-type": "a b"}, b'{"message": 5}'),
            AgentError,
            "the server reported an error",
            "",
        ),
        (
            string_message(
                {":message-type": "error", ":error-code": "InternalError", ":error-message": "we broke"}
            ),
            AgentError,
            "the server reported an error (InternalError)",
            "we broke",
        ),
        (
            string_message(
                {":message-type": "error", ":error-code": "Throttling", ":error-message": " x" * 400}
            ),
            AgentBusy,
            "the server reported an error (Throttling)",
            "x " * 150,
        ),
        (string_message({":message-type": "error"}), AgentError, "the server reported an error", ""),
        (
            string_message({":message-type": "other"}),
            AgentProtocolError,
            "a message of an unknown type",
            "other",
        ),
        (
            string_message({":event-type": "messageStop"}),
            AgentProtocolError,
            "a message of an unknown type",
            "",
        ),
    ],
)
def test_reported_errors(data: bytes, kind: type[AgentError], summary: str, quote: str) -> None:
    with pytest.raises(AgentError) as raised:
        decode(HI_DELTA, data)
    assert (type(raised.value), raised.value.summary, raised.value.quote) == (kind, summary, quote)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (event_with_payload("contentBlockDelta", b"{"), "no JSON where an event should be"),
        (event_with_payload("contentBlockDelta", b"[]"), "an event that is no object but list"),
        (event_with_payload("contentBlockDelta", b"{}"), "unknown shape: KeyError"),
        (event_with_payload("contentBlockDelta", b'{"delta": "Hi"}'), "unknown shape: AttributeError"),
        (block_delta(text=5), "int where a string should be"),
        (event("contentBlockStart", start={"toolUse": {"type": "x"}}), "unknown shape: KeyError"),
        (event("contentBlockStart", start={"toolUse": {"name": 5}}), "int where a string should be"),
        (event("contentBlockStart", start={"toolUse": {"name": "a"}}), "unknown shape: KeyError"),
        (
            event("contentBlockStart", contentBlockIndex=[], start={"toolUse": {"name": "a"}}),
            "unknown shape: TypeError",
        ),
        (event("messageStop", stopReason=5), "int where a string should be"),
        (event("metadata", usage={"inputTokens": "x", "outputTokens": 1}), "unknown shape: ValueError"),
        (
            event_with_payload("metadata", b'{"usage": {"inputTokens": 1e999}}'),
            "no JSON where an event should be",
        ),
        (tool_use(0, "a", "[]"), "the arguments of a tool are no JSON object: a"),
        (tool_use(0, "a", '{"b"'), "the arguments of a tool are no JSON object: a"),
    ],
)
def test_wrong_event_raises_a_protocol_error(data: bytes, complaint: str) -> None:
    with pytest.raises(AgentProtocolError, match=complaint):
        decode(data)


@pytest.mark.parametrize(("text", "decoded"), [(rb"a\ud83d", "a\ud83d"), (rb"\ud83d!", "\ufffd!")])
def test_lone_surrogate_is_kept_only_where_the_next_delta_may_complete_it(text: bytes, decoded: str) -> None:
    payload = b'{"contentBlockIndex":0,"delta":{"text":"%b"}}' % text
    assert decode(event_with_payload("contentBlockDelta", payload), message_stop()) == [decoded]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ThrottlingException", "ThrottlingException"),
        ("ThrottlingException:http://internal.amazon.com/coral/", "ThrottlingException"),
        ("com.amazon.coral.service#UnrecognizedClientException", "UnrecognizedClientException"),
        ("", ""),
        ("no name", ""),
        ("x" * 81, ""),
    ],
)
def test_error_name_without_namespace_and_address(name: str, found: str) -> None:
    assert parse_error_name(name) == found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ThrottlingException", AgentBusy),
        ("throttlingException", AgentBusy),
        ("ModelNotReadyException", AgentBusy),
        ("ServiceQuotaExceededException", AgentBusy),
        ("ModelErrorException", AgentError),
        ("ModelTimeoutException", AgentTimeout),
        ("AccessDeniedException", AgentRejected),
        ("IncompleteSignature", AgentRejected),
        ("ConflictException", AgentProtocolError),
        ("", AgentProtocolError),
    ],
)
def test_error_name_decides_the_error(name: str, kind: type[AgentError]) -> None:
    assert error_class_for(name, AgentProtocolError) is kind


WORDS = [
    "contentBlockIndex",
    "delta",
    "start",
    "text",
    "toolUse",
    "name",
    "input",
    "toolUseId",
    "type",
    "stopReason",
    "usage",
    "inputTokens",
    "outputTokens",
    "message",
]
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
KINDS = ["contentBlockDelta", "contentBlockStart", "contentBlockStop", "messageStop", "metadata", "other"]
heads = st.fixed_dictionaries(
    {":message-type": st.sampled_from(["event"] * 5 + ["exception", "error", "x", 5, b""])},
    optional={":event-type": st.sampled_from(KINDS), ":exception-type": st.text(max_size=5) | st.integers()},
)


@given(st.lists(st.tuples(heads, st.binary(max_size=20) | json.map(orjson.dumps)), max_size=8))
def test_every_message_gives_events_or_an_agent_error(frames: list[tuple[dict[str, Any], bytes]]) -> None:
    decoder = ConverseDecoder()
    with suppress(AgentError):
        for headers, payload in frames:
            for said in decoder.feed(EventStreamMessage(headers, payload)):
                assert isinstance(said, str | ToolCall | Activity)
        for said in decoder.end():
            assert isinstance(said, Usage | Finish)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", WORDS)
def test_deep_nesting_gives_events_or_an_agent_error(kind: str, field: str) -> None:
    deep = b'{"%b": %b1%b}' % (field.encode(), b'{"a":' * 1000, b"}" * 1000)
    with suppress(AgentError):
        ConverseDecoder().feed(EventStreamMessage({":message-type": "event", ":event-type": kind}, deep))
    with suppress(AgentError):
        ConverseDecoder().feed(EventStreamMessage({":message-type": "exception"}, deep))
