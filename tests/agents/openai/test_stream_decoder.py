"""The decoder of a stream's bytes: texts that arrive together are one delta; no cut changes the answer."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.openai.test_decoder import delta, tool
from voicegw.agents.openai.decoder import ChatChunkDecoder
from voicegw.agents.openai.stream_decoder import ChatStreamDecoder
from voicegw.errors import AgentProtocolError
from voicegw.events import Event, Finish, ToolCall
from voicegw.wire.sse import SseParser

DONE = b"data: [DONE]\n\n"
PIECES = st.one_of(
    st.text(max_size=8).map(lambda text: delta(content=text)),
    st.just(delta(reasoning_content="hm")),
    st.just(delta(tool_calls=[tool(0, "a", "f", "{}")])),
    st.just({"usage": {"prompt_tokens": 3, "completion_tokens": 2}, "choices": []}),
)


def event(piece: object) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(piece)


def texts(*words: str) -> bytes:
    return b"".join(event(delta(content=word)) for word in words)


def feed_all(decoder: ChatStreamDecoder, pieces: list[bytes]) -> list[Event]:
    events = [event for piece in pieces for event in decoder.feed(piece)]
    if decoder.failure is not None:
        raise decoder.failure
    return [*events, *decoder.chunks.end()]


def join_texts(events: list[Event]) -> list[Event]:
    joined: list[Event] = []
    for one in events:
        if type(one) is str and joined and type(joined[-1]) is str:
            joined[-1] += one
        else:
            joined.append(one)
    return joined


def with_template() -> ChatStreamDecoder:
    """Return a decoder that knows the template of the stream's texts."""
    decoder = ChatStreamDecoder(ChatChunkDecoder("t1"))
    for word in ("One", " two", " three"):
        assert decoder.feed(texts(word)) == [word]
    return decoder


def test_texts_of_one_read_are_one_delta() -> None:
    assert ChatStreamDecoder(ChatChunkDecoder()).feed(texts("One", " two")) == ["One two"]
    assert with_template().feed(texts(" four", "\n", ' "five"', "é\\")) == [' four\n "five"é\\']


def test_text_before_other_events_of_its_read_comes_first() -> None:
    decoder = with_template()
    call = event(delta(tool_calls=[tool(0, "a", "f", "{}")]))
    data = texts(" four", " five") + call + texts("!") + event(delta("tool_calls")) + DONE
    assert [one for one in feed_all(decoder, [data]) if type(one) is str] == [" four five", "!"]
    assert decoder.chunks.end() == [Finish("tool_calls")]


def test_event_that_is_cut_is_completed_by_the_next_read() -> None:
    decoder, data = with_template(), texts(" four", " five")
    assert decoder.feed(data[:-7]) == [" four"]
    assert decoder.has_partial_event
    assert decoder.feed(data[-7:] + texts(" six")) == [" five six"]
    assert not decoder.has_partial_event


@pytest.mark.parametrize("literal", [b"7", b'""', b'"a" "b"', b"null"])
def test_chunk_without_text_between_texts_is_decoded_alone(literal: bytes) -> None:
    odd = event(delta(content="word")).replace(b'"word"', literal)
    decoder = with_template()
    events = decoder.feed(texts(" four") + odd + texts(" five"))
    assert "".join(map(str, events)) == (" four five" if literal in (b'""', b"null") else " four")
    assert (decoder.failure is None) == (literal in (b'""', b"null"))


def test_failure_takes_no_text_before_it_away() -> None:
    decoder = with_template()
    assert decoder.feed(texts(" four") + b"data: nonsense\n\n" + texts(" five")) == [" four"]
    assert isinstance(decoder.failure, AgentProtocolError)


def test_nothing_is_taken_after_the_end() -> None:
    decoder = with_template()
    assert decoder.feed(DONE) == []
    assert decoder.feed(texts(" four")) == []


def test_halves_of_a_character_in_two_texts_are_joined() -> None:
    high, low = event(delta(content="X")), event(delta(content="Y"))
    data = high.replace(b'"X"', b'"\\ud83d"') + low.replace(b'"Y"', b'"\\ude00"')
    assert with_template().feed(data) == ["\N{GRINNING FACE}"]


@given(st.lists(PIECES, max_size=20), st.lists(st.integers(1, 400), max_size=12))
def test_cuts_do_not_change_the_answer(pieces: list[object], sizes: list[int]) -> None:
    stream = texts("One", " two", " three") + b"".join(map(event, pieces)) + event(delta("stop")) + DONE
    decoder, parser = ChatChunkDecoder("t1"), SseParser()
    expected = [one for sse in parser.feed(stream) for one in decoder.feed(sse)]
    cuts, position = [], 0
    for size in sizes:
        cuts.append(stream[position : position + size])
        position += size
    cuts.append(stream[position:])
    events = feed_all(ChatStreamDecoder(ChatChunkDecoder("t1")), [cut for cut in cuts if cut])
    assert join_texts(events) == join_texts([*expected, *decoder.end()])
    assert not any(type(one) is ToolCall and one.arguments != "{}" for one in events)
