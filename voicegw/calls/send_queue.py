"""Sends the frames of one socket in their order, and closes it when they were sent.

It decides nothing about a turn: the session gives it the frames that are due.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf

MAX_QUEUED_BYTES = 8 * 1024 * 1024
"""Maximum number of queued bytes; with more, the socket is closed with 1013."""
HIGH_WATER_BYTES = 256 * 1024
"""Queued bytes above which the reader pauses, so that a platform that does not read cannot send more."""
TRY_AGAIN_LATER = 1013
"""The websocket close code for a gateway without capacity, and for a platform that does not read."""


class SendQueue:
    """The frames of one socket that wait to be sent, and the loop that sends them."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self.send = send  # sends one frame; it waits while the platform reads slowly
        self.close_code: int | None = None  # set when the socket has to be closed after the queued frames
        self._pieces: deque[bytes] = deque()
        self._size = 0  # bytes in `_pieces`
        self._wakeup: asyncio.Future[None] | None = None  # the write loop waits for it
        self._timer: asyncio.TimerHandle | None = None  # wakes the write loop at its deadline
        self._space: asyncio.Future[None] | None = None  # a paused reader waits for it

    def put(self, frames: bytes) -> None:
        """Queue frames, each with a line break at its end; they are sent before any frame that becomes due.

        With more than `MAX_QUEUED_BYTES` the socket is closed, and further frames are dropped.
        """
        if not frames or self._size > MAX_QUEUED_BYTES:
            return
        self._pieces.append(frames)
        self._size += len(frames)
        if self._size > MAX_QUEUED_BYTES:
            self.close(TRY_AGAIN_LATER)
        self.wake()

    async def wait_for_space(self) -> None:
        """Wait until at most `HIGH_WATER_BYTES` are queued."""
        while self._size > HIGH_WATER_BYTES:
            self._space = asyncio.get_running_loop().create_future()
            await self._space

    def wake(self) -> None:
        """Let the write loop look for frames."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def close(self, code: int) -> None:
        """Close the socket with this code once everything was sent; the first code counts."""
        if self.close_code is None:
            self.close_code = code
            self.wake()

    async def write(self, due: Callable[[], bytes], deadline: Callable[[], float | None]) -> int:
        """Send queued and due frames until the socket has to be closed; return the close code.

        `due` returns the frames that are due now, b"" for none. `deadline` returns when to ask `due` again
        although nothing woke the loop, in seconds of the loop's clock; None while no turn is played. Raises
        what `send` and `due` raise.
        """
        loop = asyncio.get_running_loop()
        while True:
            if frames := self._pop() or due():
                for frame in frames.splitlines():
                    await self.send(frame.decode())
                continue
            if self._pieces:
                continue  # `due` ended a turn, which may have queued frames
            when = deadline()
            if when is None and self.close_code is not None:
                return self.close_code
            self.cancel_timer()
            self._wakeup = loop.create_future()
            if when is not None and when < inf:
                self._timer = loop.call_at(when, self.wake)
            await self._wakeup

    def cancel_timer(self) -> None:
        """Cancel the timer of the write loop's deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pop(self) -> bytes:
        """Return the next queued piece, b"" if there is none; let a paused reader go on."""
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._space is not None and self._size <= HIGH_WATER_BYTES and not self._space.done():
            self._space.set_result(None)
        return piece
