"""Sockets into an ASGI application, on the loop's own clock. A flaw may change the frames that leave it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message

from voicegw.asgi.context import RequestContext
from voicegw.security.keys import ANONYMOUS
from voicegw.simulate.connection import HandshakeRejected, OpenSocket, PlatformSocket, SocketClosed
from voicegw.simulate.platform import Frame

Flaw: TypeAlias = Callable[[dict[str, Any]], Iterable[Frame | dict[str, Any] | float]]
"""Yields the replacement of one frame: frames as they are, objects as JSON, pauses in seconds."""


def unchanged(frame: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Be no flaw: yield the frame itself."""
    yield frame


class AsgiSocket:
    """One socket into the application; `flaw` changes the frames that leave it."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any], flaw: Flaw) -> None:
        self.flaw = flaw
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[Frame | int] = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.close_code: int | None = None
        self.task = asyncio.ensure_future(app(scope, self.inbox.get, self._send))

    async def _send(self, message: Message) -> None:
        """Be the application's ASGI `send`."""
        kind = message["type"]
        if kind == "websocket.accept":
            self.status.set_result(101)
        elif kind == "websocket.http.response.start":
            self.status.set_result(message["status"])
        elif kind == "websocket.close":
            self.outbox.put_nowait(message["code"])
        elif kind == "websocket.send":
            for piece in self.flaw(json.loads(message["text"])):
                if isinstance(piece, (int, float)):
                    await asyncio.sleep(piece)
                else:
                    self.outbox.put_nowait(json.dumps(piece) if isinstance(piece, dict) else piece)

    async def send(self, frame: Frame) -> None:
        if self.close_code is not None:
            raise SocketClosed(self.close_code)
        key = "text" if isinstance(frame, str) else "bytes"
        self.inbox.put_nowait({"type": "websocket.receive", key: frame})

    async def receive(self) -> Frame:
        if self.close_code is None:
            frame = await self.outbox.get()
            if not isinstance(frame, int):
                return frame
            self.close_code = frame
        raise SocketClosed(self.close_code)

    async def close(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.task

    def abort(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})


def sockets_to_app(app: ASGIApp, flaw: Flaw = unchanged) -> OpenSocket:
    """Return a function that opens sockets into this application."""

    async def open_socket(url: str, headers: Mapping[str, str]) -> PlatformSocket:
        parts = urlsplit(url)
        fields = {"host": parts.netloc, **headers}
        socket = AsgiSocket(
            app,
            {
                "type": "websocket",
                "path": parts.path,
                "raw_path": parts.path.encode(),
                "query_string": parts.query.encode(),
                "scheme": parts.scheme,
                "client": ("127.0.0.1", 5555),
                "headers": [
                    (name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()
                ],
                "state": {},
                "extensions": {"websocket.http.response": {}},
                "voicegw": RequestContext(ANONYMOUS, "req_1", "127.0.0.1"),
            },
            flaw,
        )
        if (status := await socket.status) != 101:
            await socket.task
            raise HandshakeRejected(status)
        return socket

    return open_socket
