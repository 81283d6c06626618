"""The reader of chat completion streams: exact observations, and a violation for each flaw."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.api.chat_response import ChunkEncoder
from voicegw.events import ToolCall, Usage
from voicegw.simulate.chat_reader import MAX_VIOLATIONS, ChatReader
from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, TextHeard, Violation

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "desk"}
DONE = b"data: [DONE]\n\n"


def encode_chunk(**fields: Any) -> bytes:
    return b"data: " + json.dumps({**HEAD, **fields}).encode() + b"\n\n"


def choice_chunk(delta: Any, reason: Any = None, index: Any = 0) -> bytes:
    return encode_chunk(choices=[{"index": index, "delta": delta, "finish_reason": reason}])


def call_chunk(
    index: Any = 0, id: Any = "call_1", name: Any = "look", arguments: Any = "{}", **more: Any
) -> bytes:
    function = {"name": name, "arguments": arguments}
    return choice_chunk({"tool_calls": [{"index": index, "id": id, "function": function, **more}]})


STOP, CALLED = choice_chunk({}, "stop"), choice_chunk({}, "tool_calls")
HELLO = choice_chunk({"role": "assistant", "content": "Hello."})


def read(*stream: bytes) -> list[Observation]:
    reader = ChatReader({"look", "end"}, 3)
    return [one for piece in stream for one in reader.feed(piece)] + reader.flush()


def violations_in(*stream: bytes) -> list[tuple[str, str]]:
    return [(one.item, one.reason) for one in read(*stream) if isinstance(one, Violation)]


def test_our_own_stream_gives_exact_observations() -> None:
    chunks = ChunkEncoder("chatcmpl-1", "desk", 1, include_usage=True)
    stream = [
        chunks.start("One moment. "),
        chunks.keepalive,
        chunks.text_delta("Good day."),
        chunks.tool_call(ToolCall("call_1", "look", '{"at":1}')),
        chunks.tool_call(ToolCall("call_2", "end")),
        chunks.finish("tool_calls", Usage(1, 2), "took 3 ms"),
    ]
    assert read(*stream) == [
        TextHeard(3, "One moment. "),
        TextHeard(3, "Good day."),
        ActionSeen(3, "look", '{"at":1}', "call_1"),
        ActionSeen(3, "end", "{}", "call_2"),
        AnswerEnded(3),
    ]


def test_tool_call_fragments_are_joined() -> None:
    first = call_chunk(arguments="", type="function")
    more = [call_chunk(id=None, name=None, arguments=piece) for piece in ('{"a"', ":1}")]
    assert read(first, *more, CALLED, DONE) == [ActionSeen(3, "look", '{"a":1}', "call_1"), AnswerEnded(3)]


@pytest.mark.parametrize("stream", [(HELLO, STOP), (HELLO, STOP, b"\n")])
def test_answer_with_finish_reason_but_without_done_has_ended(stream: tuple[bytes, ...]) -> None:
    assert read(*stream) == [
        TextHeard(3, "Hello."),
        Violation("done", "the body ended without [DONE]"),
        AnswerEnded(3),
    ]


def test_answer_without_finish_reason_has_not_ended() -> None:
    assert read(HELLO) == [
        TextHeard(3, "Hello."),
        Violation("done", "the body ended without [DONE]"),
        Violation("finish", "no chunk has a finish_reason"),
    ]


@pytest.mark.parametrize(
    ("stream", "item", "reason"),
    [
        ((b"data: {\n\n", HELLO, STOP, DONE), "chunks", "an event that is not JSON"),
        ((b'data: "\xff"\n\n', HELLO, STOP, DONE), "chunks", "an event that is not JSON"),
        ((b"data: 1\n\n", HELLO, STOP, DONE), "chunks", "an event that is not a JSON object"),
        ((encode_chunk(choices={}), HELLO, STOP, DONE), "chunks", "choices is not an array"),
        ((encode_chunk(choices=[1]), HELLO, STOP, DONE), "chunks", "choices[] is not an object"),
        (
            (encode_chunk(choices=[], id=""), HELLO, STOP, DONE),
            "chunks",
            "id is missing or has a wrong type or value",
        ),
        (
            (encode_chunk(choices=[], created=True), STOP, DONE),
            "chunks",
            "created is missing or has a wrong type or value",
        ),
        (
            (encode_chunk(choices=[], object="x"), STOP, DONE),
            "chunks",
            "object is missing or has a wrong type or value",
        ),
        (
            (encode_chunk(choices=[], model=None), STOP, DONE),
            "chunks",
            "model is missing or has a wrong type or value",
        ),
        ((HELLO, encode_chunk(choices=[], id="2"), STOP, DONE), "chunks", "id changes within the answer"),
        (
            (HELLO, encode_chunk(choices=[], created=2), STOP, DONE),
            "chunks",
            "created changes within the answer",
        ),
        ((choice_chunk({"content": "Hi"}, index=1), STOP, DONE), "chunks", "choices[].index is not 0"),
        ((choice_chunk({"content": "Hi"}, index=False), STOP, DONE), "chunks", "choices[].index is not 0"),
        ((choice_chunk(None), HELLO, STOP, DONE), "chunks", "choices[].delta is not an object"),
        ((choice_chunk({"content": ["Hi"]}), STOP, DONE), "chunks", "delta.content is neither text nor null"),
        ((choice_chunk({"role": "user"}), STOP, DONE), "chunks", "delta.role is not 'assistant'"),
        ((HELLO, DONE), "finish", "no chunk has a finish_reason"),
        ((HELLO, STOP, STOP, DONE), "finish", "more than one chunk with a finish_reason"),
        ((HELLO, choice_chunk({}, "end_turn"), DONE), "finish", "an unknown finish_reason"),
        ((HELLO, choice_chunk({}, 7), DONE), "finish", "an unknown finish_reason"),
        ((HELLO, STOP, HELLO, DONE), "finish", "words after the chunk with the finish_reason"),
        ((call_chunk(), STOP, DONE), "finish", "finish_reason 'stop' though tools are called"),
        ((HELLO, CALLED, DONE), "finish", "finish_reason 'tool_calls' though no tool is called"),
        (
            (HELLO, call_chunk(), CALLED, call_chunk(1, "b"), DONE),
            "finish",
            "a tool call after the chunk with the",
        ),
        ((HELLO, STOP, DONE, HELLO), "done", "something came after [DONE]"),
        ((call_chunk(name="other"), CALLED, DONE), "tools", "the request offers no tool 'other'"),
        ((call_chunk(name=None), CALLED, DONE), "tools", "the request offers no tool ''"),
        ((call_chunk(id=None), CALLED, DONE), "tools", "each tool call needs its own id"),
        ((call_chunk(), call_chunk(1), CALLED, DONE), "tools", "each tool call needs its own id"),
        (
            (call_chunk(), call_chunk(2, "b"), CALLED, DONE),
            "tools",
            "tool_calls[].index does not count from 0",
        ),
        (
            (call_chunk(), call_chunk(None, "b"), CALLED, DONE),
            "tools",
            "tool_calls[].index does not count from 0",
        ),
        (
            (call_chunk(), call_chunk(-1, "b"), CALLED, DONE),
            "tools",
            "tool_calls[].index does not count from 0",
        ),
        (
            (call_chunk(arguments=""), CALLED, DONE),
            "tools",
            "the arguments of a tool call are not a JSON object",
        ),
        (
            (call_chunk(arguments="[]"), CALLED, DONE),
            "tools",
            "the arguments of a tool call are not a JSON object",
        ),
        (
            (call_chunk(arguments="{"), CALLED, DONE),
            "tools",
            "the arguments of a tool call are not a JSON object",
        ),
        (
            (call_chunk(), call_chunk(name=None, arguments=""), CALLED, DONE),
            "tools",
            "id or name of a tool call comes",
        ),
        ((call_chunk(type="custom"), CALLED, DONE), "tools", "tool_calls[].type is not 'function'"),
        (
            (call_chunk(), call_chunk(1, 7), CALLED, DONE),
            "tools",
            "id, name and arguments of a tool call must be text",
        ),
        ((choice_chunk({"tool_calls": {}}), HELLO, STOP, DONE), "tools", "delta.tool_calls is not an array"),
        (
            (choice_chunk({"tool_calls": [1]}), HELLO, STOP, DONE),
            "tools",
            "delta.tool_calls[] is not an object",
        ),
        ((choice_chunk({"function_call": {"name": "a"}}), STOP, DONE), "tools", "delta.function_call, which"),
        ((b"id: 1\n", HELLO, STOP, DONE), "lines", "a line with id:"),
    ],
)
def test_each_flaw_is_a_violation_of_its_check(stream: tuple[bytes, ...], item: str, reason: str) -> None:
    violations = violations_in(*stream)
    assert {entry for entry, _ in violations} == {item}
    assert any(words.startswith(reason) for _, words in violations)


def test_error_event_is_a_violation_and_the_answer_has_no_end() -> None:
    stream = (HELLO, b'data: {"error":{"message":"no"}}\n\n', STOP, DONE)
    assert violations_in(*stream) == [("chunks", "an error event, which ends the answer for every client")]
    assert AnswerEnded(3) not in read(*stream)


def test_same_violation_is_reported_once_and_different_ones_up_to_the_maximum() -> None:
    assert len(violations_in(*50 * [choice_chunk(None)], HELLO, STOP, DONE)) == 1
    many = [call_chunk(index, f"call_{index}", f"tool_{index}") for index in range(100)]
    assert len(violations_in(*many, CALLED, DONE)) == MAX_VIOLATIONS


def test_chunks_without_choices_or_with_empty_delta_have_no_flaw() -> None:
    assert read(
        encode_chunk(choices=[]), choice_chunk({}), HELLO, STOP, encode_chunk(choices=[], usage={}), DONE
    ) == [
        TextHeard(3, "Hello."),
        AnswerEnded(3),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *HEAD,
                    "choices",
                    "delta",
                    "index",
                    "content",
                    "tool_calls",
                    "function",
                    "arguments",
                    "error",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
GOOD = (HELLO, call_chunk(), call_chunk(1, "call_2", "end"), CALLED, STOP, DONE, b": idle\n\n")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A chunk with something else in one place."""
    chunk = json.loads(draw(st.sampled_from(GOOD[:5]))[6:])
    place: Any = chunk
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
            place = place[key]
        else:
            place[key] = draw(JSON)
            return b"data: " + json.dumps(chunk).encode() + b"\n\n"


STREAMS = st.lists(
    st.sampled_from(GOOD)
    | mutated()
    | JSON.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n")
    | st.binary(max_size=12),
    max_size=8,
)


@given(STREAMS, st.data())
def test_any_stream_is_read_the_same_wherever_it_is_split(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parts = [stream[at:to] for at, to in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*parts) == read(stream)


@given(st.lists(mutated(), min_size=1, max_size=3))
def test_violations_name_a_check_and_have_short_reasons(pieces: list[bytes]) -> None:
    for item, reason in violations_in(HELLO, *pieces, STOP, DONE):
        assert item in {"lines", "chunks", "finish", "done", "tools"}
        assert len(reason) < 100
