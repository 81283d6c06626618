"""What servers report as errors, in whatever shape, as errors of ours."""

from __future__ import annotations

from typing import Any

import orjson

from voicegw.errors import AgentBusy, AgentError, AgentTimeout
from voicegw.wire.json import loads

REPORTED = "the server reported an error"
WORDS = 300
"""Characters of a server's own words that are kept."""


def error_from_body(body: bytes) -> AgentError:
    """The error that a server reports, as ours, with the server's own words (`WORDS` characters of them)."""
    try:
        said = loads(body)
    except ValueError:
        said = body.decode("utf-8", "replace")
    return error_from_object(said.get("error", said) if isinstance(said, dict) else said)


def error_from_object(error: Any) -> AgentError:
    """The same of an error that was parsed already."""
    kinds: tuple[Any, ...] = ()
    words = error
    if isinstance(error, dict):
        kinds = (error.get("type"), error.get("code"), error.get("status"))
        words = error.get("message") or error.get("detail") or error
    text = " ".join(quoted(words).split())[:WORDS]
    kind = " ".join(map(quoted, kinds)).lower()
    if any(mark in kind for mark in ("rate_limit", "overloaded", "unavailable", "429", "503")):
        return AgentBusy(REPORTED, text)
    if any(mark in kind for mark in ("timeout", "408", "504")):
        return AgentTimeout(REPORTED, text)
    return AgentError(REPORTED, text)


def quoted(said: Any) -> str:
    """What was said, as JSON where it is no text; "" where that is nested deeper than JSON is written."""
    if isinstance(said, str):
        return said
    try:
        return orjson.dumps(said).decode()
    except TypeError:
        return ""
