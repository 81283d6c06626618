"""Errors that a server reports in a body or an event, in any of the usual shapes.

Not the meaning of a status: that is `http_errors`.
"""

from __future__ import annotations

from typing import Any

import orjson

from voicegw.errors import AgentBusy, AgentError, AgentTimeout
from voicegw.wire.json import loads

REPORTED_ERROR = "the server reported an error"
MAX_QUOTE_CHARS = 300
"""Characters of a server's own words that an error keeps."""


def error_from_body(body: bytes) -> AgentError:
    """Return the error that a body reports, with at most `MAX_QUOTE_CHARS` of the server's own words.

    A body that is no JSON is itself the words; bytes that are no UTF-8 become U+FFFD.
    """
    try:
        decoded = loads(body)
    except ValueError:
        decoded = body.decode("utf-8", "replace")
    return error_from_object(decoded.get("error", decoded) if isinstance(decoded, dict) else decoded)


def error_from_object(error: Any) -> AgentError:
    """Return the error that a parsed `error` value reports: an object, or a text.

    Its `type`, `code` or `status` decides between `AgentBusy`, `AgentTimeout` and plain `AgentError`.
    """
    kinds: tuple[Any, ...] = ()
    words = error
    if isinstance(error, dict):
        kinds = (error.get("type"), error.get("code"), error.get("status"))
        words = error.get("message") or error.get("detail") or error
    quote = " ".join(to_text(words).split())[:MAX_QUOTE_CHARS]
    kind = " ".join(map(to_text, kinds)).lower()
    if any(mark in kind for mark in ("rate_limit", "overloaded", "unavailable", "429", "503")):
        return AgentBusy(REPORTED_ERROR, quote)
    if any(mark in kind for mark in ("timeout", "408", "504")):
        return AgentTimeout(REPORTED_ERROR, quote)
    return AgentError(REPORTED_ERROR, quote)


def to_text(value: Any) -> str:
    """Return a text as it is and any other value as JSON; "" if it is nested too deep to be written."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return ""
