"""JSON with lone surrogates."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.wire.json import (
    MAX_VALUES,
    TooManyValues,
    dumps,
    join_surrogates,
    loads,
    loads_lossy,
    loads_object,
    loads_piece,
)

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


@pytest.mark.parametrize(
    ("data", "parsed"),
    [
        (rb'{"a": "Hi"}', {"a": "Hi"}),
        (rb'"Mr \ud842"', "Mr \ud842"),
        (rb'"\uDFB7 Li"', "\udfb7 Li"),
        (rb'["\udfb7\ud842", "x"]', ["\udfb7\ud842", "x"]),
        (rb'"\ud842 x \udfb7"', "\ufffd x \ufffd"),
        (rb'"\ud842\ud842\udfb7\ud842"', "\ufffd\U00020bb7\ud842"),
        (rb'"\\ud842\\\ud842"', "\\ud842\\\ud842"),
        (b'\xef\xbb\xbf["\\ud842"]', ["\ud842"]),
    ],
)
def test_half_at_the_edge_of_a_string_is_kept(data: bytes, parsed: object) -> None:
    assert loads_piece(data) == parsed


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'["\\ud842", NaN]', b'"\0\\ud842"', rb'["\ud842"', b"[" * 5000]
)
def test_invalid_piece_is_rejected(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads_piece(data)


def test_piece_that_is_nested_too_deep_for_halves_loses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr(json, "loads", fail)
    assert loads_piece(rb'["\ud842"]') == ["\ufffd"]


@pytest.mark.parametrize(
    ("data", "parsed"),
    [
        (b'"a\xffb"', "a\ufffdb"),
        (b'"\xf0\x9f six"', "\ufffd six"),
        (b'\xef\xbb\xbf"\xff"', "\ufffd"),
        (b'"\xff\\ud83d"', "\ufffd\ufffd"),
        (b'"\xc3\xa9"', "\xe9"),
    ],
)
def test_invalid_bytes_of_an_agent_become_replacement_characters(data: bytes, parsed: str) -> None:
    assert loads_lossy(data) == parsed
    assert loads_piece(data) in (parsed, "\ufffd\ud83d")
    with pytest.raises(ValueError, match=r"."):
        loads_lossy(b'{"a": ' + data)


@pytest.mark.parametrize(
    "many",
    [
        b",".join([b'""'] * MAX_VALUES),
        b",".join([b'""'] * 3 * MAX_VALUES),
        b",".join([b"[]"] * (MAX_VALUES // 2 + 1)) + b" " * MAX_VALUES,
        b",".join([b'{"a": 1}'] * (MAX_VALUES // 2)),
        b",".join([b"1"] * MAX_VALUES),
        b",".join([b'"\\\\", "\\"[,"'] * (MAX_VALUES // 2)),
        b",".join([b'"' + b"," * 9 + b'"'] * MAX_VALUES),
        b"[" * 3 * MAX_VALUES,
    ],
)
def test_document_of_a_client_with_too_many_values_is_rejected(many: bytes) -> None:
    with pytest.raises(TooManyValues):
        loads(b"[" + many + b"]")


@pytest.mark.parametrize(
    "text", [b"a,[{" * MAX_VALUES, rb"\\,[{" * MAX_VALUES, rb"\",\"[" * MAX_VALUES, b"a" * 4 * MAX_VALUES]
)
def test_punctuation_in_strings_is_no_value(text: bytes) -> None:
    document = b'{"a": ["' + text + b'", "' + text + b'"], "b": [{}, 1]}'
    assert loads(document) == json.loads(document)


def test_large_document_of_few_values_is_parsed() -> None:
    values = [{"a": "b,c", "d": [1, None]}] * (MAX_VALUES // 6)
    assert loads(json.dumps(values, indent=8).encode()) == values


@given(st.text(st.sampled_from('a\\"\U00020bb7é')), st.data())
def test_cut_between_any_two_utf_16_units_is_undone(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le")
    cut = 2 * data.draw(st.integers(0, len(units) // 2))
    pieces = [part.decode("utf-16-le", "surrogatepass") for part in (units[:cut], units[cut:])]
    assert join_surrogates("".join(loads_piece(json.dumps(piece).encode()) for piece in pieces)) == text


@given(st.text(st.sampled_from("a\ud842\udfb7\U00020bb7é")))
def test_joined_text_has_no_surrogates(text: str) -> None:
    expected = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert join_surrogates(text) == expected
    join_surrogates(text).encode()  # raises for a surrogate
