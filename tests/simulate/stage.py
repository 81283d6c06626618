"""A stage for rehearsals: sockets into an ASGI application, on the loop's own clock, with flaws on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message

from voicegw.asgi.context import RequestContext
from voicegw.security.keys import ANONYMOUS
from voicegw.simulate.call_runner import OpenSocket, SocketClosed, HandshakeRejected, PlatformSocket
from voicegw.simulate.platform import Frame

Flaw: TypeAlias = Callable[[dict[str, Any]], Iterable[Frame | dict[str, Any] | float]]
"""What leaves instead of a frame of the gateway's: frames as they are, objects as JSON, pauses."""


def sound(frame: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """No flaw."""
    yield frame


class Staged:
    """One socket into the application; `flaw` mends what comes out of it for the worse."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any], flaw: Flaw) -> None:
        self.flaw = flaw
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[Frame | int] = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.closed: int | None = None
        self.side = asyncio.ensure_future(app(scope, self.inbox.get, self._take))

    async def _take(self, message: Message) -> None:
        """What the application sends."""
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
        if self.closed is not None:
            raise SocketClosed(self.closed)
        key = "text" if isinstance(frame, str) else "bytes"
        self.inbox.put_nowait({"type": "websocket.receive", key: frame})

    async def receive(self) -> Frame:
        if self.closed is None:
            frame = await self.outbox.get()
            if not isinstance(frame, int):
                return frame
            self.closed = frame
        raise SocketClosed(self.closed)

    async def close(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.side

    def abort(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})


def stage(app: ASGIApp, flaw: Flaw = sound) -> OpenSocket:
    """Sockets into this application."""

    async def dial(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        url = urlsplit(address)
        fields = {"host": url.netloc, **headers}
        socket = Staged(
            app,
            {
                "type": "websocket",
                "path": url.path,
                "raw_path": url.path.encode(),
                "query_string": url.query.encode(),
                "scheme": url.scheme,
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
            await socket.side
            raise HandshakeRejected(status)
        return socket

    return dial
