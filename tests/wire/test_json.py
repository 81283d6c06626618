"""JSON with half an emoji in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.wire.json import dumps, loads

HALF = "\ud83d"
SMILE = "\U0001f600"


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"a\udE00b"', "a\ufffdb"),
        (rb'"\ud83d\ude00"', SMILE),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd" + SMILE),
        (rb'"\\ud83d \ud83d"', "\\ud83d \ufffd"),
    ],
)
def test_a_lone_half_becomes_the_replacement_character(given_: bytes, read: str) -> None:
    assert loads(given_) == read


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a": NaN}', rb'{"a": "\ud83d"', b"[1,]"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(data)


def test_what_we_write_never_holds_a_lone_half() -> None:
    assert loads(dumps({"a": f"x{HALF}y", "b": f"{SMILE}"})) == {"a": "x\ufffdy", "b": SMILE}
    assert dumps("plain") == b'"plain"'
    assert dumps(f"\\ud83d{HALF}") == rb'"\\ud83d\ufffd"'


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_can_be_written_and_only_lone_halves_change(text: str) -> None:
    read = json.loads(dumps(text))
    assert read == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
