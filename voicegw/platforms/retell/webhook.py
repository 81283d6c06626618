"""The webhook of Retell: the end of a call."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope

from voicegw.asgi.body import read_body
from voicegw.asgi.webhook import LARGEST, Hook, named, require_content_type
from voicegw.calls.server import Floor
from voicegw.errors import BadRequest, Forbidden
from voicegw.platforms.retell.signature import retell_signed
from voicegw.security.authenticator import admit_local
from voicegw.telemetry.turn_log import Journal
from voicegw.wire.json import loads

JSON = b"application/json"


def retell_hooks(
    key: str, floor: Floor, journal: Journal, now: Callable[[], float] = time.time
) -> dict[str, ASGIApp]:
    """Retell's web hook by path. `key` is the API key, "" if there is none; `now` as for Twilio's."""
    return {"/retell/webhook": Hook(Retell(key, floor, now).event, journal)}


class Retell:
    """Hears from Retell how calls went."""

    def __init__(self, key: str, floor: Floor, now: Callable[[], float]) -> None:
        self.key = key
        self.floor = floor
        self.now = now

    async def event(self, scope: Scope, receive: Receive) -> Response:
        """Something happened to a call; of interest is only that it ended."""
        call = ended(await self._body(scope, receive))
        if call is not None:
            self.floor.ended("retell", call)
        return Response(status_code=204)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The raw body of a request that is Retell's. Raises `Refused`."""
        headers = dict(scope["headers"])
        signature = headers.get(b"x-retell-signature", b"").decode("latin-1")
        if not self.key:
            admit_local(scope)
        elif not signature:
            raise Forbidden("The signature is missing.")
        require_content_type(JSON, headers)
        body = await read_body(scope, receive, LARGEST)
        if self.key and not retell_signed(signature, body, self.key, int(self.now() * 1000)):
            raise Forbidden("The signature is wrong.")
        return body


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
