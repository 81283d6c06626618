"""Answers clients that stop sending after their request, and still notices those that disconnected.

TCP reports both in the same way. Only a write tells them apart: the kernel of a client that disconnected
answers it with a reset, and the write after that fails. So the connection stays open, and bytes without
meaning are written until a write fails or the response ends.
"""

from __future__ import annotations

import asyncio
from typing import Any

FIRST_PROBE_DELAY = 0.002
"""Seconds between the first two probes: the reset of a client on the same machine arrives within it."""
PROBE_DELAY_FACTOR = 2
"""Each delay between two probes is so many times the one before, so that two round trips suffice."""
MAX_PROBE_DELAY = 4.0
"""Maximum seconds between two probes."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The probe before a response. Clients skip it (RFC 9110, 15.2)."""


class HalfCloseMixin:
    """For the HTTP protocol: sends probes from the end of a client's data to the end of the response."""

    loop: asyncio.AbstractEventLoop
    """The loop of the connection."""
    transport: Any
    """The transport of the connection."""
    scheme: Any
    """"http" or "https"."""
    cycle: Any
    """uvicorn's state of the current request; None before the first one."""
    unparsed: bytes
    """Requests that wait for the response, and their beginnings."""
    is_eof_received: bool
    """True once the client sends no more."""
    chunk_source: Any
    """The stream that writes the response; None for any other response."""
    probe_timer: asyncio.TimerHandle | None
    """The timer of the next probe; None while the client may send."""

    def eof_received(self) -> bool:
        """Return True to keep the connection open: the client gets its response although it sends no more.

        False closes it: without a response, for an incomplete request, and where no probe can be written,
        which is over TLS and to a client of HTTP/1.0.
        """
        cycle = self.cycle
        self.is_eof_received = True
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        if self.scheme == "https" or cycle.scope["http_version"] != "1.1":
            return False
        if not self.unparsed:
            cycle.keep_alive = False
        self._stop_probes()
        self._send_probes(FIRST_PROBE_DELAY)
        return True

    def _send_probes(self, delay: float) -> None:
        """Write a probe now, and the next one after `delay` seconds, until the response is complete."""
        self.probe_timer = None
        if self.cycle.response_complete or self.transport.is_closing():
            return
        if not self.cycle.response_started:
            self.transport.write(CONTINUE)
        elif self.chunk_source is not None:
            self.chunk_source.probe()
        next_delay = min(MAX_PROBE_DELAY, delay * PROBE_DELAY_FACTOR)
        self.probe_timer = self.loop.call_later(delay, self._send_probes, next_delay)

    def _stop_probes(self) -> None:
        """Write no more probes: the protocol calls this in `connection_lost`."""
        if self.probe_timer is not None:
            self.probe_timer.cancel()
            self.probe_timer = None
