"""What leaves by a socket, frame by frame and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

MOST = 1000
"""Pieces that may wait for a platform that does not read; what comes then is lost on it."""


class Outbox:
    """The frames of one socket. `send` sends one; it may wait for a platform that reads slowly."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self.send = send
        self.closing: int | None = None
        self._frames: list[bytes] = []
        self._nap: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def say(self, frames: bytes) -> None:
        """These frames leave before anything that is not decided yet."""
        if frames and len(self._frames) < MOST:
            self._frames.append(frames)
            self.wake()

    def wake(self) -> None:
        """There may be something to send."""
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)

    def hang_up(self, code: int) -> None:
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
            if self._frames:
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
        frames = b"".join(self._frames)
        self._frames.clear()
        return frames
