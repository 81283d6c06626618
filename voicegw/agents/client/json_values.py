"""Values from the JSON that an agent's server sends, where their type is not certain.

Pure, and not a validator: each decoder knows which fields it needs and what it does without them.
"""

from __future__ import annotations

from typing import Any

from voicegw.agents.client.error_body import error_from_object, find_error
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.wire.json import loads_piece


def decode_object(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `data`, as `loads_piece` does; `what` names it in errors, such as "an event".

    Raises `AgentProtocolError` if `data` is no JSON, or JSON of another type, and the error that it reports.
    """
    try:
        value = loads_piece(data)
    except ValueError as error:
        raise error_in_place(data, f"no JSON where {what} should be: {error}") from None
    if type(value) is not dict:
        raise error_in_place(data, f"{what} that is no object but {type(value).__name__}")
    return value


def error_in_place(data: bytes, summary: str, quote: str = "") -> AgentError:
    """Return the error that `data` reports, which came in the place of an object.

    It is an `AgentProtocolError` with `summary` if it reports none, and `quote`; or with its own words if it
    reports one of an unknown kind as a bare text.
    """
    try:
        value = loads_piece(data)
    except ValueError:
        value = data.decode("utf-8", "replace")
    reported = None if isinstance(value, dict) else find_error(value)
    if reported is None:
        return AgentProtocolError(summary, quote)
    error = error_from_object(reported)
    is_text_of_unknown_kind = isinstance(value, str) and type(error) is AgentError
    return AgentProtocolError(summary, error.quote) if is_text_of_unknown_kind else error


def error_in_value(value: object, where: str, problem: str) -> AgentError:
    """Return the error that a JSON value reports, else an `AgentProtocolError` with the `problem`.

    `where` names the server: it is the subject of `problem`, such as "started a run without an id".
    """
    reported = find_error(value) if isinstance(value, dict | list) else None
    if reported is None:
        return AgentProtocolError(f"{where} {problem}")
    error = error_from_object(reported)
    return type(error)(f"{where} reported an error", error.quote)


def text_or_empty(value: object) -> str:
    """Return `value` if it is a string, else ""."""
    return value if type(value) is str else ""


def count_or_zero(value: object) -> int:
    """Return `value` if it is an integer above zero, else 0. A boolean is no integer."""
    return max(0, value) if type(value) is int else 0
