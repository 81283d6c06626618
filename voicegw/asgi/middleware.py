"""The entrance: every request passes here first, as pure ASGI, without a wrapper around `send`."""

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

OPEN = frozenset({"/healthz", "/readyz"})
"""Paths that tell nothing and need no key: load balancers have none."""
REQUEST_ID = re.compile(rb"[!-~]{1,128}")


class GatewayMiddleware:
    """Gives each request its id and its key, or refuses it. What is inside finds a `Visit` in the scope.

    Paths in `hot` skip the framework's routing, a seventh of what a turn costs. Those in `proven` need no
    key: the platforms that call them bring a proof of their own, and what answers there asks for it.
    So it is with websockets, all of which go to the `floor`.
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
        self.app = app
        self.call_server = call_server or app
        self.direct_routes = {**direct_routes, **webhooks}
        self.public_paths = OPEN | webhooks.keys()
        self.authenticator = authenticator
        self.turn_log = turn_log
        self.proxies = proxies
        prefix = secrets.token_hex(6)
        self._ids = (f"req_{prefix}{number:06x}" for number in count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        request = self._request_id(scope)
        client = client_address((scope.get("client") or ("",))[0], scope["headers"], self.proxies)
        if scope["type"] == "websocket":
            scope["voicegw"] = RequestContext(ANONYMOUS, request, client)
            return await self.call_server(scope, receive, send)
        try:
            free = scope["path"] in self.public_paths or scope["method"] == "OPTIONS"
            key = ANONYMOUS if free else self.authenticator.authenticate(scope["headers"])
        except VoicegwError as failure:
            self.turn_log.refusal(failure, request, client)
            return await error_response(failure, request)(scope, receive, send)
        scope["voicegw"] = RequestContext(key, request, client)
        await self.direct_routes.get(scope["path"], self.app)(scope, receive, send)

    def _request_id(self, scope: Scope) -> str:
        """The client's own id if it is a sane one, else a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                return str(value.decode("ascii"))
        return next(self._ids)
