"""Schemas of frames: predicates of fields, and sentences about mismatches."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.simulate.frame_schema import (
    FieldPredicate,
    find_mismatch,
    is_boolean,
    is_count,
    is_integer,
    is_object,
    is_text,
    matches,
    optional_fields,
    required_fields,
)

SCHEMAS = {"text": required_fields(token=is_text) | optional_fields(last=is_boolean)}


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
def test_predicates_accept_only_their_type(fits: FieldPredicate, good: list[Any], bad: list[Any]) -> None:
    assert [fits(value) for value in (*good, *bad)] == [True] * len(good) + [False] * len(bad)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"token": "a"}, None),
        ({"token": "a", "last": True, "more": {}}, None),
        ({"last": True}, "text without token"),
        ({"token": {}}, "text: token does not fit: an object"),
        ({"token": "a", "last": None}, "text: last does not fit: null"),
        ({"token": [1]}, "text: token does not fit: a list"),
    ],
)
def test_first_mismatch_is_reported(frame: dict[str, Any], reason: str | None) -> None:
    assert find_mismatch(frame, "text", SCHEMAS) == reason


@pytest.mark.parametrize("kind", [None, 1, ["text"], {}, "texts", True])
def test_unknown_frame_types_are_reported(kind: Any) -> None:
    reason = find_mismatch({"token": "a"}, kind, SCHEMAS)
    assert reason is not None
    assert reason.startswith("a frame of unknown type: ")
