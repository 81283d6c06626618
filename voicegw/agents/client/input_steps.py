"""Passes the bytes of a server on in steps: a server that floods its connection delays no other call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STEP_BYTES = 8192
"""Bytes of an HTTP response that are parsed in one turn of the event loop; less than 5 ms."""
WEBSOCKET_STEP_BYTES = 2048
"""The same of a websocket, whose smallest frame takes two bytes."""


class InputSteps:
    """The received bytes of one connection that wait to be parsed. Meanwhile the connection reads no more."""

    def __init__(self, parse: Callable[[bytes], None], may_read: Callable[[], bool], step_bytes: int) -> None:
        """Pass the bytes to `parse`. Read again after the last step if `may_read` returns True."""
        # The bytes that wait.
        self.waiting = b""
        self._parse = parse
        self._may_read = may_read
        self._step_bytes = step_bytes
        # The next step; None while none waits.
        self._next: asyncio.Handle | None = None

    def feed(self, transport: asyncio.Transport, data: bytes) -> None:
        """Parse `data`: one step of it now, the others in later turns of the event loop."""
        if not self.waiting and len(data) <= self._step_bytes:
            return self._parse(data)
        self.waiting += data
        if self._next is None:
            transport.pause_reading()
            self._step(transport)

    def _step(self, transport: asyncio.Transport) -> None:
        data, self.waiting = self.waiting[: self._step_bytes], self.waiting[self._step_bytes :]
        self._next = asyncio.get_running_loop().call_soon(self._step, transport) if self.waiting else None
        self._parse(data)
        if not self.waiting and self._may_read() and not transport.is_closing():
            transport.resume_reading()

    def finish(self) -> None:
        """Parse the rest now: the connection is closed."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        data, self.waiting = self.waiting, b""
        if data:
            self._parse(data)
