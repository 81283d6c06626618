"""Where requests end in the received bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.asgi.request_slices import find_slice_end, framing_error


@pytest.mark.parametrize(
    ("data", "start", "max_bytes", "end"),
    [
        (b"a\r\n\r\nb", 0, 100, 5),
        (b"a\r\n\r\nb", 5, 100, 6),
        (b"a\r\n\r\nb\r\n\r\n", 5, 100, 10),
        (b"abcdef", 0, 4, 4),
        (b"abc\r\n\r\nd", 0, 4, 7),
        (b"abc\r\n\rd", 0, 4, 3),
        (b"a\r", 0, 100, 1),
        (b"a\r\n", 0, 100, 1),
        (b"a\r\n\r", 0, 100, 1),
        (b"\r\n", 0, 100, 0),
        (b"a\r\r\n\n", 0, 100, 5),
    ],
)
def test_a_slice_ends_behind_an_empty_line(data: bytes, start: int, max_bytes: int, end: int) -> None:
    assert find_slice_end(data, start, max_bytes) == end


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\r\n\r\n"])), st.integers(4, 9), st.data())
def test_slices_end_where_empty_lines_end_wherever_the_data_is_cut(
    parts: list[bytes], max_bytes: int, draw: st.DataObject
) -> None:
    whole = b"".join(parts)
    cut = draw.draw(st.integers(0, len(whole)))
    ends, at = set[int](), 0
    for received in (whole[:cut], whole):
        while at < len(received) and (end := find_slice_end(received, at, max_bytes)) > at:
            ends.add(end)
            at = end
    found, expected = -4, set[int]()
    while (found := whole.find(b"\r\n\r\n", found + 4)) >= 0:
        expected.add(found + 4)
    assert expected <= ends
    assert len(whole) - at < 4, "everything else was in a slice"


@pytest.mark.parametrize(
    ("version", "codings", "is_refused"),
    [
        ("1.1", [], False),
        ("1.1", [b"chunked"], False),
        ("1.0", [], False),
        ("1.0", [b"chunked"], True),
        ("1.1", [b"gzip, chunked"], True),
        ("1.1", [b"", b"chunked"], True),
        ("0.9", [], True),
        ("2.0", [], True),
    ],
)
def test_framing_that_proxies_may_read_differently_is_refused(
    version: str, codings: list[bytes], is_refused: bool
) -> None:
    assert (framing_error(version, codings) is not None) is is_refused
