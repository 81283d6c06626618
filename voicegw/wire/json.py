"""JSON that tolerates lone surrogates. Pure.

Half of an emoji, cut off by a client or an agent, is legal in Python strings and in JSON escapes, but not in
UTF-8, and a strict parser rejects the whole document. Here it becomes U+FFFD; nothing else changes. In a
stream the other half may come in the next piece: `loads_piece` keeps it, and `join_surrogates` joins both.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""
SURROGATE_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""An escaped backslash, a surrogate pair, or a lone surrogate; only the last is six bytes long."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""One half of a character beyond the basic plane."""


def _replace_lone_surrogates(data: bytes) -> bytes:
    return SURROGATE_ESCAPES.sub(lambda match: rb"\ufffd" if len(match[0]) == 6 else match[0], data)


def _keep_half_at_edge(match: re.Match[bytes]) -> bytes:
    """Return the escape, or that of U+FFFD for a half that no neighbouring string can complete."""
    escape, data = match[0], match.string
    if len(escape) != 6:
        return escape
    is_high = escape[3:4] in b"89abAB"
    is_at_edge = data[match.end() :][:1] == b'"' if is_high else data[: match.start()][-1:] == b'"'
    return escape if is_at_edge else rb"\ufffd"


def join_surrogates(text: str) -> str:
    """Return the text with each pair of surrogates as one character, and U+FFFD for a lone one."""
    if SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def dumps(value: Any) -> bytes:
    """Return compact JSON as UTF-8.

    Raise TypeError for a value that is not JSON, and ValueError for a float that is not finite.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return _replace_lone_surrogates(json.dumps(value, separators=(",", ":"), allow_nan=False).encode())


def loads(data: bytes) -> Any:
    """Return the parsed JSON document, with or without a byte order mark.

    Raise ValueError if it is not valid JSON.
    """
    data = data.removeprefix(BOM)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        replaced = _replace_lone_surrogates(data)
        if replaced == data:
            raise
        return orjson.loads(replaced)


def loads_piece(data: bytes) -> Any:
    """Return what `loads` returns, but keep a half of a surrogate pair at the edge of a string.

    It may be the end or the beginning of a text that streams in pieces. Raise ValueError for invalid JSON.
    """
    data = data.removeprefix(BOM)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        value = loads(data)
    try:
        return json.loads(SURROGATE_ESCAPES.sub(_keep_half_at_edge, data))
    except RecursionError:
        return value


def loads_object(data: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object in `data`; None if `data` is not JSON or is another JSON value."""
    try:
        value = loads(data.encode() if isinstance(data, str) else data)
    except ValueError:  # also UnicodeEncodeError, for a lone surrogate in a `str`
        return None
    return value if isinstance(value, dict) else None
