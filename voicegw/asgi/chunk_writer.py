"""Writes the chunks of one response straight to the transport of its connection.

A stream that uses a `ChunkWriter` learns at once that the client disconnected or reads again, without a task
and two awaits per chunk. Every other response is written by uvicorn.
"""

from __future__ import annotations

from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


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


class ChunkWriter:
    """Writes one chunked response straight to the transport: `start`, then `write`, then `end`.

    `GatewayHttpProtocol` puts it into the ASGI scope as `scope["extensions"]["voicegw.chunk_writer"]`, for
    clients of HTTP/1.1. An application that uses it sends nothing by ASGI.
    """

    __slots__ = ("_flow", "_write", "cycle", "protocol")

    def __init__(self, protocol: Any, cycle: RequestResponseCycle) -> None:
        # The connection, a `GatewayHttpProtocol`.
        self.protocol = protocol
        # uvicorn's state of this request and its response.
        self.cycle = cycle
        # The control of the client's reading, and the transport's `write`.
        self._flow = protocol.flow
        self._write = protocol.transport.write

    @property
    def is_open(self) -> bool:
        """Is the client connected?"""
        return not self.cycle.disconnected

    @property
    def is_paused(self) -> bool:
        """Does the client read too slowly? The source's `wake` is called when it has caught up."""
        return bool(self._flow.write_paused)

    def start(self, source: ChunkSource, header_lines: bytes, data: bytes) -> None:
        """Write the head of a response of status 200 and its first chunk, in one write.

        `source` is called from now on when the client reads again or disconnects. `header_lines` are complete
        lines, each with its line break.
        """
        cycle, protocol = self.cycle, self.protocol
        cycle.response_started, cycle.waiting_for_100_continue, cycle.chunked_encoding = True, False, True
        protocol.chunk_source = source
        protocol.flow.resume_reading()  # after a large body it is paused and would miss the disconnect
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        common = protocol.default_header_lines()
        head = b"%b%b%b%btransfer-encoding: chunked\r\n\r\n" % (STATUS_LINE[200], common, header_lines, close)
        self._write(b"%b%x\r\n%b\r\n" % (head, len(data), data))

    def write(self, data: bytes) -> None:
        """Write one chunk now, in one write."""
        self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, data: bytes) -> None:
        """Write the last chunk and the end of the response, in one write. The next request may follow."""
        cycle = self.cycle
        self._write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()  # it lingers if the request is not complete
        self.release()
        on_response, cycle.on_response = cycle.on_response, _do_nothing
        on_response()

    def release(self) -> None:
        """Call the source no more."""
        self.protocol.chunk_source = None


def _do_nothing() -> None: ...
