"""Requests into an ASGI application. A flaw may change the messages that leave it."""

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
"""Yields the replacement of one message: messages, pauses in seconds, or the error of the connection."""
DISCONNECT_STEPS = 20
"""Turns of the event loop in which an application can notice that its client disconnected."""


def unchanged(request: PlatformRequest, message: Message) -> Iterable[Message]:
    """Be no flaw: yield the message itself."""
    yield message


def change_events(change: Callable[[bytes], Iterable[bytes | float]]) -> Flaw:
    """Return a flaw in single events of streams.

    `change` gets an event without its blank line, and yields its replacement with it.
    """

    def flaw(request: PlatformRequest, message: Message) -> Iterable[Message | float]:
        body: bytes = message.get("body", b"")
        if not body.startswith((b"data: ", b": ")):
            yield message
            return
        more = message.get("more_body", False)
        for event in body.removesuffix(b"\n\n").split(b"\n\n"):
            for piece in change(event):
                yield piece if isinstance(piece, float) else body_message(piece)
        if not more:
            yield body_message(b"", more=False)

    return flaw


def body_message(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def change_chunks(change: Callable[[dict[str, Any]], Any]) -> Flaw:
    """Return a flaw in the JSON of every chunk, which `change` changes in place."""

    def change_event(event: bytes) -> Iterable[bytes]:
        if event.startswith(b"data: {"):
            data = json.loads(event[6:])
            change(data)
            event = b"data: " + json.dumps(data, separators=(",", ":")).encode()
        yield event + b"\n\n"

    return change_events(change_event)


class AsgiResponse:
    """One response of the application."""

    def __init__(self) -> None:
        self.head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pieces: asyncio.Queue[bytes | OSError | None] = asyncio.Queue()
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def __aiter__(self) -> AsgiResponse:
        return self

    async def __anext__(self) -> bytes:
        while (piece := await self.pieces.get()) == b"":
            pass
        if isinstance(piece, OSError):
            raise piece
        if piece is None:
            raise StopAsyncIteration
        return piece

    def receive(self, message: Message | OSError) -> None:
        """Take a message of the application, or the error of the connection."""
        if self.head.cancelled():
            return  # the platform has left
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


def build_scope(request: PlatformRequest) -> dict[str, Any]:
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


def post_to_app(
    app: ASGIApp, flaw: Flaw = unchanged, requests: list[PlatformRequest] | None = None
) -> PostRequest:
    """Return a function that posts into this application, and adds each request to `requests`."""

    @asynccontextmanager
    async def post(request: PlatformRequest) -> AsyncIterator[PlatformResponse]:
        if requests is not None:
            requests.append(request)
        response, disconnected = AsgiResponse(), asyncio.Event()
        inbox = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def receive() -> Message:
            if inbox:
                return inbox.pop()
            await disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            for piece in flaw(request, message):
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                else:
                    response.receive(piece)

        task = asyncio.ensure_future(app(build_scope(request), receive, send))
        try:
            await response.head
            yield response
        finally:
            disconnected.set()
            for _ in range(DISCONNECT_STEPS):
                await asyncio.sleep(0)
            task.cancel()  # a flaw may still have messages to send
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    return post
