"""Values from the JSON that an agent's server sends, where their type is not certain.

Pure, and not a validator: each decoder knows which fields it needs and what it does without them.
"""

from __future__ import annotations

from typing import Any

from voicegw.errors import AgentProtocolError
from voicegw.wire.json import loads


def decode_object(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `data`; `what` names it in errors, such as "an event".

    Raises `AgentProtocolError` if `data` is no JSON, or JSON of another type.
    """
    try:
        value = loads(data)
    except ValueError as error:
        raise AgentProtocolError(f"no JSON where {what} should be: {error}") from None
    if type(value) is not dict:
        raise AgentProtocolError(f"{what} that is no object but {type(value).__name__}")
    return value


def text_or_empty(value: object) -> str:
    """Return `value` if it is a string, else ""."""
    return value if type(value) is str else ""


def count_or_zero(value: object) -> int:
    """Return `value` if it is an integer above zero, else 0. A boolean is no integer."""
    return max(0, value) if type(value) is int else 0
