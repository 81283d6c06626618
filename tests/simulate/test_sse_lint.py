"""Lines of a stream: forms that all clients read are right, other forms are reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.simulate.recording import Violation
from voicegw.simulate.sse_lint import MAX_LINE_SIZE, SseLint


def lint_all(*pieces: bytes) -> list[bytes | str]:
    lint = SseLint()
    results = [one for piece in pieces for one in lint.feed(piece)] + lint.flush()
    return [one.reason if isinstance(one, Violation) else one for one in results]


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
def test_forms_that_all_clients_read_have_no_flaw(stream: bytes) -> None:
    assert lint_all(stream) == [b"a"]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"id: 1\ndata: a\n\n", "a line with id:, which some clients cannot read"),
        (b"retry: 1\ndata: a\n\n", "a line with retry:, which some clients cannot read"),
        (b"event: ping\ndata: a\n\n", "a line with event:, which some clients cannot read"),
        (b"<html>\ndata: a\n\n", "a line that is neither data: nor a comment"),
        (b"\xff\xfe\x00\ndata: a\n\n", "a line that is neither data: nor a comment"),
        (b"data: a\n\ndata:\n\n", "an event with empty data"),
        (b"data: a\n\ndata: half", "the last event has no blank line after it"),
        (b"data: a\n\ndata: half\n", "the last event has no blank line after it"),
        (b"data: " + MAX_LINE_SIZE * b"x" + b"\n\ndata: a\n\n", f"a line of more than {MAX_LINE_SIZE} bytes"),
        (b": " + MAX_LINE_SIZE * b"x" + b"\n\ndata: a\n\n", f"a line of more than {MAX_LINE_SIZE} bytes"),
    ],
)
def test_flawed_lines_are_reported_and_the_event_is_still_read(stream: bytes, reason: str) -> None:
    results = lint_all(stream)
    assert reason in results
    assert b"a" in results


def test_event_of_two_data_lines_is_reported_and_joined() -> None:
    assert lint_all(b"data: a\ndata: b\n\n") == ["an event of more than one data: line", b"a\nb"]


def test_only_blank_lines_may_follow_done() -> None:
    assert lint_all(b"data: [DONE]\n\n\n") == [b"[DONE]"]
    assert lint_all(b"data: [DONE]\n\n: bye\n\n") == [b"[DONE]", "something came after [DONE]"]
    assert lint_all(b"data: [DONE]\n\ndata: a\n\n") == [b"[DONE]", "something came after [DONE]"]


def test_line_without_an_end_is_dropped() -> None:
    endless = 40 * [MAX_LINE_SIZE // 10 * b"x"]
    results = [f"a line of more than {MAX_LINE_SIZE} bytes", b"a"]
    assert lint_all(b"data: ", *endless, b"\n", b"data: a\n\n") == results
    assert lint_all(b"".join([b"data: ", *endless, b"\n", b"data: a\n\n"])) == results


PIECES = st.lists(
    st.sampled_from([b"data: ", b"a", b"\n", b"\r", b"\n\n", b":", b"id: 1", b"[DONE]", b"\xef\xbb\xbf"])
    | st.binary(max_size=4)
)


@given(PIECES, st.data())
def test_results_do_not_depend_on_where_the_stream_is_split(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parts = [stream[at:to] for at, to in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert lint_all(*parts) == lint_all(stream)
