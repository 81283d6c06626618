"""JSON that survives lone surrogates.

Half an emoji, cut off by some client or agent, is legal in Python strings and in JSON escapes, but not
in UTF-8, and a strict parser refuses the whole document for it. It becomes U+FFFD here, nothing else
changes.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

BOM = b"\xef\xbb\xbf"
ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""An escaped backslash, a whole surrogate pair, or a lone half; only the last is six bytes long."""


def _mend(data: bytes) -> bytes:
    return ESCAPES.sub(lambda found: rb"\ufffd" if len(found[0]) == 6 else found[0], data)


def dumps(value: Any) -> bytes:
    """Serialise; raises TypeError for what JSON cannot hold."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _mend(json.dumps(value, separators=(",", ":"), allow_nan=False).encode())


def loads(data: bytes) -> Any:
    """Parse, with or without a byte order mark; raises ValueError for what is no JSON."""
    data = data.removeprefix(BOM)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        mended = _mend(data)
        if mended == data:
            raise
        return orjson.loads(mended)
