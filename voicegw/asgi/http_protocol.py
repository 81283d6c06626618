"""uvicorn's HTTP protocol with limits on headers and on slow clients, a clean shutdown, and `ChunkWriter`.

`close_delimited` serves clients of HTTP/1.0, `upgrade_offer` those that offer HTTP/2, and `half_close` those
that stop sending.

A `ChunkWriter` lets a stream write its chunks straight to the transport, and learn at once that the client
disconnected or reads again, without a task and two awaits per chunk. The head and the end of every response
stay with uvicorn.

This module depends on uvicorn's internals, hence the pinned version range and the test that fails when a hook
is gone. On other servers streams run on plain ASGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from voicegw.asgi.close_delimited import without_chunks
from voicegw.asgi.half_close import HalfCloseMixin
from voicegw.asgi.send_timeout import SEND_TIMEOUT, SendTimeoutMixin
from voicegw.asgi.upgrade_offer import MAX_HELD_BYTES, ignore_offer, split_at_offers
from voicegw.errors import BadRequest, HeadersTooLarge, RequestError
from voicegw.wire.openai import encode_error

MAX_HEADER_BYTES = 65_536
"""Limit of a request's head in bytes, unless the application's state has `max_header_bytes`."""
BODY_BYTE_ALLOWANCE = 9
"""Bytes on the wire that each byte of a body may take. A chunk of one byte takes six."""
REQUEST_TIMEOUT = 30.0
"""Seconds that a client has to send one request, head and body."""


class ChunkSource(Protocol):
    """The stream that writes to a `ChunkWriter`."""

    def wake(self) -> None:
        """Write again: the client reads again after a pause."""
        ...

    def on_disconnect(self) -> None:
        """Stop: the client disconnected."""
        ...

    def probe(self) -> None:
        """Write a chunk without meaning: the write fails if the client disconnected."""
        ...


class CorkedTransport(asyncio.Transport):
    """A context manager that collects all writes of one response and sends them as one write at its end."""

    def __init__(self, writer: ChunkWriter) -> None:
        # The writer of the response. Its cycle writes to this transport meanwhile.
        self.writer = writer
        # The writes so far.
        self.parts: list[bytes] = []
        # Replaces the transport's `write`: it only collects.
        self.write = self.parts.append  # type: ignore[assignment]

    def __enter__(self) -> None:
        self.writer.cycle.transport = self

    def __exit__(self, *exc: object) -> None:
        transport = self.writer.cycle.transport = self.writer.protocol.transport
        if self.parts:
            transport.write(b"".join(self.parts))


class ChunkWriter:
    """Writes the chunks of one response straight to the transport.

    `GatewayHttpProtocol` puts it into the ASGI scope as `scope["extensions"]["voicegw.chunk_writer"]`.
    """

    __slots__ = ("cycle", "protocol")

    def __init__(self, protocol: GatewayHttpProtocol, cycle: RequestResponseCycle) -> None:
        # The connection.
        self.protocol = protocol
        # uvicorn's state of this request and its response.
        self.cycle = cycle

    @property
    def is_open(self) -> bool:
        """Has a chunked response begun, and is the client connected?"""
        return bool(self.cycle.chunked_encoding) and not self.cycle.disconnected

    @property
    def is_paused(self) -> bool:
        """Does the client read too slowly? The source's `wake` is called when it has caught up."""
        return self.protocol.flow.write_paused

    def attach(self, source: ChunkSource | None) -> None:
        """Call this source from now on when the client reads again or disconnects; None to call none."""
        self.protocol.chunk_source = source
        self.protocol.flow.resume_reading()  # after a large body it is paused and would miss the disconnect

    def cork(self) -> CorkedTransport:
        """Return a context manager that collects the server's writes and sends them as one at its end."""
        return CorkedTransport(self)

    def write(self, data: bytes) -> None:
        """Write one chunk now, in one write."""
        self.protocol.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


