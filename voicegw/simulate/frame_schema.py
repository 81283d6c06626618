"""The shapes of frames: which fields a frame has, and what fits each. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from voicegw.simulate.platform import shown

Fits: TypeAlias = Callable[[Any], bool]
Fields: TypeAlias = Mapping[str, tuple[Fits, bool]]
"""Field to what fits it, and whether it has to be there. Further fields are not judged."""


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def number(value: Any) -> bool:
    """A whole one; a bool is an int to Python, but not to JSON."""
    return type(value) is int


def count(value: Any) -> bool:
    """A whole number from 0."""
    return number(value) and value >= 0


def table(value: Any) -> bool:
    return isinstance(value, dict)


def matching(pattern: str) -> Fits:
    """A text of this pattern, and nothing more."""
    shape = re.compile(pattern)
    return lambda value: isinstance(value, str) and shape.fullmatch(value) is not None


def needs(**fields: Fits) -> dict[str, tuple[Fits, bool]]:
    """Fields that have to be there."""
    return {name: (fits, True) for name, fits in fields.items()}


def takes(**fields: Fits) -> dict[str, tuple[Fits, bool]]:
    """Fields that may be there."""
    return {name: (fits, False) for name, fits in fields.items()}


def misfit(frame: Mapping[str, Any], kind: Any, kinds: Mapping[str, Fields]) -> str | None:
    """Why this is no frame of that kind; None if it is one."""
    if not isinstance(kind, str) or kind not in kinds:
        return f"a frame of unknown type: {shown(kind)}"
    for name, (fits, needed) in kinds[kind].items():
        if name not in frame and needed:
            return f"{kind} without {name}"
        if name in frame and not fits(frame[name]):
            return f"{kind}: {name} does not fit: {shown(frame[name])}"
    return None
