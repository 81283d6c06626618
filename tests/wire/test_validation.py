"""Request bodies and their fields are checked, and errors name the field."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.errors import BadRequest
from voicegw.wire.json import MAX_VALUES
from voicegw.wire.validation import (
    NULL,
    NUMBER,
    check_length,
    check_printable,
    get_field,
    map_objects,
    parse_object,
)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"a":[[1]]}'])
def test_body_is_an_object_within_the_maximum_depth(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_object(body, 2)
    assert parse_object(b'{"a":[1]}', 2) == {"a": [1]}


@pytest.mark.parametrize(
    ("value", "kinds", "message"),
    [
        (True, NUMBER, "must be an integer or a number; it is a boolean"),
        ("1", (int,), "must be an integer; it is a string"),
        (None, (str, list), "must be a string or an array; it is null"),
        ({}, (bool, NULL), "must be a boolean; it is an object"),
    ],
)
def test_error_names_the_field_and_both_types(value: Any, kinds: tuple[type, ...], message: str) -> None:
    with pytest.raises(BadRequest, match=message) as caught:
        get_field({"x": value}, "x", *kinds, path="a.")
    assert caught.value.param == "a.x"


def test_nullable_field_may_be_missing() -> None:
    assert get_field({}, "x", str, NULL) is None
    with pytest.raises(BadRequest, match="it is missing"):
        get_field({}, "x", str)


def test_each_object_of_an_array_is_parsed_with_its_path() -> None:
    assert map_objects([{"a": 1}, {}], "x", lambda data, path: (data, path)) == [
        ({"a": 1}, "x[0]."),
        ({}, "x[1]."),
    ]
    with pytest.raises(BadRequest) as caught:
        map_objects([{}, 1], "x", lambda data, path: data)
    assert caught.value.param == "x[1]"


def test_lengths_and_names_are_limited() -> None:
    assert check_length([1, 2], "x", 2) == [1, 2]
    with pytest.raises(BadRequest, match="at most 1 are allowed"):
        check_length([1, 2], "x", 1)
    assert check_printable("", "x", 3) == ""
    for name in ("abcd", "a\n"):
        with pytest.raises(BadRequest, match="at most 3 printable"):
            check_printable(name, "x", 3)


def test_body_with_too_many_values_is_refused_with_the_limit() -> None:
    with pytest.raises(BadRequest, match=f"holds more than {MAX_VALUES} JSON values"):
        parse_object(b'{"a": [' + b'"",' * MAX_VALUES + b'""]}', 100)
