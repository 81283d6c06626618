"""uvicorn's websocket protocol with a clean shutdown, limits on slow clients, and a log without paths.

Frames are parsed in steps, and only while no message waits for the application: neither pings, fragments and
tiny messages nor many of them in one packet keep the event loop from other connections.

This module depends on uvicorn's internals, hence the pinned version range and the test that fails when a hook
is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from voicegw.asgi.send_timeout import SEND_TIMEOUT, SendTimeoutMixin
from voicegw.asgi.work_queue import WorkQueue

CLOSE_TIMEOUT = 3.0
"""Seconds that a platform has to answer the server's close frame."""
MESSAGE_TOO_BIG = 1009
"""The websocket close code for a message over a limit."""
MAX_FRAMES_PER_STEP = 128
"""Frames after which other connections get their turn, in 3 ms at most."""
SLICE_BYTES = 1024
"""Bytes that are parsed at once. The smallest frame of a client takes six."""
MAX_FRAGMENTS = 4096
"""Fragments of one message. More of them close the connection with 1009."""


def is_application_error(record: logging.LogRecord) -> bool:
    """Return False for a client's mistake, and for a call that the server cancelled at its shutdown."""
    error = None if record.exc_info is None else record.exc_info[1]
    return not isinstance(error, UnicodeDecodeError | asyncio.CancelledError)


log = logging.getLogger("voicegw.websockets")
log.setLevel(logging.WARNING)  # below it, uvicorn logs paths, and paths hold secrets
log.addFilter(is_application_error)


class GatewayWebSocketProtocol(SendTimeoutMixin, WebSocketsSansIOProtocol):
    """The websocket connection of one call.

    The application's state gives `send_timeout`, `drain` and `work_queue`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # uvicorn's logger and that of websockets, replaced by one that logs no paths.
        self.logger = self.conn.logger = log
        # websockets computed it from its former logger; True would log every frame.
        self.conn.debug = False
        # Seconds that uvicorn waits for the platform's close frame.
        self.close_timeout = CLOSE_TIMEOUT
        # True once invalid frames of the client closed the connection.
        self.rejected_frames = False
        # Seconds that a client may read nothing; see SendTimeoutMixin.
        self.send_timeout: float = self.app_state.get("send_timeout", SEND_TIMEOUT)
        # The timer of the current pause; see SendTimeoutMixin.
        self.send_timer: asyncio.TimerHandle | None = None

        # Received bytes that are not parsed yet.
        self.unparsed = b""
        # Frames that the current step may still parse.
        self.frames_left = 0
        # Runs the next step.
        self.work_queue: WorkQueue = self.app_state.get("work_queue") or WorkQueue(self.loop)
        # True while a step is in the queue.
        self.is_step_queued = False

    def data_received(self, data: bytes) -> None:
        """Parse the bytes now, as far as one step goes.

        Answer a head that is no handshake and close the connection; uvicorn would keep it open.
        """
        if self.handshake_initiated:
            return self._parse(self.unparsed + data if self.unparsed else data)
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def _parse(self, data: bytes) -> None:
        """Parse frames until a message waits for the application, or as many as one step may."""
        at, self.frames_left = 0, MAX_FRAMES_PER_STEP
        while at < len(data) and self.frames_left > 0 and self._may_parse():
            super().data_received(data[at : at + SLICE_BYTES])
            at += SLICE_BYTES
        self.unparsed = data[at:]
        if self.unparsed and self._may_parse():
            self._queue_step()
        self._update_reading()

    def _may_parse(self) -> bool:
        return (self.close_sent or self.queue.empty()) and not self.transport.is_closing()

    def _queue_step(self) -> None:
        if not self.is_step_queued:
            self.is_step_queued = True
            self.work_queue.add(self._run_step)

    def _run_step(self) -> None:
        """Parse more of the received bytes."""
        self.is_step_queued = False
        if not self.disconnected:
            self._parse(self.unparsed)

    def _update_reading(self) -> None:
        """Read the socket only if neither bytes nor messages wait."""
        wait = bool(self.unparsed) or not (self.close_sent or self.queue.empty())
        if wait != self.read_paused and not self.transport.is_closing():
            self.read_paused = wait
            if wait:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    async def receive(self) -> Any:
        """Return the next ASGI message, and let more be parsed when none waits any more."""
        if self.unparsed and self.queue.empty():
            self._queue_step()
        message = await self.queue.get()
        self._update_reading()
        return message

    async def send(self, message: Any) -> None:
        """Send one ASGI message. A handshake that the application refused counts as complete.

        Raises `ClientDisconnected` after invalid frames of the client: the application cannot know that the
        connection is closed, and uvicorn would log its next frame as an error.
        """
        if self.rejected_frames:
            raise ClientDisconnected
        await super().send(message)
        if self.close_sent and self.unparsed:
            self._queue_step()  # the client's close frame comes behind them
        if self.initial_response is not None:
            self.handshake_complete = True  # else uvicorn logs the refusal as an error of the application

    def shutdown(self) -> None:
        """Call the state's `drain`: an open call goes on and the gateway ends it in time.

        An incomplete handshake, or a connection that is closing, ends at once as in uvicorn.
        """
        drain: Callable[[], None] | None = self.app_state.get("drain")
        if drain is None or not self.handshake_complete or self.close_sent:
            return super().shutdown()
        drain()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_send_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_send_timer()

    def handle_events(self) -> None:
        self.frames_left -= len(self.conn.events)
        super().handle_events()

    def handle_cont(self, event: Any) -> None:
        """Add a fragment to the message. Too many of them close the connection, however small they are."""
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(MESSAGE_TOO_BIG, "too many fragments")
            self.handle_parser_exception()

    def handle_ping(self) -> None:
        """Answer a ping, unless the client does not read: the pongs would pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """Abort the connection: a client that answers no ping does not answer a close frame either."""
        super().keepalive_timeout()
        self.transport.abort()

    def handle_parser_exception(self) -> None:
        """Close after invalid frames. Before the handshake is accepted there is no close frame to send."""
        self.rejected_frames = self.handshake_complete
        if self.conn.close_sent is None:
            self.transport.close()
        else:
            super().handle_parser_exception()
