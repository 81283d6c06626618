"""The webhook of Retell: the end of a call."""

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


def retell_webhooks(
    key: str, floor: CallServer, journal: TurnLog, now: Callable[[], float] = time.time
) -> dict[str, ASGIApp]:
    """Retell's web hook by path. `key` is the API key, "" if there is none; `now` as for Twilio's."""
    return {"/retell/webhook": Webhook(RetellWebhook(key, floor, now).event, journal)}


class RetellWebhook:
    """Hears from Retell how calls went."""

    def __init__(self, key: str, floor: CallServer, now: Callable[[], float]) -> None:
        self.key = key
        self.call_server = floor
        self.now = now

    async def event(self, scope: Scope, receive: Receive) -> Response:
        """Something happened to a call; of interest is only that it ended."""
        call = ended_call_id(await self._body(scope, receive))
        if call is not None:
            self.call_server.call_ended("retell", call)
        return Response(status_code=204)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The raw body of a request that is Retell's. Raises `RequestError`."""
        headers = dict(scope["headers"])
        signature = headers.get(b"x-retell-signature", b"").decode("latin-1")
        if not self.key:
            require_loopback(scope)
        elif not signature:
            raise Forbidden("The signature is missing.")
        require_content_type(JSON, headers)
        body = await read_body(scope, receive, MAX_BODY_BYTES)
        if self.key and not verify_retell_signature(signature, body, self.key, int(self.now() * 1000)):
            raise Forbidden("The signature is wrong.")
        return body


def ended_call_id(body: bytes) -> str | None:
    """The call that is over by this event of Retell's, None if it tells something else.

    Raises `BadRequest` for what is no event. Older payloads have the call under `data`.
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
