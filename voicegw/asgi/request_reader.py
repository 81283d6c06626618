"""The receiving side of uvicorn's HTTP protocol: limits, and parsing in steps, one request at a time.

Neither many small parts nor many requests in one packet keep the event loop from its other connections. A
request behind another one waits as bytes, or in the socket: as objects it would take a hundred times the
memory. `request_slices` finds where a request ends, `work_queue` spreads the steps, `linger` closes the
connection of a refused request, and `upgrade_offer` finds offers of HTTP/2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from voicegw.asgi.idle_connections import IdleConnections
from voicegw.asgi.linger import LingeringTransport, LingerMixin
from voicegw.asgi.request_slices import EMPTY_LINE, find_slice_end, framing_error
from voicegw.asgi.upgrade_offer import MAX_HELD_BYTES, ignore_offer, may_hold_offer, split_at_offers
from voicegw.asgi.work_queue import WorkQueue
from voicegw.errors import BadRequest, HeadersTooLarge, RequestError
from voicegw.wire.openai import encode_error

MAX_HEADER_BYTES = 65_536
"""Limit of a request's head in bytes, unless the application's state has `max_header_bytes`."""
MAX_HEADER_FIELDS = 1000
"""Limit of the fields in a request's head: the gateway looks through all of them."""
BODY_BYTE_ALLOWANCE = 9
"""Bytes on the wire that each byte of a body may take. A chunk of one byte takes six."""
REQUEST_TIMEOUT = 30.0
"""Seconds that a client has to send one request, head and body."""
MAX_STEP_BYTES = 8192
"""Bytes of heads and chunks that are parsed before other connections get their turn, in 3 ms at most.

A body of known length does not count: its bytes are only copied."""
MAX_WAITING_BYTES = 65_536
"""Bytes behind a request above which the connection reads no more until the request is answered."""


class HoldableFlowControl(FlowControl):
    """uvicorn's control of a connection's reading and writing, with a hold on reading."""

    is_held = False
    """True while enough bytes wait to be parsed. Then `resume_reading` does nothing."""

    def resume_reading(self) -> None:
        """Read again, except during a hold."""
        if not self.is_held:
            super().resume_reading()


