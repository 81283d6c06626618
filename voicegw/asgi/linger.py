"""Closes a connection so that a client which still sends can read its answer, for the HTTP protocol.

A connection that is closed before all its bytes were read is reset, and the client may lose the answer. So
the connection first stops sending, drops what arrives, and closes when the client does.
"""

from __future__ import annotations

import asyncio
from typing import Any

LINGER_TIMEOUT = 2.0
"""Seconds that a client has to read its answer and to close. Then the gateway closes the connection."""
MAX_DROPPED_BYTES = 4 * 1024 * 1024
"""Bytes that are dropped meanwhile. They are not parsed; more of them close the connection."""


class LingerMixin:
    """For the HTTP protocol: lingers instead of closing."""

    loop: asyncio.AbstractEventLoop
    """The loop of the connection."""
    transport: Any
    """The transport of the connection."""
    receive_timer: asyncio.TimerHandle | None
    """Closes the connection if the client does not send, or close, in time."""
    is_lingering: bool
    """True once the last answer was written; no more bytes are parsed."""
    dropped_bytes: int
    """Bytes that were dropped since."""

    def linger(self) -> None:
        """Stop sending, and drop all that arrives until the client closes or `LINGER_TIMEOUT` passes."""
        if self.is_lingering or self.transport.is_closing():
            return
        self.is_lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
        if self.receive_timer is not None:
            self.receive_timer.cancel()
        self.receive_timer = self.loop.call_later(LINGER_TIMEOUT, self.transport.close)

    def _drop(self, data: bytes) -> None:
        """Drop bytes that arrived while the connection lingers."""
        self.dropped_bytes += len(data)
        if self.dropped_bytes > MAX_DROPPED_BYTES:
            self.transport.close()


class LingeringTransport(asyncio.Transport):
    """The transport of a response that begins before its request is complete: `close` lingers."""

    def __init__(self, protocol: LingerMixin, keep_alive: bool) -> None:
        # Replaces the transport's methods; uvicorn's cycle uses no others.
        self.write = protocol.transport.write  # type: ignore[method-assign]
        self.is_closing = protocol.transport.is_closing  # type: ignore[method-assign]
        self.close = protocol.linger  # type: ignore[method-assign]
        # Whether the connection would stay open after a complete request.
        self.keep_alive = keep_alive
