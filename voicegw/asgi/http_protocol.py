"""uvicorn's HTTP protocol with a limit on headers, one on not reading, a word at shutdown, and a `ChunkWriter`.

The wire lets a stream write its chunks straight to the transport, and hear at once that the client is
gone or reads again, instead of through a task and two awaits per chunk. Head and end of every response
stay with uvicorn. It leans on uvicorn's internals, hence the pinned range and the test that fails when
the hook is gone; without it, streams run on plain ASGI.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from voicegw.errors import BadRequest, HeadersTooLarge, RequestError
from voicegw.wire.openai import error_body

HEADER_BYTES = 65_536
"""The most bytes a request's head may have, unless the application's state says otherwise."""
ROOM = 9
"""What one byte of a body may take on its way: a chunk of its own takes six."""
REQUEST_SECONDS = 30.0
"""What a client gets to send one request, head and body."""
SEND_SECONDS = 30.0
"""How long a client may take nothing of what waits for it, unless the application's state says otherwise."""
UPGRADE = re.compile(rb"\r\nupgrade:(?=[ \t]*h2c)", re.IGNORECASE)


class ChunkSource(Protocol):
    """The stream at the other end of a wire: told that it may write on, or that nobody listens."""

    def wake(self) -> None: ...
    def hang_up(self) -> None: ...


class CorkedTransport(asyncio.Transport):
    """For a `with`: stands in for the transport of a response, and writes what it got at the end, at once."""

    def __init__(self, wire: ChunkWriter) -> None:
        self.wire = wire
        self.parts: list[bytes] = []
        self.write = self.parts.append  # type: ignore[assignment]

    def __enter__(self) -> None:
        self.wire.cycle.transport = self

    def __exit__(self, *exc: object) -> None:
        transport = self.wire.cycle.transport = self.wire.line.transport
        if self.parts:
            transport.write(b"".join(self.parts))


class ChunkWriter:
    """The way to one client, for one response."""

    __slots__ = ("cycle", "line")

    def __init__(self, line: GatewayHttpProtocol, cycle: RequestResponseCycle) -> None:
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

    def join(self, reader: ChunkSource | None) -> None:
        """From now on, or with None no more, the reader hears of this client."""
        self.line.reader = reader
        self.line.flow.resume_reading()  # paused after a large body, it would not notice a hang-up

    def held(self) -> CorkedTransport:
        """What the server writes for this response meanwhile leaves at the end, in one write."""
        return CorkedTransport(self)

    def write(self, data: bytes) -> None:
        """One chunk, in one write, now."""
        self.line.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


class SendTimeoutMixin:
    """For protocols: hangs up on whoever takes nothing of what waits, `send_timeout` seconds long."""

    loop: asyncio.AbstractEventLoop
    transport: Any
    send_timeout: float
    stuck: asyncio.TimerHandle | None

    def _watch(self) -> None:
        """One timer per pause: a reader that has taken nothing when it rings is hung up on."""
        if self.send_timeout:
            waiting = self.transport.get_write_buffer_size()
            self.stuck = self.loop.call_later(self.send_timeout, self._look, waiting)

    def _look(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._watch()  # slow, but it reads
        else:
            self.transport.abort()

    def _flow(self) -> None:
        """Nothing waits any more."""
        if self.stuck is not None:
            self.stuck.cancel()
            self.stuck = None


class GatewayHttpProtocol(SendTimeoutMixin, HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reader: ChunkSource | None = None
        self.header_bytes: int = self.app_state.get("header_bytes", HEADER_BYTES)
        self.send_timeout: float = self.app_state.get("send_timeout", SEND_SECONDS)
        self.in_head = True
        self.loose = 0  # bytes of no complete head and no body: a head so far, chunk sizes, trailers
        self.running: RequestResponseCycle | None = None
        self.patience: asyncio.TimerHandle | None = None
        self.stuck: asyncio.TimerHandle | None = None

    # From the client

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        if self.in_head and b"h2c" in data:
            data = without_upgrade(data)
        self.loose += len(data)
        super().data_received(data)
        if self.loose > self.header_bytes:
            self._refuse_head()
        rests = self.cycle is not None and self.cycle.response_complete and self in self.connections
        if rests and self.patience is None:
            self._wait(self.timeout_keep_alive)  # uvicorn's own timer went with these bytes

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait(REQUEST_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Fields after the body are dropped: nobody asked for them, and they have no end of their own."""
        if self.in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        self.in_head, self.loose = False, 0
        if size + len(self.url) > self.header_bytes:
            return self._refuse_head()
        self.scope["extensions"] = extensions = {}
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            extensions["voicegw.wire"] = ChunkWriter(self, self.cycle)
        if len(self.pipeline) == 1:
            self.flow.resume_reading()  # paused for a second request, it would not notice a hang-up

    def on_body(self, body: bytes) -> None:
        self.loose -= ROOM * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.in_head, self.loose = True, 0
        self._wait(None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wait(None)
        self._flow()
        self.pipeline.clear()
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True  # uvicorn tells the newest request only
            self.running.message_event.set()
        if self.reader is not None:
            self.reader.hang_up()

    # To the client

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._flow()
        if self.reader is not None:
            self.reader.wake()

    def shutdown(self) -> None:
        """The server stops: this connection's turn may finish; the gateway, once told, ends it in time."""
        super().shutdown()
        if (running := self.running) is not None:
            running.keep_alive = False  # uvicorn tells the newest request only
            if running.more_body and not running.response_started:
                self.transport.close()  # the request is not even complete
        drain: Callable[[], None] | None = self.app_state.get("drain")
        if drain is not None:
            drain()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused as everything else is."""
        self._refuse(BadRequest(msg))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def _wait(self, seconds: float | None) -> None:
        """Hang up after so many seconds, unless the client goes on; None for as long as it takes."""
        if self.patience is not None:
            self.patience.cancel()
        self.patience = None if seconds is None else self.loop.call_later(seconds, self.transport.close)

    def _refuse_head(self) -> None:
        self._refuse(HeadersTooLarge(f"The request's headers are larger than {self.header_bytes} bytes."))

    def _refuse(self, refusal: RequestError) -> None:
        """Answer what never became a request, and hang up; in the middle of an answer only hang up."""
        if self.transport.is_closing():
            return
        if self.running is None or self.running.response_complete:
            body = error_body(refusal)
            head = STATUS_LINE[refusal.status] + b"content-type: application/json\r\nconnection: close\r\n"
            head += b"x-should-retry: false\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(head + body)
        self.transport.close()


def without_upgrade(data: bytes) -> bytes:
    """A request that offers HTTP/2 goes on without: its parser would drop the body."""
    head, end, body = data.partition(b"\r\n\r\n")
    return UPGRADE.sub(b"\r\nx-upgrade:", head) + end + body
