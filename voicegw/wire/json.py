"""JSON that tolerates lone surrogates. Pure.

Half of an emoji, cut off by a client or an agent, is legal in Python strings and in JSON escapes, but not in
UTF-8, and a strict parser rejects the whole document. Here it becomes U+FFFD; nothing else changes. In a
stream the other half may come in the next piece: `loads_piece` keeps it, and `join_surrogates` joins both.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any

import orjson

codecs.lookup("utf-16-le")  # imports it now: later there may be no file descriptor for that
BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""
HIGH, LOW = rb"[89abAB][0-9a-fA-F]{2}", rb"[c-fC-F][0-9a-fA-F]{2}"
"""The last three digits of the escapes of the two halves of a character."""
LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:%b(?!\\u[dD]%b)|%b(?<!\\u[dD]%b\\u[dD]%b))" % (HIGH, LOW, LOW, HIGH, LOW)
)
"""The escape of a half without the other one, in JSON without escaped backslashes.

The common beginning lets the search skip other text at once."""
ESCAPED_BACKSLASH, PLACEHOLDER = rb"\\", b"\0\0"
"""An escaped backslash, and two bytes that no JSON holds."""
MAX_VALUES = 30_000
"""Values in one document of a client. To parse and check as many takes 20 ms; nothing else runs meanwhile."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""One half of a character beyond the basic plane."""


def _replace_lone_surrogates(
    data: bytes, replacement: bytes | Callable[[re.Match[bytes]], bytes] = rb"\\ufffd"
) -> bytes:
    """Replace the escapes of lone halves. Each escaped backslash is hidden meanwhile: a "u" may follow it."""
    if b"\0" in data:
        return data  # this is no JSON
    hidden = data.replace(ESCAPED_BACKSLASH, PLACEHOLDER)
    return LONE_SURROGATE.sub(replacement, hidden).replace(PLACEHOLDER, ESCAPED_BACKSLASH)


def _keep_half_at_edge(match: re.Match[bytes]) -> bytes:
    """Return the escape, or that of U+FFFD for a half that no neighbouring string can complete."""
    escape, data = match[0], match.string
    is_high = escape[3:4] in b"89abAB"
    is_at_edge = data[match.end() :][:1] == b'"' if is_high else data[: match.start()][-1:] == b'"'
    return escape if is_at_edge else rb"\ufffd"


def _replace_invalid_utf8(data: bytes) -> bytes:
    """Replace bytes that are no UTF-8 by U+FFFD, as event streams are decoded (WHATWG, 9.2.6)."""
    return data.decode("utf-8", "replace").encode()


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


class TooManyValues(ValueError):
    """A document of a client holds more than `MAX_VALUES` values."""


def loads(data: bytes) -> Any:
    """Return the JSON document of a client, with or without a byte order mark.

    Raise TooManyValues for one that would take long, and ValueError if it is not valid JSON.
    """
    if len(data) > 2 * MAX_VALUES and _has_too_many_values(data):
        raise TooManyValues(f"more than {MAX_VALUES} JSON values")
    return _loads(data)


def _has_too_many_values(data: bytes) -> bool:
    """Count the values by what separates them: a comma, or the beginning of a list or object.

    Raise nothing for invalid JSON: the parser does. It takes a tenth of the time of parsing.
    """
    if _count_separators(data) < MAX_VALUES:
        return False
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * MAX_VALUES:  # a value has two strings at most: its key and itself
        return True
    return _count_separators(b"".join(plain.split(b'"')[::2])) >= MAX_VALUES


def _count_separators(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _loads(data: bytes) -> Any:
    data = data.removeprefix(BOM)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        replaced = _replace_lone_surrogates(data)
        if replaced == data:
            raise
        return orjson.loads(replaced)


def loads_lossy(data: bytes) -> Any:
    """Return what `loads` returns, with U+FFFD for bytes that are no UTF-8. For agents, not for clients.

    Raise ValueError for invalid JSON. Models that cut characters into bytes send such bytes.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _loads(_replace_invalid_utf8(data))


def loads_piece(data: bytes) -> Any:
    """Return what `loads_lossy` returns, but keep a half of a surrogate pair at the edge of a string.

    It may be the end or the beginning of a text that streams in pieces. Raise ValueError for invalid JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        data = _replace_invalid_utf8(data).removeprefix(BOM)
    value = _loads(data)
    try:
        return json.loads(_replace_lone_surrogates(data, _keep_half_at_edge))
    except RecursionError:
        return value


def loads_object(data: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object in `data`; None if `data` is not JSON or is another JSON value."""
    try:
        value = loads(data.encode() if isinstance(data, str) else data)
    except ValueError:  # also UnicodeEncodeError, for a lone surrogate in a `str`
        return None
    return value if isinstance(value, dict) else None
