"""One streamed answer: a listener's bytes on their way to one client.

A lean subclass of sse-starlette's response. It keeps that library's contract (an event stream of ready
bytes, its headers, no `id:` or `retry:` lines) and leaves out its task group and its pings: the stream
is woken by the run in the same loop turn in which the agent spoke, by one lazily re-armed timer, and by
a client that hangs up. Shutdown is the switchboard's business, not the library's watcher's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext

from sse_starlette import EventSourceResponse
from starlette.types import Message, Receive, Scope, Send

from voicegw.asgi.http_protocol import SEND_SECONDS, ChunkWriter
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
"""No compression, no length, and no proxy that gathers before it passes on."""
RAW_HEADERS = tuple((name.encode(), value.encode()) for name, value in STREAM_HEADERS.items())


class SseResponse(EventSourceResponse):
    """Streams `listener` while `run` goes on; `on_end` is called once when the client has all or is gone.

    A client that takes nothing for `send_timeout` seconds (in the scope's state; 0 for as long as it likes)
    counts as gone: on a wire, the connection sees to that, else it is a `send` that does not return.
    """

    def __init__(
        self,
        run: Run,
        listener: ResponseStream,
        on_end: Callable[[SseResponse], None],
        headers: dict[str, str],
    ) -> None:
        # The parent's constructor prepares what only its own __call__ needs, for a tenth of the whole turn.
        self.status_code = 200
        self.background = None
        self.raw_headers = [
            *RAW_HEADERS,
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ]
        self.run = run
        self.listener = listener
        self.on_end = on_end
        self.loop = run.loop
        self.gone = False
        self.wire: ChunkWriter | None = None
        self._nap: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        run = self.run
        run.subscribers.append(self)
        wire: ChunkWriter | None = scope.get("extensions", {}).get("voicegw.wire")
        ear: asyncio.Task[None] | None = None
        within: float = scope.get("state", {}).get("send_timeout", SEND_SECONDS)
        if wire is None and within:
            send = bounded(send, within)
        try:
            with nullcontext() if wire is None else wire.held():
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._send(send, self.listener.start(run.now()))
            if wire is not None and wire.open:
                self.wire = wire
                wire.join(self)
            else:
                ear = self.loop.create_task(self._listen(receive))
            run.start()
            await self._follow(send)
        except TimeoutError:
            self.gone = True
        finally:
            if ear is not None:
                ear.cancel()
            if self._timer is not None:
                self._timer.cancel()
            if self.wire is not None:
                self.wire.join(None)
            self.on_end(self)

    async def _follow(self, send: Send) -> None:
        """Send what the listener has, and sleep until there is more, up to its end or the client's."""
        listener = self.listener
        while not self.gone:
            data = listener.read(self.run.now())
            if data:
                await self._send(send, data)
            if listener.done:
                return
            if not data:
                self._nap = self.loop.create_future()
                self._arm()
                await self._nap

    async def _send(self, send: Send, data: bytes) -> None:
        """The last bytes and the end of the body leave in one breath."""
        await send({"type": "http.response.body", "body": data, "more_body": not self.listener.done})

    def wake(self) -> None:
        """The record grew, the timer rang, or the client reads on: write, or rouse who can.

        While the request task is awake it writes itself, in order.
        """
        wire = self.wire
        if wire is None or self.listener.event_log.ended:
            self._rouse()  # head and end belong to the server
        elif self._nap is not None and not self._nap.done() and not wire.paused:
            self._write(wire)
            if self._timer is None or self.listener.ack.deadline is not None:
                self._arm()

    def _write(self, wire: ChunkWriter) -> None:
        """As much as is due and the client takes; while it does not, the rest stays in the record."""
        listener = self.listener
        while True:
            if data := listener.read(self.run.now()):
                wire.write(data)
            if not listener.has_more or wire.paused:
                return

    def hang_up(self) -> None:
        """The client is gone."""
        self.gone = True
        self._rouse()

    def _rouse(self) -> None:
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)

    def _arm(self) -> None:
        """One timer at a time; a deadline that moved on is noticed when the old one rings.

        Only words of ours can be due earlier than that: the agent went to work.
        """
        if self._timer is not None:
            words = self.listener.ack.deadline
            if words is None or words >= self._rings:
                return
            self._timer.cancel()
        self._rings = self.listener.deadline
        self._timer = self.loop.call_at(self._rings, self._ring)

    def _ring(self) -> None:
        """Whoever is woken arms the next one, or nobody while the client does not read."""
        self._timer = None
        if self.run.now() < self.listener.deadline:
            self._arm()
        else:
            self.wake()

    async def _listen(self, receive: Receive) -> None:
        """Without a wire, the only way to hear of a hang-up is to wait for it."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.hang_up()


def bounded(send: Send, within: float) -> Send:
    """The same `send`; it raises `TimeoutError` when it did not return within so many seconds."""

    async def send_in_time(message: Message) -> None:
        async with asyncio.timeout(within):
            await send(message)

    return send_in_time
