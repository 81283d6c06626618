"""Chunks and completions of all kinds of servers as events."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.finish_reasons import AnswerState
from voicegw.agents.openai.decoder import ChatChunkDecoder, decode_completion, decode_models
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentTimeout
from voicegw.events import REASONING, Activity, Event, Finish, ToolCall, Usage
from voicegw.wire.sse import ServerSentEvent, SseParser

DONE = ServerSentEvent("", b"[DONE]")


def delta(finish: Any = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def tool(
    index: int | None = None, id: str | None = None, name: str | None = None, arguments: Any = None
) -> Any:
    piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return {**piece, **({} if index is None else {"index": index}), **({} if id is None else {"id": id})}


def decode(*chunks: dict[str, Any] | ServerSentEvent) -> list[Event]:
    """Return all events but `REASONING`."""
    decoder = ChatChunkDecoder("t1")
    events: list[Event] = []
    for chunk in chunks:
        events += decoder.feed(
            chunk if isinstance(chunk, ServerSentEvent) else ServerSentEvent("", orjson.dumps(chunk))
        )
    return [event for event in events + decoder.end() if event != REASONING]


# The answer

USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        ([delta(role="assistant", content=""), delta(content="Hi"), delta("stop"), DONE], ["Hi", Finish()]),
        ([delta(role="assistant", content="Hi"), DONE], ["Hi"]),
        ([delta(content="Hi")], ["Hi"]),
        ([delta("stop", content="Hi")], ["Hi", Finish()]),
        ([delta("", content="Hi"), delta("length")], ["Hi", Finish("length")]),
        ([delta("content_filter")], [Finish("content_filter")]),
        ([delta("end_turn")], [Finish("stop")]),
        ([delta("null", content="Hi"), delta("MAX_TOKENS")], ["Hi", Finish("length")]),
        ([delta("tool_calls")], [Finish("stop")]),
        ([delta(content=None), delta(reasoning_content="hm", content=None), delta(reasoning="hm")], []),
        ([delta(refusal="No.", content=None)], ["No."]),
        ([delta(content=[{"type": "text", "text": "a"}, "b", {"type": "thinking"}])], ["ab"]),
        ([{"choices": [{"delta": None, "finish_reason": "stop"}]}], [Finish()]),
        ([{"choices": []}, {"choices": None}, {}], []),
        ([{"choices": [{}]}], []),
        ([delta("stop"), {"choices": [], "usage": USAGE}, DONE], [Usage(5, 7), Finish()]),
        ([{**delta("stop"), "usage": USAGE}], [Usage(5, 7), Finish()]),
        ([{**delta(content="a"), "usage": {"prompt_tokens": 5}}, {"usage": USAGE}], ["a", Usage(5, 7)]),
        ([{**delta(content="a"), "usage": None}], ["a"]),
        (
            [
                {
                    "usage": {
                        **USAGE,
                        "prompt_tokens_details": {"cached_tokens": 3},
                        "completion_tokens_details": {"reasoning_tokens": 2},
                    }
                }
            ],
            [Usage(5, 7, 3, 2)],
        ),
        ([{"usage": {"prompt_tokens_details": None, "prompt_tokens": None}}], [Usage()]),
        (
            [
                ServerSentEvent("ping", b"{}"),
                ServerSentEvent("message", orjson.dumps(delta(content="a"))),
                ServerSentEvent("x", b"[DONE]"),
            ],
            ["a"],
        ),
        ([ServerSentEvent("", b""), delta(content="a")], ["a"]),
        ([delta(content="a"), DONE, delta(content="late"), ServerSentEvent("error", b"late")], ["a"]),
    ],
)
def test_text_usage_and_finish(chunks: list[Any], events: list[Event]) -> None:
    assert decode(*chunks) == events


CALL_CHUNKS = [
    delta(tool_calls=[tool(0, "a", "f", "")]),
    delta(tool_calls=[tool(0, None, None, '{"x"')]),
    delta(tool_calls=[tool(0, arguments=":1}")]),
]


CHUNK_VARIANTS: list[Callable[[str], dict[str, Any]]] = [
    lambda text: delta(content=text),
    lambda text: delta(content=text, role="assistant"),
    lambda text: {"id": text, **delta(content=text)},
    lambda text: {**delta(content=text), "obfuscation": text[::-1]},
    lambda text: {**delta(content=text), "usage": {"prompt_tokens": 3}},
    lambda text: delta(content=None, refusal=text),
    lambda text: delta(content=text, refusal="No."),
    lambda text: delta(content=[{"type": "text", "text": text}]),
    lambda text: delta(content=text, tool_calls=[{"index": 0, "function": {"name": f"t{text}"}}]),
    lambda text: delta("stop", content=text),
]
TEXTS = st.one_of(
    st.sampled_from(["", ":", ",", "delta", "content", "choices", '":"', "\\", "stop"]), st.text()
)


@given(
    st.lists(st.tuples(st.sampled_from(CHUNK_VARIANTS), TEXTS), min_size=4, max_size=12),
    st.one_of(st.none(), st.sampled_from(CHUNK_VARIANTS)),
)
def test_events_of_a_chunk_do_not_depend_on_earlier_chunks(
    said: list[tuple[Callable[[str], dict[str, Any]], str]], only: Callable[[str], dict[str, Any]] | None
) -> None:
    decoder = ChatChunkDecoder("t1")
    for accent, text in said:
        sse = ServerSentEvent("", orjson.dumps((only or accent)(text)))
        fresh = ChatChunkDecoder("t1")
        assert [e for e in decoder.feed(sse) if type(e) is str] == [
            e for e in fresh.feed(sse) if type(e) is str
        ]
        assert (decoder.answer_end.reason, decoder._usage) == (
            fresh.answer_end.reason or decoder.answer_end.reason,
            fresh._usage or decoder._usage,
        )


@pytest.mark.parametrize(
    ("odd", "events"),
    [
        (b'{"choices":[{"delta":{"content":null}}]}', []),
        (b'{"choices":[{"delta":{"content":7}}]}', None),
        (b'{"choices":[{"delta":{"content":"a","content":"b"}}]}', ["b"]),
        (b'{"choices":[{"delta":{"content":"a}}]}', None),
        (b'{"choices":[{"delta":{"content":""}}]}', []),
    ],
)
def test_chunk_that_fits_the_template_without_text_is_decoded_whole(
    odd: bytes, events: list[Event] | None
) -> None:
    decoder = ChatChunkDecoder()
    for text in ("Hi", " there", "you"):
        assert decoder.feed(
            ServerSentEvent("", b'{"choices":[{"delta":{"content":%b}}]}' % orjson.dumps(text))
        ) == [text]
    if events is None:
        with pytest.raises(AgentProtocolError):
            decoder.feed(ServerSentEvent("", odd))
    else:
        assert decoder.feed(ServerSentEvent("", odd)) == events


def test_template_is_renewed_when_other_fields_change() -> None:
    decoder = ChatChunkDecoder()
    for created in range(3):
        for at in range(40):
            sse = ServerSentEvent("", orjson.dumps({"created": created, **delta(content=f"word {at}")}))
            assert decoder.feed(sse) == [f"word {at}"]
        assert decoder.template is not None
        assert decoder.template.chunk_head.startswith(b'{"created":%d,' % created)


def test_tool_call_pieces_beside_text_are_all_decoded() -> None:
    begins, ends = delta(tool_calls=[tool(0, "a", "f", '{"x":')]), delta(tool_calls=[tool(0, arguments="}")])
    words = ["One", " moment", ",", " please", "."]
    pieces = [delta(content=word, tool_calls=[tool(0, arguments="7")]) for word in words]
    assert decode(begins, *pieces, ends) == [*words, ToolCall("a", "f", '{"x":77777}')]


def test_text_after_done_or_in_another_event_is_skipped() -> None:
    chunk = orjson.dumps(delta(content="Hi"))
    decoder = ChatChunkDecoder()
    for _ in range(4):
        assert decoder.feed(ServerSentEvent("", chunk)) == ["Hi"]
    assert decoder.feed(ServerSentEvent("ping", chunk)) == []
    assert decoder.feed(ServerSentEvent("", b"[DONE]")) == []
    assert decoder.feed(ServerSentEvent("", chunk)) == []


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        ([*CALL_CHUNKS, delta("tool_calls")], [ToolCall("a", "f", '{"x":1}'), Finish("tool_calls")]),
        (CALL_CHUNKS, [ToolCall("a", "f", '{"x":1}')]),
        ([*CALL_CHUNKS, delta("stop")], [ToolCall("a", "f", '{"x":1}'), Finish("tool_calls")]),
        ([*CALL_CHUNKS, delta("length")], [ToolCall("a", "f", '{"x":1}'), Finish("length")]),
        ([delta(tool_calls=[tool(0, "a", "f")]), DONE], [ToolCall("a", "f", "{}")]),
        ([delta(tool_calls=[tool(0, "a", "f", " ")]), DONE], [ToolCall("a", "f", "{}")]),
        ([delta(tool_calls=[tool(0, "a", "f", {"x": 1})])], [ToolCall("a", "f", '{"x":1}')]),
        ([delta(tool_calls=[tool(0, None, "f")]), DONE], [ToolCall("t1_1", "f")]),
        (
            [delta(tool_calls=[tool(0, None, "f"), tool(1, "b", "g"), tool(2, "", "h")]), delta("stop")],
            [ToolCall("t1_1", "f"), ToolCall("b", "g"), ToolCall("t1_3", "h"), Finish("tool_calls")],
        ),
        (  # every call whole, at the same index
            [delta(tool_calls=[tool(0, "a", "f", "{}")]), delta(tool_calls=[tool(0, "b", "f", "{}")])],
            [ToolCall("a", "f"), ToolCall("b", "f")],
        ),
        (  # every piece with id and name
            [delta(tool_calls=[tool(0, "a", "f", "{")]), delta(tool_calls=[tool(0, "a", "f", "}")])],
            [ToolCall("a", "f")],
        ),
        (  # no index at all
            [delta(tool_calls=[tool(None, "a", "f", "{"), tool(arguments="}"), tool(None, "b", "g")]), DONE],
            [ToolCall("a", "f"), ToolCall("b", "g")],
        ),
        (  # neither index nor id
            [delta(tool_calls=[tool(name="f", arguments="{}"), tool(name="g", arguments="{}")])],
            [ToolCall("t1_1", "f"), ToolCall("t1_2", "g")],
        ),
        (
            [
                delta(function_call={"name": "f", "arguments": "{"}),
                delta(function_call={"arguments": "}"}),
                delta("function_call"),
            ],
            [ToolCall("t1_1", "f"), Finish("tool_calls")],
        ),
        (  # the call in both forms
            [
                delta(tool_calls=[tool(0, "a", "f", "{")], function_call={"name": "f", "arguments": "{"}),
                delta(tool_calls=[tool(0, arguments="}")], function_call={"arguments": "}"}),
            ],
            [ToolCall("a", "f")],
        ),
        ([delta(content="Wait"), *CALL_CHUNKS], ["Wait", ToolCall("a", "f", '{"x":1}')]),
    ],
)
def test_tool_calls_become_whole(chunks: list[Any], events: list[Event]) -> None:
    assert decode(*chunks) == events


def test_tool_calls_wait_for_the_end_of_the_stream() -> None:
    decoder = ChatChunkDecoder()
    for piece in (tool(0, "a", "f", "{}"), tool(1, "b", "g", "{}")):
        assert decoder.feed(ServerSentEvent("", orjson.dumps(delta("stop", tool_calls=[piece])))) == [
            REASONING
        ]
    assert decoder.feed(DONE) == []
    assert decoder.end() == [ToolCall("a", "f"), ToolCall("b", "g"), Finish("tool_calls")]


@pytest.mark.parametrize(
    ("last", "done", "state"),
    [
        (delta(content="b"), False, AnswerState.OPEN),
        (delta("stop"), False, AnswerState.ENDED),
        (DONE, True, AnswerState.ENDED),
    ],
)
def test_done_and_state(last: Any, done: bool, state: AnswerState) -> None:
    decoder = ChatChunkDecoder()
    for value in (delta(content="a"), last):
        decoder.feed(
            value if isinstance(value, ServerSentEvent) else ServerSentEvent("", orjson.dumps(value))
        )
    assert (decoder.done, decoder.answer_end.state) == (done, state)


@pytest.mark.parametrize(
    "chunk",
    [
        ServerSentEvent("", b"{"),
        ServerSentEvent("", b"[]"),
        ServerSentEvent("", b'"text"'),
        {"choices": {}, "usage": 1},
        {"choices": 1},
        {"choices": ["x"]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"delta": {}, "finish_reason": ["stop"]}]},
        delta(content=1),
        delta(content={"text": "x"}),
        delta(tool_calls=1),
        delta(tool_calls=["x"]),
        delta(tool_calls=[tool(0, "a", "f", 1)]),
        delta(tool_calls=[tool(0, "a", "f", "[]")]),
        delta(tool_calls=[tool(0, "a", "f", "{")]),
        delta(tool_calls=[tool(0, "a", None, "{}")]),
    ],
)
def test_wrong_chunk_raises_a_protocol_error(chunk: Any) -> None:
    with pytest.raises(AgentProtocolError):
        decode(chunk)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ({"message": "Too  many\nwords"}, AgentError, "Too many words"),
        ("plain text", AgentError, "plain text"),
        ({"message": "m", "type": "rate_limit_error"}, AgentBusy, "m"),
        ({"message": "m", "code": 429}, AgentBusy, "m"),
        ({"message": "m", "type": "overloaded_error"}, AgentBusy, "m"),
        ({"message": "m", "code": "timeout"}, AgentTimeout, "m"),
        ({"odd": 1}, AgentError, '{"odd":1}'),
        ({"message": "x" * 1000}, AgentError, "x" * 300),
    ],
)
def test_error_has_the_words_of_the_server(error: Any, kind: type[AgentError], words: str) -> None:
    for sse in (
        ServerSentEvent("", orjson.dumps({"error": error})),
        ServerSentEvent("error", orjson.dumps({"error": error})),
    ):
        with pytest.raises(AgentError) as raised:
            decode(sse)
        assert (type(raised.value), raised.value.quote) == (kind, words)


NAMES = ["choices", "delta", "message", "content", "tool_calls", "function", "function_call", "name", "index"]
NAMES += ["arguments", "id", "finish_reason", "error", "usage", "type", "text", "prompt_tokens_details"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "{}"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES), JSON).map(lambda it: delta(**it)),
        max_size=3,
    )
)
def test_every_chunk_gives_events_or_an_agent_error(chunks: list[dict[str, Any]]) -> None:
    with suppress(AgentError):
        assert all(isinstance(event, Event) for event in decode(*chunks))


@given(st.binary(max_size=20) | JSON.map(orjson.dumps))
def test_every_body_gives_events_or_an_agent_error(body: bytes) -> None:
    with suppress(AgentError):
        assert all(isinstance(event, Event) for event in decode_completion(body))


# An answer as one body


def test_completion() -> None:
    message = {
        "role": "assistant",
        "content": "Hi",
        "tool_calls": [tool(None, "a", "f", "{}"), tool(name="f")],
    }
    answer = {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": USAGE}
    assert decode_completion(orjson.dumps(answer), "t1") == [
        "Hi",
        ToolCall("a", "f"),
        ToolCall("t1_2", "f"),
        Usage(5, 7),
        Finish("tool_calls"),
    ]


def test_completion_with_a_function_call() -> None:
    message = {"content": None, "function_call": {"name": "f", "arguments": ""}}
    answer = {"choices": [{"message": message, "finish_reason": "function_call"}]}
    assert decode_completion(orjson.dumps(answer), "t1") == [ToolCall("t1_1", "f"), Finish("tool_calls")]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", b"[]", b'{"choices":[]}', b'{"choices":[{}]}', b'{"choices":[{"message":1}]}'],
)
def test_wrong_completion_raises_a_protocol_error(body: bytes) -> None:
    with pytest.raises(AgentProtocolError):
        decode_completion(body)


@pytest.mark.parametrize("error", ["full", {"message": "full"}])
def test_error_in_a_completion_is_raised(error: Any) -> None:
    with pytest.raises(AgentError, match="full"):
        decode_completion(orjson.dumps({"error": error}))


DEEP = b'{"error":' * 900 + b"1" + b"}" * 900


def test_deeply_nested_error_has_no_quote() -> None:
    for raises in (
        lambda: decode_completion(DEEP),
        lambda: ChatChunkDecoder().feed(ServerSentEvent("", DEEP)),
    ):
        with pytest.raises(AgentError, match=r"^the server reported an error$"):
            raises()


@pytest.mark.parametrize(("text", "decoded"), [(rb"Hi \ud83d", "Hi \ud83d"), (rb"\ud83d Hi", "\ufffd Hi")])
def test_lone_surrogate_is_kept_only_where_the_next_delta_may_complete_it(text: bytes, decoded: str) -> None:
    decoder = ChatChunkDecoder()
    chunk = ServerSentEvent("", b'{"choices":[{"delta":{"content":"%b"}}]}' % text)
    assert [decoder.feed(chunk) for _ in range(20)] == [[decoded]] * 20


def test_models_have_no_lone_surrogates() -> None:
    assert decode_models(rb'{"data":[{"id":"a\ud83d"}]}') == ("a\ufffd",)


# Both together


def test_every_cut_of_a_stream_gives_the_same_events() -> None:
    chunks = [
        delta(role="assistant", content="Hé"),
        *CALL_CHUNKS,
        delta("tool_calls"),
        {"choices": [], "usage": USAGE},
    ]
    stream = (
        b"".join(b"data: %b\n\n: keep\n\n" % orjson.dumps(chunk) for chunk in chunks) + b"data: [DONE]\n\n"
    )
    expected = ["Hé", ToolCall("a", "f", '{"x":1}'), Usage(5, 7), Finish("tool_calls")]
    for cut in range(len(stream)):
        splitter, decoder = SseParser(), ChatChunkDecoder()
        events = [
            e for part in (stream[:cut], stream[cut:]) for s in splitter.feed(part) for e in decoder.feed(s)
        ]
        events = [event for event in events if event != REASONING]
        assert decoder.done
        assert events + decoder.end() == expected


# Servers that are agents themselves


def decode_server_tools(*chunks: dict[str, Any]) -> list[Event]:
    decoder = ChatChunkDecoder("t1", server_runs_tools=True)
    return [
        event for chunk in chunks for event in decoder.feed(ServerSentEvent("", orjson.dumps(chunk)))
    ] + decoder.end()


def test_tools_run_by_the_server_become_activities() -> None:
    events = decode_server_tools(
        delta(content="a"),
        delta(tool_calls=[tool(0, "1", "f", "{")]),
        delta(tool_calls=[tool(0, None, None, "no json")]),
        delta(tool_calls=[tool(1, "2", "g", "{}"), tool(2, "3", None, "{}")]),
        delta(content="b"),
        delta("tool_calls"),
    )
    assert events == ["a", Activity("f"), REASONING, Activity("g"), REASONING, "b", Finish()]


def test_tools_of_a_completion_run_by_the_server_become_activities() -> None:
    message = {"content": "a", "tool_calls": [tool(None, "1", "f", "{}")]}
    body = orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert decode_completion(body, server_runs_tools=True) == ["a", Activity("f"), Finish()]


def test_finish_reason_error_is_raised() -> None:
    with pytest.raises(AgentError, match=r"^the server reported an error$"):
        decode(delta(content="a"), delta("error"))


def test_answer_may_end_without_a_reason() -> None:
    assert decode(delta(content="a"), DONE) == ["a"]


def test_model_list() -> None:
    assert decode_models(b'{"object":"list","data":[{"id":"root"},{"id":"clerk"}]}') == ("root", "clerk")
    for body in (b"[]", b"{}", b'{"data":5}', b'{"data":[5]}', b'{"data":[{}]}', b"no"):
        with pytest.raises(AgentProtocolError):
            decode_models(body)
