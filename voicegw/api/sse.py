"""One streamed HTTP response: sends the bytes of a `ResponseStream` to one client as server-sent events.

`SseResponse` is a lean subclass of sse-starlette's response. It keeps that library's contract: an event
stream of encoded events, its headers, no `id:` or `retry:` lines. It leaves out the library's task group and
pings. Three things wake the stream: the run, in the same loop iteration in which the agent speaks; one timer,
re-armed only when it fires; and the client's disconnect. At shutdown the dispatcher ends the runs; the
library's shutdown watcher is not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext

from sse_starlette import EventSourceResponse
from starlette.types import Message, Receive, Scope, Send

from voicegw.asgi.chunk_writer import ChunkWriter
from voicegw.asgi.send_timeout import SEND_TIMEOUT
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
"""The headers of every stream. They keep proxies from buffering; nothing is compressed."""
RAW_HEADERS = tuple((name.encode(), value.encode()) for name, value in STREAM_HEADERS.items())
"""`STREAM_HEADERS` as ASGI has them."""


class SseResponse(EventSourceResponse):
    """Streams one `ResponseStream`. It is the run's `Subscriber` and the `ChunkSource` of its connection.

    A client that reads nothing for `send_timeout` seconds (from the scope's state; 0 for no limit) counts as
    disconnected. With a `ChunkWriter` the connection enforces this limit; otherwise `with_send_timeout` does.
    """

    def __init__(
        self,
        run: Run,
        response_stream: ResponseStream,
        on_end: Callable[[SseResponse], None],
        headers: dict[str, str],
    ) -> None:
        # The parent's constructor is not called: only its own __call__ needs it, and it costs a tenth of the
        # whole turn.
        self.status_code = 200
        self.background = None
        self.raw_headers = [
            *RAW_HEADERS,
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ]
        # The run that is streamed. It starts after the first chunk.
        self.run = run
        # The bytes to send.
        self.response_stream = response_stream
        # Called once, when the client has everything or disconnected.
        self.on_end = on_end
        # The event loop of the timer.
        self.loop = run.loop
        # True once the client disconnected or timed out.
        self.has_disconnected = False
        # Writes chunks without the task; None before the head is sent, and on plain ASGI.
        self.chunk_writer: ChunkWriter | None = None
        # The task waits for this future while it has nothing to send.
        self._wakeup: asyncio.Future[None] | None = None
        # The timer for acknowledgements and keepalives, and the time for which it is set.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_deadline = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Subscribe to the run, start it, send the response, and call `on_end` in any case."""
        run = self.run
        run.subscribers.append(self)
        writer: ChunkWriter | None = scope.get("extensions", {}).get("voicegw.chunk_writer")
        disconnect_task: asyncio.Task[None] | None = None
        timeout: float = scope.get("state", {}).get("send_timeout", SEND_TIMEOUT)
        if writer is None and timeout:
            send = with_send_timeout(send, timeout)
        try:
            with nullcontext() if writer is None else writer.cork():
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._send_body(send, self.response_stream.start(run.now()))
            if writer is not None and writer.is_open:
                self.chunk_writer = writer
                writer.attach(self)
            else:
                disconnect_task = self.loop.create_task(self._watch_disconnect(receive))
            run.start()
            await self._send_until_done(send)
        except TimeoutError:
            self.has_disconnected = True
        finally:
            if disconnect_task is not None:
                disconnect_task.cancel()
            if self._timer is not None:
                self._timer.cancel()
            if self.chunk_writer is not None:
                self.chunk_writer.attach(None)
            self.on_end(self)

    async def _send_until_done(self, send: Send) -> None:
        """Send what is due and wait for more, until the stream is done or the client disconnects."""
        stream = self.response_stream
        while not self.has_disconnected:
            data = stream.read(self.run.now())
            if data:
                await self._send_body(send, data)
            if stream.is_done:
                return
            if not data:
                self._wakeup = self.loop.create_future()
                self._arm_timer()
                await self._wakeup

    async def _send_body(self, send: Send, data: bytes) -> None:
        """Send bytes of the body. The last ones and the end of the body leave in one message."""
        await send(
            {"type": "http.response.body", "body": data, "more_body": not self.response_stream.is_done}
        )

    def wake(self) -> None:
        """Write what is due, because the event log grew, the timer fired, or the client reads again.

        While the task is awake, it writes itself, so that the order is kept.
        """
        writer = self.chunk_writer
        if writer is None or self.response_stream.event_log.has_ended:
            self._wake_task()  # the server writes the head and the end
        elif self._wakeup is not None and not self._wakeup.done() and not writer.is_paused:
            self._write_available(writer)
            if self._timer is None or self.response_stream.ack.deadline is not None:
                self._arm_timer()

    def _write_available(self, writer: ChunkWriter) -> None:
        """Write what is due, as far as the client reads. The rest stays in the event log."""
        stream = self.response_stream
        while True:
            if data := stream.read(self.run.now()):
                writer.write(data)
            if not stream.has_more or writer.is_paused:
                return

    def on_disconnect(self) -> None:
        """End the response: the client disconnected."""
        self.has_disconnected = True
        self._wake_task()

    def probe(self) -> None:
        """Write a keepalive between two events, unless bytes wait for the client anyway."""
        if self.chunk_writer is not None and not self.chunk_writer.is_paused:
            self.chunk_writer.write(self.response_stream.encoder.keepalive)

    def _wake_task(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def _arm_timer(self) -> None:
        """Set the timer to the stream's deadline, unless it is set already.

        A deadline that moved to later is noticed when the timer fires. Only an acknowledgement can move it to
        earlier: the agent began to work. Then the timer is set anew.
        """
        if self._timer is not None:
            ack_deadline = self.response_stream.ack.deadline
            if ack_deadline is None or ack_deadline >= self._timer_deadline:
                return
            self._timer.cancel()
        self._timer_deadline = self.response_stream.deadline
        self._timer = self.loop.call_at(self._timer_deadline, self._on_timer)

    def _on_timer(self) -> None:
        """Wake the stream, which arms the next timer. While the client does not read, none is armed."""
        self._timer = None
        if self.run.now() < self.response_stream.deadline:
            self._arm_timer()
        else:
            self.wake()

    async def _watch_disconnect(self, receive: Receive) -> None:
        """Wait for the disconnect message: plain ASGI reports a disconnect in no other way."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.on_disconnect()


def with_send_timeout(send: Send, timeout: float) -> Send:
    """Return a `send` that raises `TimeoutError` if it does not return within `timeout` seconds."""

    async def send_in_time(message: Message) -> None:
        async with asyncio.timeout(timeout):
            await send(message)

    return send_in_time
