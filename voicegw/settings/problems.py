"""What is wrong with a file, in words of ours: one line per problem. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeAlias

from pydantic_core import ErrorDetails

Loc: TypeAlias = tuple[str | int, ...]
Problem: TypeAlias = tuple[Loc, str]

BARE = re.compile(r"[A-Za-z0-9_-]+")
MUST: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be a table",
    "missing": "is missing",
}
"""What a value must be, by the type of pydantic's error."""


def told(details: ErrorDetails, known: Iterable[str] = (), must: Mapping[str, str] = MUST) -> str:
    """What pydantic found, in words. `known` are the keys of the table, `must` adds patterns to `MUST`."""
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key{nearest(str(details['loc'][-1]), known)}"
        case "literal_error":
            return f"must be {context['expected']}".replace("'", '"')
        case "value_error":
            return str(context["error"])
        case found:
            words = must.get(context.get("pattern", found))
            return words or details["msg"].replace("Input should be", "must be")


def dotted(loc: Loc) -> str:
    """A key as one would write it in the file: `agents."gpt-4.1".fields[0]`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if BARE.fullmatch(part) else f".{json.dumps(part)}"
    return text.removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was meant, perhaps, or all of them."""
    near = get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are {listed(known)}"


def listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
