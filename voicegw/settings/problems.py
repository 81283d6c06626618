"""Describes the problems of a configuration file, one line each. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeAlias

from pydantic_core import ErrorDetails

Loc: TypeAlias = tuple[str | int, ...]
Problem: TypeAlias = tuple[Loc, str]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
REQUIREMENTS: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be a table",
    "missing": "is missing",
}
"""The requirement on a value, by the type of pydantic's error."""


RENAMED_KEYS: Mapping[str, str] = {
    "body_bytes": "max_body_bytes",
    "depth": "max_json_depth",
    "drain": "shutdown_grace",
    "fields": "extra_body",
    "grace": "disconnect_grace",
    "header_bytes": "max_header_bytes",
    "hold": "max_held_chars",
    "hold_for": "max_hold_seconds",
    "messages": "max_messages",
    "most": "max_calls",
    "most_sessions": "max_sessions",
    "pace": "chars_per_second",
    "repeatable": "idempotent",
    "reuse": "replay_window",
    "stop_within": "stop_timeout",
    "tries": "max_attempts",
}
"""Keys of versions before the first release, each with its present name, for the hint in an error."""


def describe(
    details: ErrorDetails, known_keys: Iterable[str] = (), requirements: Mapping[str, str] = REQUIREMENTS
) -> str:
    """Return one of pydantic's errors as a sentence.

    `known` are the keys of the section, for an unknown key. `must` maps patterns and error types to
    requirements.
    """
    context = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key{suggest(str(details['loc'][-1]), known_keys)}"
        case "literal_error":
            return f"must be {context['expected']}".replace("'", '"')
        case "value_error":
            return str(context["error"])
        case found:
            words = requirements.get(context.get("pattern", found))
            return words or details["msg"].replace("Input should be", "must be")


def format_key_path(loc: Loc) -> str:
    """Return a key as it is written in the file: `agents."gpt-4.1".fields[0]`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if BARE_KEY.fullmatch(part) else f".{json.dumps(part)}"
    return text.removeprefix(".")


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a hint with the known word that is most similar to `word`, or with all known words."""
    known = tuple(known)
    renamed = RENAMED_KEYS.get(word)
    near = [renamed] if renamed in known else get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are {quote_names(known)}"


def quote_names(names: Iterable[str]) -> str:
    """Return the names in quotation marks, separated by commas."""
    return ", ".join(f'"{name}"' for name in names)
