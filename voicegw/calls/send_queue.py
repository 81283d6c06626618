"""What leaves by a socket, frame by frame and in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf

MOST = 8 * 1024 * 1024
"""Bytes that may wait for a platform that does not read; with more, its socket is given up."""
FULL = 256 * 1024
"""Bytes that wait from which on nothing more is read: whoever does not listen is not listened to."""
OVERRUN = 1013


class SendQueue:
    """The frames of one socket. `send` sends one; it may wait for a platform that reads slowly."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self.send = send
        self.closing: int | None = None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._nap: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._room: asyncio.Future[None] | None = None

    def say(self, frames: bytes) -> None:
        """These frames leave before anything that is not decided yet."""
        if not frames or self._size > MOST:
            return
        self._pieces.append(frames)
        self._size += len(frames)
        if self._size > MOST:
            self.close(OVERRUN)
        self.wake()

    async def room(self) -> None:
        """Wait until little waits to be sent."""
        while self._size > FULL:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def wake(self) -> None:
        """There may be something to send."""
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)

    def close(self, code: int) -> None:
        """Close, once everything was sent; the first code counts."""
        if self.closing is None:
            self.closing = code
            self.wake()

    async def write(self, due: Callable[[], bytes], deadline: Callable[[], float | None]) -> int:
        """Send what was said and what is `due`, until it is over; gives the code to close with.

        `deadline` is when to ask again although nobody woke us, None while there is nothing to wait for.
        """
        loop = asyncio.get_running_loop()
        while True:
            if frames := self._take() or due():
                for frame in frames.splitlines():
                    await self.send(frame.decode())
                continue
            if self._pieces:
                continue  # the end of a turn may have said something more
            when = deadline()
            if when is None and self.closing is not None:
                return self.closing
            self.stop()
            self._nap = loop.create_future()
            if when is not None and when < inf:
                self._timer = loop.call_at(when, self.wake)
            await self._nap

    def stop(self) -> None:
        """Wait no longer for a deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self) -> bytes:
        """The next piece."""
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._room is not None and self._size <= FULL and not self._room.done():
            self._room.set_result(None)
        return piece
