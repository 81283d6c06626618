"""Closes connections whose clients stop reading, for the HTTP and the websocket protocol."""

from __future__ import annotations

import asyncio
from typing import Any

SEND_TIMEOUT = 30.0
"""Seconds without progress until the connection ends, unless the application's state has `send_timeout`."""


class SendTimeoutMixin:
    """For asyncio protocols: aborts a connection if its client reads nothing for too long."""

    loop: asyncio.AbstractEventLoop
    """The loop of the connection."""
    transport: Any
    """The transport of the connection."""
    send_timeout: float
    """Seconds without progress; 0 for no limit."""
    send_timer: asyncio.TimerHandle | None
    """The timer of the current pause; None while the client reads."""

    def _start_send_timer(self) -> None:
        """Start the timer of a pause: the protocol calls this in `pause_writing`."""
        if self.send_timeout:
            waiting = self.transport.get_write_buffer_size()
            self.send_timer = self.loop.call_later(self.send_timeout, self._check_send_progress, waiting)

    def _check_send_progress(self, waiting_before: int) -> None:
        """Abort the connection unless fewer bytes wait now than when the timer started."""
        if self.transport.get_write_buffer_size() < waiting_before:
            self._start_send_timer()  # slow, but it reads
        else:
            self.transport.abort()

    def _stop_send_timer(self) -> None:
        """Stop the timer: the protocol calls this in `resume_writing` and `connection_lost`."""
        if self.send_timer is not None:
            self.send_timer.cancel()
            self.send_timer = None
