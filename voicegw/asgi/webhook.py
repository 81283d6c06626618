"""The ASGI application behind each webhook of a voice platform, and checks that all webhooks share.

Signatures are not verified here: each platform's handler does that (voicegw/platforms/).
"""

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

WebhookHandler: TypeAlias = Callable[[Scope, Receive], Awaitable[Response]]
"""Answers one POST request. It raises `RequestError` to refuse it."""

MAX_BODY_BYTES = 65_536
"""Limit of a webhook's body in bytes. Platforms send a few thousand bytes."""
CALL_SID = re.compile(r"[!-~]{1,128}")
"""The platforms' call ids that are accepted."""


class Webhook:
    """One webhook as an ASGI application behind `GatewayMiddleware`."""

    def __init__(self, handler: WebhookHandler, turn_log: TurnLog) -> None:
        # Answers the request.
        self.handler = handler
        # Logs refused requests.
        self.turn_log = turn_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A `RequestError` becomes an error response, any other exception a 500."""
        context: RequestContext = scope["voicegw"]
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed("Use POST.")
            response = await self.handler(scope, receive)
            response.headers["x-request-id"] = context.id
        except RequestError as failure:
            self.turn_log.record_refusal(failure, context.id, context.client)
            response = error_response(failure, context.id)
        except Exception:
            log.exception("request %s failed", context.id)
            response = error_response(VoicegwError(), context.id)
        await response(scope, receive, send)


def require_content_type(expected: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Check the media type of a request; its parameters do not count. Raise `BadRequest` for another one."""
    media_type, _, _ = headers.get(b"content-type", b"").partition(b";")
    if media_type.strip().lower() != expected:
        raise BadRequest(f"The content type must be {expected.decode()}.")


def parse_call_sid(call: object) -> str:
    """Return the platform's call id. Raise `BadRequest` unless it is 1 to 128 printable ASCII characters."""
    if not isinstance(call, str) or not CALL_SID.fullmatch(call):
        raise BadRequest("The request names no call.")
    return call
