"""uvicorn's HTTP protocol with three additions: a limit on headers, a word at shutdown, and a `Wire`.

The wire lets a stream write its chunks straight to the transport, and hear at once that the client is
gone or reads again, instead of through a task and two awaits per chunk. Head and end of every response
stay with uvicorn. It leans on uvicorn's internals, hence the pinned range and the test that fails when
the hook is gone; without it, streams run on plain ASGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from voicegw.errors import BadRequest, HeadersTooLarge, Refused
from voicegw.wire.chat import error

HEADER_BYTES = 65_536
"""The most bytes a request's head may have, unless the application's state says otherwise."""


class Reader(Protocol):
    """The stream at the other end of a wire: told that it may write on, or that nobody listens."""

    def wake(self) -> None: ...
    def hang_up(self) -> None: ...


class Held(asyncio.Transport):
    """A transport that keeps what it should write."""

    def __init__(self, parts: list[bytes]) -> None:
        self.write = parts.append  # type: ignore[assignment]


class Wire:
    """The way to one client, for one response."""

    __slots__ = ("cycle", "line")

    def __init__(self, line: VoiceProtocol, cycle: RequestResponseCycle) -> None:
        self.line = line
        self.cycle = cycle

    @property
    def open(self) -> bool:
        """May a stream write here: a chunked response has begun, and the client is there."""
        return bool(self.cycle.chunked_encoding) and not self.cycle.disconnected

    @property
    def paused(self) -> bool:
        """Does the client read slower than we write? `wake` follows when it caught up."""
        return self.line.flow.write_paused

    def join(self, reader: Reader | None) -> None:
        self.line.reader = reader

    @contextmanager
    def held(self) -> Iterator[None]:
        """What the server writes for this response meanwhile leaves at the end, in one write."""
        parts: list[bytes] = []
        self.cycle.transport = Held(parts)
        try:
            yield
        finally:
            self.cycle.transport = self.line.transport
            if parts:
                self.line.transport.write(b"".join(parts))

    def write(self, data: bytes) -> None:
        """One chunk, in one write, now."""
        self.line.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


class VoiceProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reader: Reader | None = None
        self.header_bytes: int = self.app_state.get("header_bytes", HEADER_BYTES)
        self.head = 0

    def data_received(self, data: bytes) -> None:
        in_head = self.head >= 0
        super().data_received(data)
        if in_head and self.head >= 0 and self.transport is not None:
            self.head += len(data)
            if self.head > self.header_bytes:
                self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head = 0

    def on_headers_complete(self) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        self.head = -1
        if size + len(self.url) > self.header_bytes:
            return self._refuse_head()
        self.scope["extensions"] = extensions = {}
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            extensions["voicegw.wire"] = Wire(self, self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.reader is not None:
            self.reader.hang_up()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.reader is not None:
            self.reader.wake()

    def shutdown(self) -> None:
        """The server stops: this connection's turn may finish; the gateway, once told, ends it in time."""
        super().shutdown()
        drain: Callable[[], None] | None = self.app_state.get("drain")
        if drain is not None:
            drain()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused as everything else is."""
        self._refuse(BadRequest(msg))

    def _refuse_head(self) -> None:
        self._refuse(HeadersTooLarge(f"The request's headers are larger than {self.header_bytes} bytes."))

    def _refuse(self, refusal: Refused) -> None:
        """Answer before there is a request to answer, and hang up."""
        if self.transport.is_closing():
            return
        body = error(refusal)
        head = STATUS_LINE[refusal.status] + b"content-type: application/json\r\nconnection: close\r\n"
        self.transport.write(head + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        self.transport.close()
