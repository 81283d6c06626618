"""A stream of chunks: heard as it is meant, judged as the strictest client would, whatever it holds."""

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


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps({**HEAD, **fields}).encode() + b"\n\n"


def choice(delta: Any, reason: Any = None, index: Any = 0) -> bytes:
    return event(choices=[{"index": index, "delta": delta, "finish_reason": reason}])


def call(index: Any = 0, id: Any = "call_1", name: Any = "look", arguments: Any = "{}", **more: Any) -> bytes:
    function = {"name": name, "arguments": arguments}
    return choice({"tool_calls": [{"index": index, "id": id, "function": function, **more}]})


STOP, CALLED = choice({}, "stop"), choice({}, "tool_calls")
HELLO = choice({"role": "assistant", "content": "Hello."})


def heard(*stream: bytes) -> list[Observation]:
    reading = ChatReader({"look", "end"}, 3)
    return [one for piece in stream for one in reading.feed(piece)] + reading.flush()


def wrongs(*stream: bytes) -> list[tuple[str, str]]:
    return [(one.item, one.reason) for one in heard(*stream) if isinstance(one, Violation)]


def test_our_own_answers_are_heard_word_for_word() -> None:
    chunks = ChunkEncoder("chatcmpl-1", "desk", 1, usage=True)
    stream = [
        chunks.start("One moment. "),
        chunks.keepalive,
        chunks.text_delta("Good day."),
        chunks.tool_call(ToolCall("call_1", "look", '{"at":1}')),
        chunks.tool_call(ToolCall("call_2", "end")),
        chunks.finish("tool_calls", Usage(1, 2), "took 3 ms"),
    ]
    assert heard(*stream) == [
        TextHeard(3, "One moment. "),
        TextHeard(3, "Good day."),
        ActionSeen(3, "look", '{"at":1}', "call_1"),
        ActionSeen(3, "end", "{}", "call_2"),
        AnswerEnded(3),
    ]


def test_a_tool_call_in_fragments_is_one() -> None:
    first = call(arguments="", type="function")
    more = [call(id=None, name=None, arguments=piece) for piece in ('{"a"', ":1}")]
    assert heard(first, *more, CALLED, DONE) == [ActionSeen(3, "look", '{"a":1}', "call_1"), AnswerEnded(3)]


@pytest.mark.parametrize("stream", [(HELLO, STOP), (HELLO, STOP, b"\n")])
def test_an_answer_with_a_finish_chunk_and_no_done_has_an_end(stream: tuple[bytes, ...]) -> None:
    assert heard(*stream) == [TextHeard(3, "Hello."), Violation("done", "the body ended without [DONE]"), AnswerEnded(3)]


def test_an_answer_that_breaks_off_has_none() -> None:
    assert heard(HELLO) == [
        TextHeard(3, "Hello."),
        Violation("done", "the body ended without [DONE]"),
        Violation("finish", "no chunk has a finish_reason"),
    ]


