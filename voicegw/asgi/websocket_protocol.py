"""uvicorn's websocket protocol with a clean shutdown, limits on slow clients, and a log without paths.

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

CLOSE_TIMEOUT = 3.0
"""Seconds that a platform has to answer the server's close frame."""


def is_application_error(record: logging.LogRecord) -> bool:
    """Return False for a call that the server cancelled at the end of its shutdown, which is no error.

    Side effect: text that a client encoded wrongly is logged without a traceback.
    """
    if record.exc_info is None:
        return True
    if isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info = None
        return True
    return not isinstance(record.exc_info[1], asyncio.CancelledError)


log = logging.getLogger("voicegw.websockets")
log.setLevel(logging.WARNING)  # below it, uvicorn logs paths, and paths hold secrets
log.addFilter(is_application_error)


class GatewayWebSocketProtocol(SendTimeoutMixin, WebSocketsSansIOProtocol):
    """The websocket connection of one call. The application's state gives `send_timeout` and `drain`."""

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

    def data_received(self, data: bytes) -> None:
        """Answer a head that is no handshake and close the connection; uvicorn would keep it open."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send one ASGI message. A handshake that the application refused counts as complete.

        Raises `ClientDisconnected` after invalid frames of the client: the application cannot know that the
        connection is closed, and uvicorn would log its next frame as an error.
        """
        if self.rejected_frames:
            raise ClientDisconnected
        await super().send(message)
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
