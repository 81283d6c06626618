"""The entrance: every request passes here first, as pure ASGI, without a wrapper around `send`."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping
from itertools import count
from types import MappingProxyType

from starlette.types import ASGIApp, Receive, Scope, Send

from voicegw.asgi.context import Visit
from voicegw.asgi.error_response import refusal
from voicegw.errors import VoicegwError
from voicegw.security.addresses import Network, client_address
from voicegw.security.authenticator import Door
from voicegw.security.keys import ANONYMOUS
from voicegw.telemetry.turn_log import Journal

OPEN = frozenset({"/healthz", "/readyz"})
"""Paths that tell nothing and need no key: load balancers have none."""
REQUEST_ID = re.compile(rb"[!-~]{1,128}")


class Entrance:
    """Gives each request its id and its key, or refuses it. What is inside finds a `Visit` in the scope.

    Paths in `hot` skip the framework's routing, a seventh of what a turn costs. Those in `proven` need no
    key: the platforms that call them bring a proof of their own, and what answers there asks for it.
    So it is with websockets, all of which go to the `floor`.
    """

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        journal: Journal,
        proxies: Collection[Network],
        hot: Mapping[str, ASGIApp],
        proven: Mapping[str, ASGIApp] = MappingProxyType({}),
        floor: ASGIApp | None = None,
    ) -> None:
        self.app = app
        self.floor = floor or app
        self.hot = {**hot, **proven}
        self.free = OPEN | proven.keys()
        self.door = door
        self.journal = journal
        self.proxies = proxies
        prefix = secrets.token_hex(6)
        self._ids = (f"req_{prefix}{number:06x}" for number in count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        request = self._request_id(scope)
        client = client_address((scope.get("client") or ("",))[0], scope["headers"], self.proxies)
        if scope["type"] == "websocket":
            scope["voicegw"] = Visit(ANONYMOUS, request, client)
            return await self.floor(scope, receive, send)
        try:
            free = scope["path"] in self.free or scope["method"] == "OPTIONS"
            key = ANONYMOUS if free else self.door.admit(scope["headers"])
        except VoicegwError as failure:
            self.journal.refusal(failure, request, client)
            return await refusal(failure, request)(scope, receive, send)
        scope["voicegw"] = Visit(key, request, client)
        await self.hot.get(scope["path"], self.app)(scope, receive, send)

    def _request_id(self, scope: Scope) -> str:
        """The client's own id if it is a sane one, else a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                return str(value.decode("ascii"))
        return next(self._ids)
