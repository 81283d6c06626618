"""Play a voice platform on the websocket of an ASGI application, on the loop's own clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp

from voicegw.asgi.context import RequestContext
from voicegw.security.keys import ANONYMOUS


class Phone:
    """One socket, from the platform's side. `frames` is [(time since it opened, frame)] of what came.

    `status` is that of the handshake: 101, or the refusal's, with its `body`; `code` is the one with which
    the gateway closed.
    """

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.code: int | None = None
        self.frames: list[tuple[float, dict[str, Any]]] = []
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.started = asyncio.get_running_loop().time()
        self.slow: asyncio.Event | None = None

    @property
    def now(self) -> float:
        return round(asyncio.get_running_loop().time() - self.started, 9)

    def says(self, frame: dict[str, Any] | str | bytes) -> None:
        """The platform sends a frame."""
        if isinstance(frame, bytes):
            self.inbox.put_nowait({"type": "websocket.receive", "bytes": frame})
        else:
            text = frame if isinstance(frame, str) else json.dumps(frame)
            self.inbox.put_nowait({"type": "websocket.receive", "text": text})

    def hang_up(self, code: int = 1000) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self.status = 101
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        elif kind == "websocket.http.response.body":
            self.body += message["body"]
        elif kind == "websocket.close":
            self.code = message["code"]
            self.hang_up(self.code or 1000)
        else:
            assert kind == "websocket.send"
            assert set(message) == {"type", "text"}, "platforms want text frames"
            if self.slow is not None:
                await self.slow.wait()
            self.frames.append((self.now, json.loads(message["text"])))


@asynccontextmanager
async def dial(
    app: ASGIApp,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    query: str = "",
    scheme: str = "ws",
) -> AsyncIterator[Phone]:
    """A socket to `path`; it is hung up at the end, and the gateway's side of it awaited."""
    phone = Phone()
    phone.inbox.put_nowait({"type": "websocket.connect"})
    fields = {"host": "127.0.0.1:8080", **(headers or {})}
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "scheme": scheme,
        "client": ("127.0.0.1", 5555),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
        "state": {},
        "extensions": {"websocket.http.response": {}},
        "voicegw": RequestContext(ANONYMOUS, "req_1", "127.0.0.1"),
    }
    side = asyncio.ensure_future(app(scope, phone.inbox.get, phone.send))
    await asyncio.sleep(0)
    try:
        yield phone
    finally:
        phone.hang_up()
        await side
