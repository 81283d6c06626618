"""The frames of an agent's websocket that wait to be read, and the pump that passes them on as they arrive.

The queue replaces that of the websockets library; `websocket` has the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from websockets.asyncio.messages import SimpleQueue
from websockets.frames import Frame

MAX_QUEUED_FRAMES = 4096
"""Frames that may wait to be read; beyond that the connection stops reading."""
MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""Bytes of frames that may wait to be read, two of the largest messages; beyond that the connection stops
reading."""


class ByteBoundedQueue(SimpleQueue[Frame]):
    """Frames that wait to be read, limited by their bytes too.

    The library compares the length of the queue with a number of frames. `queued_bytes` therefore counts as
    frames: `MAX_QUEUED_BYTES` as much as `MAX_QUEUED_FRAMES`.
    """

    queued_bytes = 0

    def __len__(self) -> int:
        return max(super().__len__(), self.queued_bytes * MAX_QUEUED_FRAMES // MAX_QUEUED_BYTES)

    def put(self, item: Frame) -> None:
        self.queued_bytes += len(item.data)
        super().put(item)

    async def get(self, block: bool = True) -> Frame:
        frame = await super().get(block)
        self.queued_bytes -= len(frame.data)
        return frame

    def pop(self) -> Frame:
        """Take the first frame, which must be there."""
        frame = self.queue.popleft()
        self.queued_bytes -= len(frame.data)
        return frame

    def put_back(self, items: Sequence[Frame]) -> None:
        self.queued_bytes += sum(len(item.data) for item in items)
        self.queue.extendleft(reversed(items))


class FramePump:
    """Passes the messages in `frames` to `feed`; `stopped` is done when that returns False or raises.

    `flush` is called after the frames that arrived together.
    """

    def __init__(
        self, frames: ByteBoundedQueue, feed: Callable[[bytes], bool], flush: Callable[[], None]
    ) -> None:
        self.stopped: asyncio.Future[None] = frames.loop.create_future()
        # Whether `feed` returned False.
        self.is_satisfied = False
        self._frames = frames
        self._feed = feed
        self._flush = flush
        # The frames of a message that is not complete.
        self._fragments: list[Frame] = []

    def read(self) -> None:
        """Pass on what has arrived."""
        try:
            while self._frames.queue and not self.stopped.done():
                frame = self._frames.pop()
                self._fragments.append(frame)
                if frame.fin:
                    message, self._fragments = b"".join(part.data for part in self._fragments), []
                    if not self._feed(message):
                        self.is_satisfied = True
                        self.end()
            self._flush()
        except BaseException as error:
            if not self.stopped.done():
                self.stopped.set_exception(error)

    def end(self) -> None:
        """Pass nothing more on."""
        if not self.stopped.done():
            self.stopped.set_result(None)

    def put_back(self) -> None:
        """Put the frames of a message that is not complete back, for the next reader."""
        self._frames.put_back(self._fragments)
