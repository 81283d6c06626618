"""Bodies and their fields: what is read, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.errors import BadRequest
from voicegw.wire.validation import NULL, NUMBER, check_length, field, map_objects, parse_object, printable


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"a":[[1]]}'])
def test_a_body_is_an_object_that_is_not_too_deep(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_object(body, 2)
    assert parse_object(b'{"a":[1]}', 2) == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "kinds", "complaint"),
    [
        (True, NUMBER, "must be an integer or a number; it is a boolean"),
        ("1", (int,), "must be an integer; it is a string"),
        (None, (str, list), "must be a string or an array; it is null"),
        ({}, (bool, NULL), "must be a boolean; it is an object"),
    ],
)
def test_a_field_of_another_type_is_named(value: Any, kinds: tuple[type, ...], complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint) as refused:
        field({"x": value}, "x", *kinds, path="a.")
    assert refused.value.param == "a.x"


def test_a_field_that_may_be_null_may_be_missing() -> None:
    assert field({}, "x", str, NULL) is None
    with pytest.raises(BadRequest, match="it is missing"):
        field({}, "x", str)


def test_each_object_of_an_array_is_read_under_its_path() -> None:
    assert map_objects([{"a": 1}, {}], "x", lambda data, path: (data, path)) == [
        ({"a": 1}, "x[0]."),
        ({}, "x[1]."),
    ]
    with pytest.raises(BadRequest) as refused:
        map_objects([{}, 1], "x", lambda data, path: data)
    assert refused.value.param == "x[1]"


def test_lengths_and_names_are_bounded() -> None:
    assert check_length([1, 2], "x", 2) == [1, 2]
    with pytest.raises(BadRequest, match="at most 1 are allowed"):
        check_length([1, 2], "x", 1)
    assert printable("", "x", 3) == ""
    for name in ("abcd", "a\n"):
        with pytest.raises(BadRequest, match="at most 3 printable"):
            printable(name, "x", 3)