@pytest.mark.parametrize(
    ("stream", "item", "why"),
    [
        ((b"data: {\n\n", HELLO, STOP, DONE), "chunks", "an event that is no JSON"),
        ((b'data: "\xff"\n\n', HELLO, STOP, DONE), "chunks", "an event that is no JSON"),
        ((b"data: 1\n\n", HELLO, STOP, DONE), "chunks", "an event that is no JSON object"),
        ((event(choices={}), HELLO, STOP, DONE), "chunks", "choices is no array"),
        ((event(choices=[1]), HELLO, STOP, DONE), "chunks", "choices[] is no object"),
        ((event(choices=[], id=""), HELLO, STOP, DONE), "chunks", "id is missing or not what it must be"),
        (
            (event(choices=[], created=True), STOP, DONE),
            "chunks",
            "created is missing or not what it must be",
        ),
        ((event(choices=[], object="x"), STOP, DONE), "chunks", "object is missing or not what it must be"),
        ((event(choices=[], model=None), STOP, DONE), "chunks", "model is missing or not what it must be"),
        ((HELLO, event(choices=[], id="2"), STOP, DONE), "chunks", "id changes within the answer"),
        ((HELLO, event(choices=[], created=2), STOP, DONE), "chunks", "created changes within the answer"),
        ((choice({"content": "Hi"}, index=1), STOP, DONE), "chunks", "choices[].index is not 0"),
        ((choice({"content": "Hi"}, index=False), STOP, DONE), "chunks", "choices[].index is not 0"),
        ((choice(None), HELLO, STOP, DONE), "chunks", "choices[].delta is no object"),
        ((choice({"content": ["Hi"]}), STOP, DONE), "chunks", "delta.content is neither text nor null"),
        ((choice({"role": "user"}), STOP, DONE), "chunks", "delta.role is not 'assistant'"),
        ((HELLO, DONE), "finish", "no chunk has a finish_reason"),
        ((HELLO, STOP, STOP, DONE), "finish", "more than one chunk with a finish_reason"),
        ((HELLO, choice({}, "end_turn"), DONE), "finish", "a finish_reason that nobody knows"),
        ((HELLO, choice({}, 7), DONE), "finish", "a finish_reason that nobody knows"),
        ((HELLO, STOP, HELLO, DONE), "finish", "words after the chunk with the finish_reason"),
        ((call(), STOP, DONE), "finish", "finish_reason 'stop' though tools are called"),
        ((HELLO, CALLED, DONE), "finish", "finish_reason 'tool_calls' though no tool is called"),
        ((HELLO, call(), CALLED, call(1, "b"), DONE), "finish", "a tool call after the chunk with the"),
        ((HELLO, STOP, DONE, HELLO), "done", "something came after [DONE]"),
        ((call(name="other"), CALLED, DONE), "tools", "the request offers no tool 'other'"),
        ((call(name=None), CALLED, DONE), "tools", "the request offers no tool ''"),
        ((call(id=None), CALLED, DONE), "tools", "tool calls need an id of their own"),
        ((call(), call(1), CALLED, DONE), "tools", "tool calls need an id of their own"),
        ((call(), call(2, "b"), CALLED, DONE), "tools", "tool_calls[].index does not count from 0"),
        ((call(), call(None, "b"), CALLED, DONE), "tools", "tool_calls[].index does not count from 0"),
        ((call(), call(-1, "b"), CALLED, DONE), "tools", "tool_calls[].index does not count from 0"),
        ((call(arguments=""), CALLED, DONE), "tools", "the arguments of a tool call are no JSON object"),
        ((call(arguments="[]"), CALLED, DONE), "tools", "the arguments of a tool call are no JSON object"),
        ((call(arguments="{"), CALLED, DONE), "tools", "the arguments of a tool call are no JSON object"),
        ((call(), call(name=None, arguments=""), CALLED, DONE), "tools", "id or name of a tool call comes"),
        ((call(type="custom"), CALLED, DONE), "tools", "tool_calls[].type is not 'function'"),
        ((call(), call(1, 7), CALLED, DONE), "tools", "id, name and arguments of a tool call must be text"),
        ((choice({"tool_calls": {}}), HELLO, STOP, DONE), "tools", "delta.tool_calls is no array"),
        ((choice({"tool_calls": [1]}), HELLO, STOP, DONE), "tools", "delta.tool_calls[] is no object"),
        ((choice({"function_call": {"name": "a"}}), STOP, DONE), "tools", "delta.function_call, which"),
        ((b"id: 1\n", HELLO, STOP, DONE), "lines", "a line with id:"),
    ],
)
def test_what_is_wrong_is_told_under_its_entry(stream: tuple[bytes, ...], item: str, why: str) -> None:
    told = wrongs(*stream)
    assert {entry for entry, _ in told} == {item}
    assert any(words.startswith(why) for _, words in told)


def test_an_error_event_ends_the_answer_for_every_client() -> None:
    stream = (HELLO, b'data: {"error":{"message":"no"}}\n\n', STOP, DONE)
    assert wrongs(*stream) == [("chunks", "an error event, which ends the answer for every client")]
    assert AnswerEnded(3) not in heard(*stream)


def test_the_same_wrong_is_told_once_and_many_different_ones_not_all() -> None:
    assert len(wrongs(*50 * [choice(None)], HELLO, STOP, DONE)) == 1
    many = [call(index, f"call_{index}", f"tool_{index}") for index in range(100)]
    assert len(wrongs(*many, CALLED, DONE)) == MAX_VIOLATIONS


def test_a_chunk_without_choices_and_one_with_an_empty_delta_are_right() -> None:
    assert heard(event(choices=[]), choice({}), HELLO, STOP, event(choices=[], usage={}), DONE) == [
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
GOOD = (HELLO, call(), call(1, "call_2", "end"), CALLED, STOP, DONE, b": idle\n\n")


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
def test_any_stream_is_heard_without_a_mistake_and_however_it_was_cut(
    pieces: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parts = [stream[at:to] for at, to in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert heard(*parts) == heard(stream)


@given(st.lists(mutated(), min_size=1, max_size=3))
def test_what_is_told_names_an_entry_of_the_checklist_shortly(pieces: list[bytes]) -> None:
    for item, why in wrongs(HELLO, *pieces, STOP, DONE):
        assert item in {"lines", "chunks", "finish", "done", "tools"}
        assert len(why) < 100