class GatewayHttpProtocol(SendTimeoutMixin, HalfCloseMixin, HttpToolsProtocol):  # type: ignore[misc]
    """One HTTP connection. The application's state gives `max_header_bytes`, `send_timeout` and `drain`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The stream that writes the current response itself; None if uvicorn writes it.
        self.chunk_source: ChunkSource | None = None
        # Limit of a request's head, and of chunk sizes and trailers.
        self.max_header_bytes: int = self.app_state.get("max_header_bytes", MAX_HEADER_BYTES)
        # Seconds that a client may read nothing; see SendTimeoutMixin.
        self.send_timeout: float = self.app_state.get("send_timeout", SEND_TIMEOUT)
        # False from the end of a request's head to the end of its body.
        self.parsing_headers = True
        # The beginning of a line that may become an offer of another protocol; not parsed yet.
        self.held_bytes = b""
        # True if a line break was parsed last.
        self.at_line_start = False
        # Received bytes that are neither a complete head nor body: a partial head, chunk sizes, trailers.
        self.overhead_bytes = 0
        # The request that is answered now. uvicorn's `cycle` is the newest one, which may still wait.
        self.active_cycle: RequestResponseCycle | None = None
        # Closes the connection if the client does not send in time; None while the gateway answers.
        self.receive_timer: asyncio.TimerHandle | None = None
        # The timer of the current pause; see SendTimeoutMixin.
        self.send_timer: asyncio.TimerHandle | None = None
        # The timer of the next probe; see HalfCloseMixin.
        self.probe_timer: asyncio.TimerHandle | None = None

    # From the client

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_receive_timer(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        self.overhead_bytes += len(data)
        for piece in self._without_offers(self.held_bytes + data):
            super().data_received(piece)
        if self.overhead_bytes > self.max_header_bytes:
            self._reject_headers()
        is_idle = self.cycle is not None and self.cycle.response_complete and self in self.connections
        if is_idle and self.receive_timer is None:
            self._set_receive_timer(self.timeout_keep_alive)  # uvicorn's own timer ended with these bytes

    def _without_offers(self, data: bytes) -> Iterator[bytes]:
        """Yield the bytes to parse, without offers of other protocols. Each one is parsed before the next."""
        pieces, self.held_bytes = split_at_offers(data, at_line_start=self.at_line_start), b""
        for number, (piece, may_offer) in enumerate(pieces, 1):
            if may_offer and self.parsing_headers:
                if number == len(pieces) and len(piece) < MAX_HELD_BYTES:
                    self.held_bytes = piece
                    return
                piece = ignore_offer(piece, self.parser.get_method(), self.parser.get_http_version())
            self.at_line_start = piece.endswith(b"\n")
            yield piece
            if self.transport.is_closing() or self not in self.connections:  # it is a websocket now
                return

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._set_receive_timer(REQUEST_TIMEOUT)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Drop trailers, the fields after the body: nothing uses them, and uvicorn does not limit them."""
        if self.parsing_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        self.parsing_headers, self.overhead_bytes = False, 0
        if size + len(self.url) > self.max_header_bytes:
            return self._reject_headers()
        self.scope["extensions"] = extensions = {}
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            extensions["voicegw.chunk_writer"] = ChunkWriter(self, self.cycle)
        if len(self.pipeline) == 1:
            self.flow.resume_reading()  # uvicorn pauses for a second request and would miss the disconnect

    def on_body(self, body: bytes) -> None:
        self.overhead_bytes -= BODY_BYTE_ALLOWANCE * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.parsing_headers, self.overhead_bytes = True, 0
        self._set_receive_timer(None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._set_receive_timer(None)
        self._stop_send_timer()
        self._stop_probes()
        self.pipeline.clear()
        if self.active_cycle is not None and not self.active_cycle.response_complete:
            self.active_cycle.disconnected = True  # uvicorn marks only the newest request
            self.active_cycle.message_event.set()
        if self.chunk_source is not None:
            self.chunk_source.on_disconnect()

    # To the client

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_send_timer()
        if self.chunk_source is not None:
            self.chunk_source.wake()

    def shutdown(self) -> None:
        """Let the current response finish, and call the state's `drain`: the gateway ends it in time."""
        super().shutdown()
        if (cycle := self.active_cycle) is not None:
            cycle.keep_alive = False  # uvicorn marks only the newest request
            if cycle.more_body and not cycle.response_started:
                self.transport.close()  # the request is not even complete
        drain: Callable[[], None] | None = self.app_state.get("drain")
        if drain is not None:
            drain()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP with the same error envelope as every other error."""
        self._reject(BadRequest(msg))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.active_cycle = cycle
        is_chunked = cycle.scope["http_version"] == "1.1"
        super()._start_asgi_task(cycle, app if is_chunked else without_chunks(app, cycle))

    def _set_receive_timer(self, seconds: float | None) -> None:
        """Close the connection after so many seconds unless this is called again; None for no limit."""
        if self.receive_timer is not None:
            self.receive_timer.cancel()
        self.receive_timer = None if seconds is None else self.loop.call_later(seconds, self.transport.close)

    def _reject_headers(self) -> None:
        self._reject(HeadersTooLarge(f"The request's headers are larger than {self.max_header_bytes} bytes."))

    def _reject(self, error: RequestError) -> None:
        """Answer bytes that are no request with an error, then close. During a response, only close."""
        if self.transport.is_closing():
            return
        if self.active_cycle is None or self.active_cycle.response_complete:
            body = encode_error(error)
            head = STATUS_LINE[error.status] + b"content-type: application/json\r\nconnection: close\r\n"
            head += b"x-should-retry: false\r\ncontent-length: %d\r\n\r\n" % len(body)
            self.transport.write(head + body)
        self.transport.close()
