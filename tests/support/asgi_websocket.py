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


class AsgiWebSocket:
    """One websocket, from the platform's side.

    `frames` is [(seconds since it opened, frame)] of the gateway's frames. `status` is that of the handshake:
    101, or that of the refusal with its `body`. `close_code` is the code with which the gateway closed. The
    gateway's sends wait for `send_gate` if there is one.
    """

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.close_code: int | None = None
        self.frames: list[tuple[float, dict[str, Any]]] = []
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.started = asyncio.get_running_loop().time()
        self.send_gate: asyncio.Event | None = None

    @property
    def elapsed(self) -> float:
        return round(asyncio.get_running_loop().time() - self.started, 9)

    def send_frame(self, frame: dict[str, Any] | str | bytes) -> None:
        """Send a frame to the gateway."""
        if isinstance(frame, bytes):
            self.inbox.put_nowait({"type": "websocket.receive", "bytes": frame})
        else:
            text = frame if isinstance(frame, str) else json.dumps(frame)
            self.inbox.put_nowait({"type": "websocket.receive", "text": text})

    def hang_up(self, code: int = 1000) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def asgi_send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self.status = 101
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        elif kind == "websocket.http.response.body":
            self.body += message["body"]
        elif kind == "websocket.close":
            self.close_code = message["code"]
            self.hang_up(self.close_code or 1000)
        else:
            assert kind == "websocket.send"
            assert set(message) == {"type", "text"}, "platforms want text frames"
            if self.send_gate is not None:
                await self.send_gate.wait()
            self.frames.append((self.elapsed, json.loads(message["text"])))


@asynccontextmanager
async def connect_websocket(
    app: ASGIApp,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    query: str = "",
    scheme: str = "ws",
) -> AsyncIterator[AsgiWebSocket]:
    """Open a websocket to `path`. At the end, close it and wait for the application."""
    websocket = AsgiWebSocket()
    websocket.inbox.put_nowait({"type": "websocket.connect"})
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
    application = asyncio.ensure_future(app(scope, websocket.inbox.get, websocket.asgi_send))
    await asyncio.sleep(0)
    try:
        yield websocket
    finally:
        websocket.hang_up()
        await application
