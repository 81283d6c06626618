"""Bytes become events, wherever they were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.errors import AgentProtocolError
from voicegw.wire.sse import BOM, MAX_BLANK_BYTES, ServerSentEvent, SseParser, starts_event_stream


def parse(*pieces: bytes, limit: int = 4096) -> list[ServerSentEvent]:
    parser = SseParser(limit)
    return [event for piece in pieces for event in parser.feed(piece)]


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
        (b"data: x\n\ndata: [DONE]\n", [("", b"x"), ("", b"[DONE]")]),
        (b"data: x\n\ndata:[DONE]", [("", b"x"), ("", b"[DONE]")]),
        (b"data: [DONE]\n\n", [("", b"[DONE]")]),
        (b"data: [DONE]\r\n: end\r\n\r\ndata: x\r\n\r\n", [("", b"[DONE]"), ("", b"x")]),
        (b'error: {"code":500}\n\n', [("error", b'{"code":500}')]),
        (b"", []),
    ],
)
def test_events_are_the_same_at_every_cut(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    assert parse(stream) == events
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == events
    for cut in range(len(stream)):
        assert parse(stream[:cut], b"", stream[cut:]) == events


lines = st.sampled_from([b"data: a", b"data:", b"event: e", b": c", b"", b"", b"x", BOM, b"data: \xc3\xa9"])
ends = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(lines, ends), max_size=20), st.data())
def test_cuts_do_not_change_the_events(parts: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    stream = b"".join(line + end for line, end in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*pieces) == parse(stream)


def test_limit_is_exact_at_every_cut() -> None:
    fits, too_long = b"data: " + b"x" * 10, b"data: " + b"x" * 11
    for cut in range(len(too_long) + 2):
        for block in (fits, too_long):
            stream = block + b"\n\n"
            pieces = (stream[:cut], stream[cut:])
            if block is fits:
                assert parse(*pieces, limit=16) == [("", b"x" * 10)]
            else:
                with pytest.raises(AgentProtocolError, match="more than 16 bytes"):
                    parse(*pieces, limit=16)


def test_endless_event_is_rejected() -> None:
    with pytest.raises(AgentProtocolError):
        parse(*[b"x" * 100] * 11, limit=1000)


def test_events_may_have_different_line_ends() -> None:
    assert parse(b"data: a\r\r", b"data: b\n\n", b"data: c\n", b"\n") == [("", b"a"), ("", b"b"), ("", b"c")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: x\n\n", True),
        (b"data:x\n\n", True),
        (b": keep\n\n", True),
        (b"event: a\ndata: x\n\n", True),
        (b"id: 1\n", True),
        (b"retry: 5\n", True),
        (b"\xef\xbb\xbf\r\n\n data: x\n\n", True),
        (b'{"data": 1}', False),
        (b"[1]", False),
        (b"<html>", False),
        (b"dates: x", False),
        (b"\xef\xbb{", False),
        (b" " * (MAX_BLANK_BYTES + 1), False),
        (b"", None),
        (b" \n", None),
        (b"\xef\xbb", None),
        (b"dat", None),
    ],
)
def test_first_bytes_tell_an_event_stream(body: bytes, expected: bool | None) -> None:
    answers = [starts_event_stream(body[:size]) for size in range(len(body) + 1)]
    decided = {answer for answer in answers if answer is not None}
    assert answers[-1] is expected
    assert decided <= {expected}, "more bytes never change a decision"