class RequestReader(LingerMixin, HttpToolsProtocol):
    """Reads the requests of one connection.

    The application's state gives `max_header_bytes`, `work_queue` and `idle_connections`.
    """

    flow: HoldableFlowControl
    """Pauses and resumes reading and writing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Limit of a request's head, and of chunk sizes and trailers.
        self.max_header_bytes: int = self.app_state.get("max_header_bytes", MAX_HEADER_BYTES)
        # False from the end of a request's head to the end of its body.
        self.parsing_headers = True
        # The beginning of a line that may become an offer of another protocol; not parsed yet.
        self.held_bytes = b""
        # True if a line break was parsed last.
        self.at_line_start = False
        # Received bytes that are neither a complete head nor body: a partial head, chunk sizes, trailers.
        self.overhead_bytes = 0
        # The target of the request; uvicorn sets it only when one begins.
        self.url = b""
        # False from the end of a request to the end of its response, and once nothing may follow.
        self.may_parse = True
        # Received bytes that are not parsed yet.
        self.unparsed = b""
        # True from the beginning of a request to its end.
        self.is_receiving = False
        # True if `receive_timer` limits the current request.
        self.is_request_timed = False
        # Bytes of the current body that are still to come, if its length is known; else 0.
        self.body_bytes_left = 0
        # Runs the next step if the bytes take more than one.
        self.work_queue: WorkQueue = self.app_state.get("work_queue") or WorkQueue(self.loop)
        # The connections that wait for a request; None on a server that has no limit of them.
        self.idle_connections: IdleConnections | None = self.app_state.get("idle_connections")
        # True while a step is in the queue.
        self.is_step_queued = False
        # True once the connection is about to close; see LingerMixin.
        self.is_lingering = False
        # Bytes that arrived since; see LingerMixin.
        self.dropped_bytes = 0
        # Closes the connection if the client does not send in time; None while the gateway answers.
        self.receive_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = HoldableFlowControl(transport)
        if self.idle_connections is not None:
            descriptor = transport.get_extra_info("socket").fileno()
            self.idle_connections.admit(self, descriptor, len(self.connections))
        self._set_receive_timer(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes now, as far as one step goes. This replaces uvicorn's method."""
        if self.is_lingering:
            self._drop(data)
        else:
            self._parse(self.unparsed + data if self.unparsed else data)

    def _parse(self, data: bytes) -> None:
        """Parse the bytes up to the end of a request, or as many as one step may; keep the rest."""
        at, budget = 0, MAX_STEP_BYTES
        while self.may_parse and at < len(data) and budget > 0:
            if self.body_bytes_left:
                end = min(at + self.body_bytes_left, len(data))
                super().data_received(data[at:end])
                self.body_bytes_left -= end - at
            else:
                end = find_slice_end(data, at, max(budget, len(EMPTY_LINE)))
                if end == at:
                    break
                self._parse_slice(data[at:end])
                budget -= end - at
            at = end
        self.unparsed = data[at:]
        if self.may_parse or self.unparsed or self.flow.is_held:
            self._after_parsing(is_step_over=budget <= 0)

    def _parse_slice(self, data: bytes) -> None:
        """Parse a part of a head or of a body in chunks."""
        self.overhead_bytes += len(data)
        if not self.parsing_headers or not (self.held_bytes or may_hold_offer(data)):
            super().data_received(data)
        else:
            for piece in self._without_offers(self.held_bytes + data):
                super().data_received(piece)
        if self.overhead_bytes > self.max_header_bytes:
            self._reject_headers()

    def _without_offers(self, data: bytes) -> Iterator[bytes]:
        """Yield the bytes to parse, without offers of other protocols. Each one is parsed before the next."""
        pieces, self.held_bytes = split_at_offers(data, at_line_start=self.at_line_start), b""
        for number, (piece, may_offer) in enumerate(pieces, 1):
            if may_offer:
                if number == len(pieces) and len(piece) < MAX_HELD_BYTES:
                    self.held_bytes = piece
                    return
                piece = ignore_offer(piece, self.parser.get_method(), self.parser.get_http_version())
            self.at_line_start = piece.endswith(b"\n")
            yield piece
            if not self.may_parse:
                return

    def _after_parsing(self, *, is_step_over: bool) -> None:
        """Decide how the connection goes on, unless exactly one request was received."""
        if is_step_over and self.unparsed and self.may_parse:
            self._queue_step()
        self._hold_reading(self.is_step_queued or len(self.unparsed) > MAX_WAITING_BYTES)
        cycle = self.cycle
        if not self.may_parse:
            return
        if self.is_receiving and not self.is_request_timed:
            self.is_request_timed = True
            self._set_receive_timer(REQUEST_TIMEOUT)
        if self.parsing_headers and self.unparsed and self._is_old_request_line():
            self._reject(BadRequest("The request names no version of HTTP."))
        elif cycle is None:
            return
        elif cycle.response_complete:
            if self.receive_timer is None:  # uvicorn's own timer ended with these bytes
                self._set_receive_timer(self.timeout_keep_alive)
        elif not cycle.response_started and cycle.transport is self.transport:
            cycle.transport = LingeringTransport(self, cycle.keep_alive)
            cycle.keep_alive = False

    def _is_old_request_line(self) -> bool:
        """Has the client sent the whole request of HTTP/0.9: one line without a version?"""
        is_line_complete = self.unparsed[:2] == b"\r\n" and len(self.unparsed) <= 3
        return is_line_complete and self.parser.get_http_version() in ("0.0", "0.9") and bool(self.url)

    def _queue_step(self) -> None:
        if not self.is_step_queued:
            self.is_step_queued = True
            self.work_queue.add(self._run_step)

    def _run_step(self) -> None:
        """Parse more of the received bytes."""
        self.is_step_queued = False
        if self.may_parse and not self.transport.is_closing():
            self._parse(self.unparsed)

    def _hold_reading(self, hold: bool) -> None:
        if hold != self.flow.is_held:
            self.flow.is_held = hold
            if hold:
                self.flow.pause_reading()
            elif self.cycle is None or len(self.cycle.body) <= HIGH_WATER_LIMIT:
                self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._set_receive_timer(None)
        self.may_parse, self.unparsed = False, b""
        if self.idle_connections is not None:
            self.idle_connections.lose(self)

    def linger(self) -> None:
        self.may_parse = False
        super().linger()

    # Called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.is_receiving, self.is_request_timed = True, False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Drop trailers, the fields after the body: nothing uses them, and uvicorn does not limit them."""
        if self.parsing_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size, codings, self.body_bytes_left = len(self.url), [], 0
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"content-length":
                self.body_bytes_left = int(value)
            elif name == b"transfer-encoding":
                codings.append(value.lower())
        self.parsing_headers, self.overhead_bytes = False, 0
        if size > self.max_header_bytes or len(self.headers) > MAX_HEADER_FIELDS:
            return self._reject_headers()
        version = self.parser.get_http_version()
        if (codings or version != "1.1") and (refusal := framing_error(version, codings)):
            return self._reject(BadRequest(refusal))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.overhead_bytes -= BODY_BYTE_ALLOWANCE * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.parsing_headers, self.overhead_bytes = True, 0
        if not self.may_parse:
            return
        super().on_message_complete()
        self.may_parse = self.at_line_start = self.is_receiving = False
        if self.idle_connections is not None:
            self.idle_connections.remove(self)
        self._set_receive_timer(None)
        cycle = self.cycle
        if cycle is not None and type(cycle.transport) is LingeringTransport and not cycle.response_started:
            cycle.keep_alive, cycle.transport = cycle.transport.keep_alive, self.transport

    def on_response_complete(self) -> None:
        if self.is_lingering:
            self.server_state.total_requests += 1
            return
        self.may_parse = True
        super().on_response_complete()
        if self.unparsed:
            self._queue_step()
        if self.idle_connections is not None and not self.transport.is_closing():
            self.idle_connections.keep(self)

    def handle_websocket_upgrade(self) -> None:
        """Begin the handshake of a websocket, unless its head was refused. uvicorn has no scope then."""
        if not (self.is_lingering or self.transport.is_closing()):
            super().handle_websocket_upgrade()

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP with the same error envelope as every other error."""
        self._reject(BadRequest(msg))

    def _set_receive_timer(self, seconds: float | None) -> None:
        """Close the connection after so many seconds unless this is called again; None for no limit."""
        if self.receive_timer is not None:
            self.receive_timer.cancel()
        self.receive_timer = None if seconds is None else self.loop.call_later(seconds, self.transport.close)

    def _reject_headers(self) -> None:
        self._reject(HeadersTooLarge(f"The request's headers are larger than {self.max_header_bytes} bytes."))

    def _reject(self, error: RequestError) -> None:
        """Answer bytes that are no request with an error, then close. During a response, only close."""
        cycle = self.cycle
        if self.is_lingering or self.transport.is_closing():
            return
        if cycle is not None and not cycle.response_complete:
            self.may_parse = False
            if cycle.response_started:
                self.transport.close()
                return
            cycle.disconnected = True  # the application gets no more of the request, and answers nothing
            cycle.message_event.set()
        body = encode_error(error)
        head = STATUS_LINE[error.status] + b"content-type: application/json\r\nconnection: close\r\n"
        head += b"x-should-retry: false\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)
        self.linger()
