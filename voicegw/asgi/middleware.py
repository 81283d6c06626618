"""The middleware that every request passes first: request id, API key, route.

It is pure ASGI and does not wrap `send`, so it costs a stream nothing per chunk.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping
from itertools import count
from types import MappingProxyType

from starlette.types import ASGIApp, Receive, Scope, Send

from voicegw.asgi.context import RequestContext
from voicegw.asgi.error_response import error_response
from voicegw.errors import VoicegwError
from voicegw.security.addresses import Network, client_address
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ANONYMOUS
from voicegw.telemetry.turn_log import TurnLog

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths that need no key, since load balancers have none. They reveal only the state of the process."""
DOUBLED_SLASHES = re.compile(r"//+")
"""Slashes that a base URL with a final slash leaves in a path. They count as one."""
REQUEST_ID = re.compile(rb"[!-~]{1,128}")
"""The request ids that are accepted from clients."""


class GatewayMiddleware:
    """Gives each request an id and a key, or refuses it, and passes it on with a `RequestContext`.

    Webhooks need no API key: platforms authenticate their requests in another way, which the handler behind
    the path verifies. Websockets need none either: their endpoint authenticates the platform.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        turn_log: TurnLog,
        proxies: Collection[Network],
        direct_routes: Mapping[str, ASGIApp],
        webhooks: Mapping[str, ASGIApp] = MappingProxyType({}),
        call_server: ASGIApp | None = None,
    ) -> None:
        # Serves every path that has no direct route.
        self.app = app
        # Serves all websockets.
        self.call_server = call_server or app
        # Paths that skip the framework's routing, which costs a seventh of a turn.
        self.direct_routes = {**direct_routes, **webhooks}
        # Paths that need no API key.
        self.public_paths = OPEN_PATHS | webhooks.keys()
        # Finds the key of a request.
        self.authenticator = authenticator
        # Logs refused requests.
        self.turn_log = turn_log
        # The networks whose `x-forwarded-for` is trusted.
        self.proxies = proxies
        prefix = secrets.token_hex(6)
        # Request ids: a prefix, random for each process, and a counter.
        self._ids = (f"req_{prefix}{number:06x}" for number in count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, websocket or lifespan. A refused request gets an error response."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if "//" in scope["path"]:  # `raw_path` stays: Twilio signs it
            scope["path"] = DOUBLED_SLASHES.sub("/", scope["path"])
        request_id = self._request_id(scope)
        client = client_address((scope.get("client") or ("",))[0], scope["headers"], self.proxies)
        if scope["type"] == "websocket":
            scope["voicegw"] = RequestContext(ANONYMOUS, request_id, client)
            return await self.call_server(scope, receive, send)
        try:
            is_public = scope["path"] in self.public_paths or scope["method"] == "OPTIONS"
            key = (
                ANONYMOUS
                if is_public
                else self.authenticator.authenticate(scope["headers"], scope.get("http_version", "1.1"))
            )
        except VoicegwError as failure:
            self.turn_log.record_refusal(failure, request_id, client)
            return await error_response(failure, request_id)(scope, receive, send)
        scope["voicegw"] = RequestContext(key, request_id, client)
        await self.direct_routes.get(scope["path"], self.app)(scope, receive, send)

    def _request_id(self, scope: Scope) -> str:
        """Return the client's `x-request-id` if it is safe to log, else a new id."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                return str(value.decode("ascii"))
        return next(self._ids)
