"""Answers Retell's webhook, which reports the end of a call.

Source: Retell's documentation of webhooks; the signature is in `voicegw.platforms.retell.signature`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope

from voicegw.asgi.body import read_body
from voicegw.asgi.webhook import MAX_BODY_BYTES, Webhook, parse_call_sid, require_content_type
from voicegw.calls.server import CallServer
from voicegw.errors import BadRequest, Forbidden
from voicegw.platforms.retell.signature import verify_retell_signature
from voicegw.security.authenticator import require_loopback
from voicegw.telemetry.turn_log import TurnLog
from voicegw.wire.json import loads

JSON = b"application/json"


def build_retell_webhooks(
    api_key: str, call_server: CallServer, turn_log: TurnLog, now: Callable[[], float] = time.time
) -> dict[str, ASGIApp]:
    """Return Retell's webhook by path.

    `api_key` is the account's key, "" if none is configured: the webhook then accepts this machine only.
    `now` returns Unix time in seconds.
    """
    return {"/retell/webhook": Webhook(RetellWebhook(api_key, call_server, now).handle_event, turn_log)}


class RetellWebhook:
    """Answers the events that Retell posts."""

    def __init__(self, api_key: str, call_server: CallServer, now: Callable[[], float]) -> None:
        self.api_key = api_key  # "" accepts this machine only
        self.call_server = call_server  # forgets the calls that ended
        self.now = now  # returns Unix time in seconds

    async def handle_event(self, scope: Scope, receive: Receive) -> Response:
        """Return 204 for an event; forget the call if it ended.

        Raises `RequestError` for a request that is not Retell's or is not an event.
        """
        call = parse_ended_call(await self._read_body(scope, receive))
        if call is not None:
            self.call_server.call_ended("retell", call)
        return Response(status_code=204)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the raw body of a request that Retell signed. Raises `RequestError` for any other."""
        headers = dict(scope["headers"])
        signature = headers.get(b"x-retell-signature", b"").decode("latin-1")
        if not self.api_key:
            require_loopback(scope)
        elif not signature:
            raise Forbidden("The signature is missing.")
        require_content_type(JSON, headers)
        body = await read_body(scope, receive, MAX_BODY_BYTES)
        if self.api_key and not verify_retell_signature(
            signature, body, self.api_key, int(self.now() * 1000)
        ):
            raise Forbidden("The signature is wrong.")
        return body


def parse_ended_call(body: bytes) -> str | None:
    """Return the id of the call that this event reports as over, None for another event.

    Raises `BadRequest` for a body that is not an event. Older payloads hold the call under `data`.
    """
    try:
        data = loads(body)
    except ValueError:
        raise BadRequest("The body is not JSON.") from None
    match data:
        case {"event": "call_ended" | "call_analyzed", "call": {"call_id": call}}:
            return parse_call_sid(call)
        case {"event": "call_ended" | "call_analyzed", "data": {"call_id": call}}:
            return parse_call_sid(call)
        case {"event": "call_ended" | "call_analyzed"}:
            return parse_call_sid(None)
        case {"event": str()}:
            return None
    raise BadRequest("The body names no event.")
