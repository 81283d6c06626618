"""Errors that a server reports in a body or an event, in any of the usual shapes.

Not the meaning of a status: that is `http_errors`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from voicegw.errors import AgentBusy, AgentError, AgentRejected, AgentTimeout
from voicegw.wire.json import loads_lossy

REPORTED_ERROR = "the server reported an error"
MAX_QUOTE_CHARS = 300
"""Characters of a server's own words that an error keeps."""
CODE = re.compile("[A-Za-z][A-Za-z_.]{0,79}")
"""A code that names an error. Digits, blanks and signs may be a caller's words."""
MAX_CODE_CHARS = 80
"""Characters of another code that an error keeps."""
MESSAGE_FIELDS = ("message", "detail", "msg")
"""Fields of an error with the server's own words."""
MAX_WRAPPINGS = 4
"""Wrappings around an error that are opened."""
KIND_FIELDS = ("type", "code", "status", "status_code")
"""Fields of an error that name its kind."""
BUSY_MARKS = ("rate_limit", "overloaded", "unavailable", "429", "503")
TIMEOUT_MARKS = ("timeout", "408", "504")
REJECTED_MARKS = ("authentication", "permission", "api_key", "model_not_found", "401", "403", "404")
"""Parts of those fields that stand for `AgentBusy`, `AgentTimeout` and `AgentRejected`."""
BUSY_PHRASES = (
    "rate limit",
    "rate_limit",
    "too many requests",
    "overloaded",
    "http 429",
    "code: 429",
    "http 503",
)
TIMEOUT_PHRASES = ("timeout", "timed out")
REJECTED_PHRASES = ("http 401", "code: 401", "http 403", "code: 403", "invalid api key", "unauthorized")
"""Parts of an error without such fields, with the same meaning."""
ERRORS_BY_MARKS: Mapping[type[AgentError], tuple[Sequence[str], Sequence[str]]] = {
    AgentBusy: (BUSY_MARKS, BUSY_PHRASES),
    AgentTimeout: (TIMEOUT_MARKS, TIMEOUT_PHRASES),
    AgentRejected: (REJECTED_MARKS, REJECTED_PHRASES),
}


def error_from_body(body: bytes) -> AgentError:
    """Return the error that a body reports, with at most `MAX_QUOTE_CHARS` of the server's own words.

    A body that is no JSON is itself the words; bytes that are no UTF-8 become U+FFFD.
    """
    try:
        decoded = loads_lossy(body)
    except ValueError:
        decoded = body.decode("utf-8", "replace")
    error = find_error(decoded)
    return error_from_object(decoded if error is None else error)


def find_error(value: Any) -> Any:
    """Return the error that a JSON value reports in any wrapping, for `error_from_object`; None for none.

    The wrappings are `{"error": ...}`, also nested or in a list, `{"errors": [...]}`, `{"object": "error"}`,
    `{"type": "error"}`, an object with a message and without an answer, and a bare text.
    """
    is_wrapped = False
    for _ in range(MAX_WRAPPINGS):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]
        elif isinstance(value, dict) and (inner := value.get("error") or value.get("errors")):
            is_wrapped = True
            if not isinstance(inner, dict | list) and (not isinstance(inner, str) or _has_message(value)):
                break  # the object around it says more, as in {"error": "Bad Request", "message": "no model"}
            value = inner
        else:
            break
    if is_wrapped or isinstance(value, str):
        return value or None
    if not isinstance(value, dict):
        return None
    is_named = "error" in (value.get("object"), value.get("type"))
    return value if is_named or ("choices" not in value and _has_message(value)) else None


def _has_message(value: dict[str, Any]) -> bool:
    return any(isinstance(value.get(name), str) for name in MESSAGE_FIELDS)


def error_from_object(error: Any) -> AgentError:
    """Return the error that a parsed `error` value reports: an object, or a text.

    Its `type`, `code` or `status` decides between `AgentBusy`, `AgentTimeout`, `AgentRejected` and plain
    `AgentError`; without these fields, its words do.
    """
    kinds: list[Any] = []
    words = error
    if isinstance(error, dict):
        kinds = [kind for name in KIND_FIELDS if (kind := error.get(name)) is not None]
        words = next((found for name in MESSAGE_FIELDS if (found := error.get(name))), error)
    quote = " ".join(to_text(words).split())[:MAX_QUOTE_CHARS]
    kind, text = " ".join(map(to_text, kinds)).lower(), "" if kinds else quote.lower()
    for error_class, (marks, phrases) in ERRORS_BY_MARKS.items():
        if any(mark in kind for mark in marks) or any(phrase in text for phrase in phrases):
            return error_class(REPORTED_ERROR, quote)
    return AgentError(REPORTED_ERROR, quote)


def describe_code(summary: str, code: str, unnamed: str, words: str = "") -> tuple[str, str]:
    """Return the summary and the quote of an error that a server names by a code.

    The summary ends with a code of letters only, such as `rate_limited`. Any other code may hold callers'
    words: it is quoted before the server's `words`, and the summary ends with `unnamed` instead.
    """
    if CODE.fullmatch(code):
        return f"{summary} {code}", words
    return f"{summary} {unnamed}", ": ".join(filter(None, (code[:MAX_CODE_CHARS], words)))[:MAX_QUOTE_CHARS]


def error_class_from_report(code: object, report: object) -> type[AgentError]:
    """Return the error for a failed run: `code` decides, else the `report`, which is an object or a text."""
    coded = type(error_from_object({"code": code, "message": "-"}))
    if coded is not AgentError:
        return coded
    reported = error_from_object(report)
    return type(reported) if type(reported) is not AgentError else type(error_from_object(reported.quote))


def to_text(value: Any) -> str:
    """Return a text as it is and any other value as JSON; "" if it is nested too deep to be written."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return ""
