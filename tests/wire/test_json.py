"""JSON with lone surrogates."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.wire.json import dumps, loads, loads_object

LONE_SURROGATE = "\ud83d"
SMILE = "\U0001f600"


@pytest.mark.parametrize(
    ("data", "parsed"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"a\udE00b"', "a\ufffdb"),
        (rb'"\ud83d\ude00"', SMILE),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd" + SMILE),
        (rb'"\\ud83d \ud83d"', "\\ud83d \ufffd"),
    ],
)
def test_lone_surrogate_becomes_the_replacement_character(data: bytes, parsed: str) -> None:
    assert loads(data) == parsed


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a": NaN}', rb'{"a": "\ud83d"', b"[1,]"])
def test_invalid_json_is_rejected(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(data)


def test_output_never_holds_a_lone_surrogate() -> None:
    assert loads(dumps({"a": f"x{LONE_SURROGATE}y", "b": f"{SMILE}"})) == {"a": "x\ufffdy", "b": SMILE}
    assert dumps("plain") == b'"plain"'
    assert dumps(f"\\ud83d{LONE_SURROGATE}") == rb'"\\ud83d\ufffd"'


def test_value_that_is_not_json_is_rejected() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_is_encoded_and_only_lone_surrogates_change(text: str) -> None:
    parsed = json.loads(dumps(text))
    assert parsed == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize("data", ['{"a": [1]}', b'\xef\xbb\xbf{"a": [1]}'])
def test_an_object_is_read_from_text_and_bytes(data: str | bytes) -> None:
    assert loads_object(data) == {"a": [1]}


@pytest.mark.parametrize(
    "data", ["", b"", "{", b"\xff", "[]", b"null", "1", '"{}"', f'{{"a": "{LONE_SURROGATE}"}}', "[" * 5000]
)
def test_anything_but_an_object_is_none(data: str | bytes) -> None:
    assert loads_object(data) is None
