"""One streamed HTTP response: sends the bytes of a `ResponseStream` to one client as server-sent events.

`SseResponse` is a lean subclass of sse-starlette's response. It keeps that library's contract: an event
stream of encoded events, its headers, no `id:` or `retry:` lines. It leaves out the library's task group and
pings. Three things wake the stream: the run, in the same loop iteration in which the agent speaks; one timer,
re-armed only when it fires; and the client's disconnect. With a `ChunkWriter` each of them writes at once;
on plain ASGI a task sends. At shutdown the dispatcher ends the runs; the library's watcher is not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sse_starlette import EventSourceResponse
from starlette.types import Message, Receive, Scope, Send

from voicegw.asgi.chunk_writer import ChunkWriter
from voicegw.asgi.send_timeout import SEND_TIMEOUT
from voicegw.turns.run import Run
from voicegw.turns.stream import MAX_READ_BYTES, ResponseStream

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
"""The headers of every stream. They keep proxies from buffering; nothing is compressed."""
RAW_HEADERS = tuple((name.encode(), value.encode()) for name, value in STREAM_HEADERS.items())
"""`STREAM_HEADERS` as ASGI has them."""
HEADER_LINES = b"".join(b"%b: %b\r\n" % header for header in RAW_HEADERS)
"""`STREAM_HEADERS` as they are written."""


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
        # The headers besides `STREAM_HEADERS`.
        self.more_headers = headers
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
        # Writes the response; None on plain ASGI.
        self.chunk_writer: ChunkWriter | None = None
        # The task of the ASGI application waits for this future: with a writer for the end of the response,
        # otherwise while it has nothing to send.
        self._wakeup: asyncio.Future[None] | None = None
        # The timer for acknowledgements and keepalives, and the time for which it is set.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_deadline = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Subscribe to the run, start it, send the response, and call `on_end` in any case."""
        writer: ChunkWriter | None = scope.get("extensions", {}).get("voicegw.chunk_writer")
        if writer is not None and writer.is_open:
            return await self._write_until_done(writer)
        run = self.run
        run.subscribers.append(self)
        timeout: float = scope.get("state", {}).get("send_timeout", SEND_TIMEOUT)
        if timeout:
            send = with_send_timeout(send, timeout)
        disconnect_task = self.loop.create_task(self._watch_disconnect(receive))
        try:
            headers = [(name.encode(), value.encode()) for name, value in self.more_headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": [*RAW_HEADERS, *headers]})
            await self._send_body(send, self.response_stream.start(run.now()))
            run.start()
            await self._send_until_done(send)
        except TimeoutError:
            self.has_disconnected = True
        finally:
            disconnect_task.cancel()
            self._close()

    async def _write_until_done(self, writer: ChunkWriter) -> None:
        """Open the response, and wait until it has ended. Cancelled, end it."""
        self.open(writer)
        if self.chunk_writer is not None:
            self._wakeup = self.loop.create_future()
            try:
                await self._wakeup
            except BaseException:
                self.on_disconnect()
                raise

    def open(self, writer: ChunkWriter) -> None:
        """Write the head and the first chunk, subscribe to the run, and start it. No task is needed.

        A run that has ended, which this request replays, is written whole.
        """
        run = self.run
        self.chunk_writer = writer
        run.subscribers.append(self)
        lines = [f"{name}: {value}\r\n" for name, value in self.more_headers.items()]
        writer.start(self, HEADER_LINES + "".join(lines).encode(), self.response_stream.start(run.now()))
        run.start()
        self.wake()

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
        """Write what is due, because the event log grew or ended, the timer fired, or the client reads again.

        The rest stays in the event log while the client does not read.
        """
        writer, stream = self.chunk_writer, self.response_stream
        if writer is None:
            return self._wake_task()
        while not writer.is_paused:
            data = stream.read(self.run.now())
            if stream.is_done:
                writer.end(data)
                return self._close()
            if data:
                writer.write(data)
            if len(data) < MAX_READ_BYTES:  # then nothing is left
                break
        if self._timer is None or stream.ack.deadline is not None:
            self._arm_timer()

    def on_disconnect(self) -> None:
        """End the response: the client disconnected."""
        if self.chunk_writer is not None:
            self.has_disconnected = True
            self.chunk_writer.release()
            self._close()
        elif not self.response_stream.is_done:
            self.has_disconnected = True
            self._wake_task()

    def _close(self) -> None:
        """End the timer and the task, and call `on_end`."""
        self.chunk_writer = None
        if self._timer is not None:
            self._timer.cancel()
        self._wake_task()
        self.on_end(self)

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
        writer = self.chunk_writer
        if self.run.now() < self.response_stream.deadline:
            self._arm_timer()
        elif writer is None or not writer.is_paused:
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
