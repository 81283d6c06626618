"""The middleware that every request passes first: request id, API key, route.

It is pure ASGI and does not wrap `send`, so it costs a stream nothing per chunk.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping
from itertools import count
from types import MappingProxyType
from typing import Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from voicegw.asgi.chunk_writer import ChunkWriter
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
MAX_DIRECT_BYTES = 65_536
"""The size of the largest body that is parsed in the callback in which it arrives, in a third of a
millisecond."""
REQUEST_ID = re.compile(rb"[!-~]{1,128}")
"""The request ids that are accepted from clients."""


class CompletionApp(Protocol):
    """The endpoint of a completion: an ASGI application that can also begin at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        ...

    def begin(self, scope: Scope, body: bytes, writer: ChunkWriter) -> ASGIApp | None:
        """Begin the answer to a complete POST. Return None if `writer` writes it, else its application."""
        ...


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
        completions: Mapping[str, CompletionApp],
        webhooks: Mapping[str, ASGIApp] = MappingProxyType({}),
        call_server: ASGIApp | None = None,
        *,
        serves_directly: bool = False,
    ) -> None:
        # True if no other middleware stands before this one: then it is the `DirectApp` of the connections.
        self.serves_directly = serves_directly
        # Serves every path that has no direct route.
        self.app = app
        # Serves all websockets.
        self.call_server = call_server or app
        # Paths that skip the framework's routing, which costs a seventh of a turn.
        self.direct_routes: Mapping[str, ASGIApp] = {**completions, **webhooks}
        # The endpoints of completions by path.
        self.completions = completions
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
            if self.serves_directly and "state" in scope:
                scope["state"]["direct_app"] = self
            return await self.app(scope, receive, send)
        if "//" in scope["path"]:  # `raw_path` stays: Twilio signs it
            scope["path"] = DOUBLED_SLASHES.sub("/", scope["path"])
        request_id = self._request_id(scope)
        client = client_address((scope.get("client") or ("",))[0], scope["headers"], self.proxies)
        if scope["type"] == "websocket":
            scope["voicegw"] = RequestContext(ANONYMOUS, request_id, client)
            return await self.call_server(scope, receive, send)
        app = self._admit(scope, request_id, client) or self.direct_routes.get(scope["path"], self.app)
        await app(scope, receive, send)

    def _admit(self, scope: Scope, request_id: str, client: str) -> Response | None:
        """Put the context of a request into its scope, or return the response that refuses it."""
        try:
            is_public = scope["path"] in self.public_paths or scope["method"] == "OPTIONS"
            key = (
                ANONYMOUS
                if is_public
                else self.authenticator.authenticate(scope["headers"], scope.get("http_version", "1.1"))
            )
        except VoicegwError as failure:
            self.turn_log.record_refusal(failure, request_id, client)
            return error_response(failure, request_id)
        scope["voicegw"] = RequestContext(key, request_id, client)
        return None

    def accepts(self, scope: Scope) -> bool:
        """Is this a request for a completion? See `DirectApp`."""
        return scope["method"] == "POST" and scope["path"] in self.completions

    def begin(self, scope: Scope, body: bytes, writer: ChunkWriter) -> ASGIApp | None:
        """Begin the answer to a complete request for a completion, without a task. See `DirectApp`."""
        if len(body) > MAX_DIRECT_BYTES:
            return self
        client = client_address((scope.get("client") or ("",))[0], scope["headers"], self.proxies)
        refusal = self._admit(scope, self._request_id(scope), client)
        return refusal or self.completions[scope["path"]].begin(scope, body, writer)

    def _request_id(self, scope: Scope) -> str:
        """Return the client's `x-request-id` if it is safe to log, else a new id."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                return str(value.decode("ascii"))
        return next(self._ids)
