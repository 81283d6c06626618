"""Events out of bytes, wherever they were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.errors import AgentProtocolError
from voicegw.wire.sse import BOM, ServerSentEvent, SseParser


def split(*pieces: bytes, limit: int = 4096) -> list[ServerSentEvent]:
    splitter = SseParser(limit)
    return [event for piece in pieces for event in splitter.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b'data: {"a":1}\n\n', [("", b'{"a":1}')]),
        (b"data:x\n\n", [("", b"x")]),
        (b"data:  x\n\n", [("", b" x")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"data\n\n", [("", b"")]),
        (b"data:\n\n", [("", b"")]),
        (b"event: error\ndata: x\n\ndata: y\n\n", [("error", b"x"), ("", b"y")]),
        (b"data: x\nevent: late\n\n", [("late", b"x")]),
        (b"event: ping\n\ndata: y\n\n", [("", b"y")]),
        (b": keep\n\n:\n\ndata: x\n\n", [("", b"x")]),
        (b": keep\ndata: x\n:again\n\n", [("", b"x")]),
        (b"id: 1\nretry: 5\ndata: x\nunknown\n\n", [("", b"x")]),
        (b"data: x\r\n\r\ndata: y\r\n\r\n", [("", b"x"), ("", b"y")]),
        (b"data: x\r\rdata: y\r\r", [("", b"x"), ("", b"y")]),
        (b"data: x\r\n\ndata: y\n\r\n", [("", b"x"), ("", b"y")]),
        (b"\xef\xbb\xbfdata: x\n\n", [("", b"x")]),
        (b"data: x\n\n\xef\xbb\xbfdata: y\n\n", [("", b"x")]),
        (b"\n\n\ndata: x\n\n\n\n\ndata: y\n\n", [("", b"x"), ("", b"y")]),
        ("data: é\u2028ü\u0085\n\n".encode(), [("", "é\u2028ü\u0085".encode())]),
        ("event: né\ndata: x\n\n".encode(), [("né", b"x")]),
        (b"data: x\n\ndata: never ended\n", [("", b"x")]),
        (b"", []),
    ],
)
def test_events_at_every_cut(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    assert split(stream) == events
    assert split(*(stream[i : i + 1] for i in range(len(stream)))) == events
    for cut in range(len(stream)):
        assert split(stream[:cut], b"", stream[cut:]) == events


lines = st.sampled_from([b"data: a", b"data:", b"event: e", b": c", b"", b"", b"x", BOM, b"data: \xc3\xa9"])
ends = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(lines, ends), max_size=20), st.data())
def test_the_cut_never_matters(parts: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    stream = b"".join(line + end for line, end in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert split(*pieces) == split(stream)


def test_an_event_at_the_limit_passes_and_one_byte_more_is_refused_at_every_cut() -> None:
    fits, too_long = b"data: " + b"x" * 10, b"data: " + b"x" * 11
    for cut in range(len(too_long) + 2):
        for block in (fits, too_long):
            stream = block + b"\n\n"
            pieces = (stream[:cut], stream[cut:])
            if block is fits:
                assert split(*pieces, limit=16) == [("", b"x" * 10)]
            else:
                with pytest.raises(AgentProtocolError, match="more than 16 bytes"):
                    split(*pieces, limit=16)


def test_an_event_that_never_ends_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(AgentProtocolError):
        split(*[b"x" * 100] * 11, limit=1000)


def test_line_ends_may_change_from_event_to_event() -> None:
    assert split(b"data: a\r\r", b"data: b\n\n", b"data: c\n", b"\n") == [("", b"a"), ("", b"b"), ("", b"c")]
