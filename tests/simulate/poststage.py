"""A stage for rehearsals by requests: posts into an ASGI application, with flaws on what comes out of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message

from voicegw.simulate.http_exchange import PlatformResponse, PostRequest
from voicegw.simulate.http_platform import PlatformRequest

Flaw: TypeAlias = Callable[[PlatformRequest, Message], Iterable[Message | float | OSError]]
"""What leaves instead of a message of the gateway's: messages, pauses, the death of the connection."""
FAREWELL = 20
"""Turns of the loop that an application gets to notice that its client hung up."""


def sound(request: PlatformRequest, message: Message) -> Iterable[Message]:
    """No flaw."""
    yield message


def events(change: Callable[[bytes], Iterable[bytes | float]]) -> Flaw:
    """A flaw in single events of streams; each is given without its blank line, and given back with it."""

    def flaw(request: PlatformRequest, message: Message) -> Iterable[Message | float]:
        body: bytes = message.get("body", b"")
        if not body.startswith((b"data: ", b": ")):
            yield message
            return
        more = message.get("more_body", False)
        for event in body.removesuffix(b"\n\n").split(b"\n\n"):
            for piece in change(event):
                yield piece if isinstance(piece, float) else part(piece)
        if not more:
            yield part(b"", more=False)

    return flaw


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def chunk(change: Callable[[dict[str, Any]], Any]) -> Flaw:
    """A flaw in the JSON of every chunk: it is changed in place."""

    def changed(event: bytes) -> Iterable[bytes]:
        if event.startswith(b"data: {"):
            data = json.loads(event[6:])
            change(data)
            event = b"data: " + json.dumps(data, separators=(",", ":")).encode()
        yield event + b"\n\n"

    return events(changed)


class Staged:
    """One answer of the application's."""

    def __init__(self) -> None:
        self.head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pieces: asyncio.Queue[bytes | OSError | None] = asyncio.Queue()
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def __aiter__(self) -> Staged:
        return self

    async def __anext__(self) -> bytes:
        while (piece := await self.pieces.get()) == b"":
            pass
        if isinstance(piece, OSError):
            raise piece
        if piece is None:
            raise StopAsyncIteration
        return piece

    def take(self, message: Message | OSError) -> None:
        """What came over the wire."""
        if self.head.cancelled():
            return  # nobody waits for it any more
        if isinstance(message, OSError):
            if not self.head.done():
                self.head.set_exception(message)
            self.pieces.put_nowait(message)
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            self.head.set_result(None)
        else:
            self.pieces.put_nowait(message.get("body", b""))
            if not message.get("more_body", False):
                self.pieces.put_nowait(None)


def scope_of(request: PlatformRequest) -> dict[str, Any]:
    url = urlsplit(request.url)
    fields = {"host": url.netloc, **request.headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": url.path,
        "raw_path": url.path.encode(),
        "root_path": "",
        "query_string": url.query.encode(),
        "scheme": url.scheme,
        "client": ("127.0.0.1", 5555),
        "server": ("127.0.0.1", 8080),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
    }


def poststage(app: ASGIApp, flaw: Flaw = sound, posted: list[PlatformRequest] | None = None) -> PostRequest:
    """Requests into this application; `posted` is given each of them."""

    @asynccontextmanager
    async def post(request: PlatformRequest) -> AsyncIterator[PlatformResponse]:
        if posted is not None:
            posted.append(request)
        answer, gone = Staged(), asyncio.Event()
        inbox = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def receive() -> Message:
            if inbox:
                return inbox.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            for piece in flaw(request, message):
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                else:
                    answer.take(piece)

        side = asyncio.ensure_future(app(scope_of(request), receive, send))
        try:
            await answer.head
            yield answer
        finally:
            gone.set()
            for _ in range(FAREWELL):
                await asyncio.sleep(0)
            side.cancel()  # whatever a flaw still wants to send
            await asyncio.wait([side])
            if not side.cancelled():
                side.result()

    return post
