"""Lines of a stream: what clients read is right, and all else is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.simulate.recording import Violation
from voicegw.simulate.sse_lint import MAX_LINE_SIZE, SseLint


def found(*pieces: bytes) -> list[bytes | str]:
    lint = SseLint()
    taken = [one for piece in pieces for one in lint.feed(piece)] + lint.flush()
    return [one.reason if isinstance(one, Violation) else one for one in taken]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: a\n\n",
        b"data:a\n\n",
        b"\xef\xbb\xbfdata: a\n\n",
        b"data: a\r\n\r\n",
        b": keep-alive\n\ndata: a\n\n",
        b":\ndata: a\n: in between\n\n\n\n",
    ],
)
def test_what_every_client_reads_is_right(stream: bytes) -> None:
    assert found(stream) == [b"a"]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"id: 1\ndata: a\n\n", "a line with id:, over which clients stumble"),
        (b"retry: 1\ndata: a\n\n", "a line with retry:, over which clients stumble"),
        (b"event: ping\ndata: a\n\n", "a line with event:, over which clients stumble"),
        (b"<html>\ndata: a\n\n", "a line that is neither data: nor a comment"),
        (b"\xff\xfe\x00\ndata: a\n\n", "a line that is neither data: nor a comment"),
        (b"data: a\n\ndata:\n\n", "an event with empty data"),
        (b"data: a\n\ndata: half", "the last event has no blank line after it"),
        (b"data: a\n\ndata: half\n", "the last event has no blank line after it"),
        (b"data: " + MAX_LINE_SIZE * b"x" + b"\n\ndata: a\n\n", f"a line of more than {MAX_LINE_SIZE} bytes"),
        (b": " + MAX_LINE_SIZE * b"x" + b"\n\ndata: a\n\n", f"a line of more than {MAX_LINE_SIZE} bytes"),
    ],
)
def test_everything_else_is_told_and_the_event_still_read(stream: bytes, why: str) -> None:
    told = found(stream)
    assert why in told
    assert b"a" in told


def test_an_event_of_two_lines_is_told_and_joined() -> None:
    assert found(b"data: a\ndata: b\n\n") == ["an event of more than one data: line", b"a\nb"]


def test_nothing_comes_after_the_end_but_blank_lines() -> None:
    assert found(b"data: [DONE]\n\n\n") == [b"[DONE]"]
    assert found(b"data: [DONE]\n\n: bye\n\n") == [b"[DONE]", "something came after [DONE]"]
    assert found(b"data: [DONE]\n\ndata: a\n\n") == [b"[DONE]", "something came after [DONE]"]


def test_a_line_without_an_end_is_not_kept() -> None:
    endless = 40 * [MAX_LINE_SIZE // 10 * b"x"]
    told = [f"a line of more than {MAX_LINE_SIZE} bytes", b"a"]
    assert found(b"data: ", *endless, b"\n", b"data: a\n\n") == told
    assert found(b"".join([b"data: ", *endless, b"\n", b"data: a\n\n"])) == told


PIECES = st.lists(
    st.sampled_from([b"data: ", b"a", b"\n", b"\r", b"\n\n", b":", b"id: 1", b"[DONE]", b"\xef\xbb\xbf"])
    | st.binary(max_size=4)
)


@given(PIECES, st.data())
def test_what_is_found_does_not_depend_on_the_cuts(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parts = [stream[at:to] for at, to in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert found(*parts) == found(stream)
