"""Schemas of frames: the fields of each frame type, and a predicate for each value. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from voicegw.simulate.platform import abbreviate

FieldPredicate: TypeAlias = Callable[[Any], bool]
FrameFields: TypeAlias = Mapping[str, tuple[FieldPredicate, bool]]
"""By field: the predicate for its value, and whether the field is required. Other fields are not checked."""


def is_text(value: Any) -> bool:
    """Is it a string?"""
    return isinstance(value, str)


def is_boolean(value: Any) -> bool:
    """Is it true or false?"""
    return isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """Is it an integer? A bool is an int in Python, but not in JSON."""
    return type(value) is int


def is_count(value: Any) -> bool:
    """Is it an integer of at least 0?"""
    return is_integer(value) and value >= 0


def is_object(value: Any) -> bool:
    """Is it a JSON object?"""
    return isinstance(value, dict)


def matches(pattern: str) -> FieldPredicate:
    """Return a predicate for text that matches `pattern` as a whole."""
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def required_fields(**fields: FieldPredicate) -> dict[str, tuple[FieldPredicate, bool]]:
    """Return a schema in which each of these fields is required."""
    return {name: (fits, True) for name, fits in fields.items()}


def optional_fields(**fields: FieldPredicate) -> dict[str, tuple[FieldPredicate, bool]]:
    """Return a schema in which each of these fields may be missing."""
    return {name: (fits, False) for name, fits in fields.items()}


def find_mismatch(
    frame: Mapping[str, Any], frame_type: Any, schemas: Mapping[str, FrameFields]
) -> str | None:
    """Return a sentence that says why `frame` is not a valid frame of `frame_type`; None if it is."""
    if not isinstance(frame_type, str) or frame_type not in schemas:
        return f"a frame of unknown type: {abbreviate(frame_type)}"
    for name, (fits, is_required) in schemas[frame_type].items():
        if name not in frame and is_required:
            return f"{frame_type} without {name}"
        if name in frame and not fits(frame[name]):
            return f"{frame_type}: {name} does not fit: {abbreviate(frame[name])}"
    return None
