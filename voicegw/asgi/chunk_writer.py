"""Writes the chunks of one response straight to the transport of its connection.

A stream that uses a `ChunkWriter` learns at once that the client disconnected or reads again, without a task
and two awaits per chunk. The head and the end of every response stay with uvicorn.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


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

    def __init__(self, cycle: RequestResponseCycle) -> None:
        # uvicorn's state of the response. It writes to this transport meanwhile.
        self.cycle = cycle
        # The transport that gets the write at the end.
        self.transport = cycle.transport
        # The writes so far.
        self.parts: list[bytes] = []
        # Replaces the transport's `write`: it only collects.
        self.write = self.parts.append  # type: ignore[assignment]

    def __enter__(self) -> None:
        self.cycle.transport = self

    def __exit__(self, *exc: object) -> None:
        self.cycle.transport = self.transport
        if self.parts:
            self.transport.write(b"".join(self.parts))


class ChunkWriter:
    """Writes the chunks of one response straight to the transport.

    `GatewayHttpProtocol` puts it into the ASGI scope as `scope["extensions"]["voicegw.chunk_writer"]`.
    """

    __slots__ = ("cycle", "protocol")

    def __init__(self, protocol: Any, cycle: RequestResponseCycle) -> None:
        # The connection, a `GatewayHttpProtocol`.
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
        return bool(self.protocol.flow.write_paused)

    def attach(self, source: ChunkSource | None) -> None:
        """Call this source from now on when the client reads again or disconnects; None to call none."""
        self.protocol.chunk_source = source
        self.protocol.flow.resume_reading()  # after a large body it is paused and would miss the disconnect

    def cork(self) -> CorkedTransport:
        """Return a context manager that collects the server's writes and sends them as one at its end."""
        return CorkedTransport(self.cycle)

    def write(self, data: bytes) -> None:
        """Write one chunk now, in one write."""
        self.protocol.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
