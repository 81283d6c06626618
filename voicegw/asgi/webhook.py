"""The web hooks of voice platforms: a call comes in, a call is over. Every request proves whose it is."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voicegw.asgi.context import RequestContext
from voicegw.asgi.error_response import error_response
from voicegw.errors import BadRequest, MethodNotAllowed, RequestError, VoicegwError
from voicegw.telemetry.turn_log import TurnLog

log = logging.getLogger("voicegw.error")

Respond: TypeAlias = Callable[[Scope, Receive], Awaitable[Response]]

MAX_BODY_BYTES = 65_536
"""Bytes of a body; what platforms send has a few thousand."""


class Webhook:
    """One web hook as a bare ASGI application behind the entrance."""

    def __init__(self, respond: Respond, turn_log: TurnLog) -> None:
        self.respond = respond
        self.turn_log = turn_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: RequestContext = scope["voicegw"]
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed("Use POST.")
            response = await self.respond(scope, receive)
            response.headers["x-request-id"] = visit.id
        except RequestError as failure:
            self.turn_log.refusal(failure, visit.id, visit.client)
            response = error_response(failure, visit.id)
        except Exception:
            log.exception("request %s failed", visit.id)
            response = error_response(VoicegwError(), visit.id)
        await response(scope, receive, send)


def require_content_type(wanted: bytes, headers: Mapping[bytes, bytes]) -> None:
    kind, _, _ = headers.get(b"content-type", b"").partition(b";")
    if kind.strip().lower() != wanted:
        raise BadRequest(f"The content type must be {wanted.decode()}.")


ID = re.compile(r"[!-~]{1,128}")


def parse_call_sid(call: object) -> str:
    """The name of a call. Raises `BadRequest` if this cannot be one."""
    if not isinstance(call, str) or not ID.fullmatch(call):
        raise BadRequest("The request names no call.")
    return call
