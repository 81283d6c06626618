"""What the bodies of web hooks say. Whose they are is checked before (`voicegw.wire.signatures`)."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from voicegw.errors import BadRequest
from voicegw.wire.json import loads
from voicegw.wire.relay import NUMBER

FIELDS = 500
"""Most fields of a form; Twilio sends a few dozen."""
ID = re.compile(r"[!-~]{1,128}")


def form(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form as pairs, in order. Raises `BadRequest`."""
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=FIELDS,
        )
    except ValueError:
        raise BadRequest("The body is not a form.") from None


def named(call: object) -> str:
    """The name of a call. Raises `BadRequest` if this cannot be one."""
    if not isinstance(call, str) or not ID.fullmatch(call):
        raise BadRequest("The request names no call.")
    return call


def transfer(handoff: str) -> str | None:
    """The number that the caller is to be put through to, out of what our codec left for this moment."""
    try:
        data = loads(handoff.encode())
    except ValueError:
        return None
    match data:
        case {"reasonCode": "transfer_call", "number": str(number)} if NUMBER.fullmatch(number):
            return number
    return None


def ended(body: bytes) -> str | None:
    """The call that is over by this event of Retell's, None if it tells something else.

    Raises `BadRequest` for what is no event. Older payloads have the call under `data`.
    """
    try:
        data = loads(body)
    except ValueError:
        raise BadRequest("The body is not JSON.") from None
    match data:
        case {"event": "call_ended" | "call_analyzed", "call": {"call_id": call}}:
            return named(call)
        case {"event": "call_ended" | "call_analyzed", "data": {"call_id": call}}:
            return named(call)
        case {"event": "call_ended" | "call_analyzed"}:
            return named(None)
        case {"event": str()}:
            return None
    raise BadRequest("The body names no event.")
