"""The shapes of frames: what fits a field, and how a misfit is named."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.simulate.frame_schema import (
    FieldPredicate,
    is_count,
    is_boolean,
    matches,
    find_mismatch,
    required_fields,
    is_integer,
    is_object,
    optional_fields,
    is_text,
)

KINDS = {"text": required_fields(token=is_text) | optional_fields(last=is_boolean)}


@pytest.mark.parametrize(
    ("fits", "good", "bad"),
    [
        (is_text, ["", "a"], [None, 1, ["a"]]),
        (is_boolean, [True, False], [0, 1, None, "true"]),
        (is_integer, [0, -1, 10**30], [True, 1.0, "1", None]),
        (is_count, [0, 1], [-1, False, 0.0]),
        (is_object, [{}, {"a": 1}], [[], None, "{}"]),
        (matches("[0-9]+"), ["12"], ["", "12\n", "a12", 12, None]),
    ],
)
def test_what_fits_is_of_the_right_type(fits: FieldPredicate, good: list[Any], bad: list[Any]) -> None:
    assert [fits(value) for value in (*good, *bad)] == [True] * len(good) + [False] * len(bad)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ({"token": "a"}, None),
        ({"token": "a", "last": True, "more": {}}, None),
        ({"last": True}, "text without token"),
        ({"token": {}}, "text: token does not fit: an object"),
        ({"token": "a", "last": None}, "text: last does not fit: null"),
        ({"token": [1]}, "text: token does not fit: a list"),
    ],
)
def test_the_first_misfit_is_named(frame: dict[str, Any], why: str | None) -> None:
    assert find_mismatch(frame, "text", KINDS) == why


@pytest.mark.parametrize("kind", [None, 1, ["text"], {}, "texts", True])
def test_an_unknown_kind_is_one_whatever_it_is(kind: Any) -> None:
    why = find_mismatch({"token": "a"}, kind, KINDS)
    assert why is not None
    assert why.startswith("a frame of unknown type: ")
