"""uvicorn's websocket protocol, but calls are not cut off at shutdown, nor kept for those who are gone.

It leans on uvicorn's internals, hence the pinned range and the test that fails when a hook is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from voicegw.asgi.http_protocol import SEND_SECONDS, SendTimeoutMixin

CLOSE_SECONDS = 3.0
"""How long a platform has to answer when we close."""


def is_a_mistake(record: logging.LogRecord) -> bool:
    """A call that is cut off since the server may wait no longer is none."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


log = logging.getLogger("voicegw.websockets")
log.setLevel(logging.WARNING)  # below, uvicorn writes down paths, and paths hold secrets
log.addFilter(is_a_mistake)


class GatewayWebSocketProtocol(SendTimeoutMixin, WebSocketsSansIOProtocol):
    """One call's connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = log
        self.conn.debug = False
        self.close_timeout = CLOSE_SECONDS
        self.send_timeout: float = self.app_state.get("send_timeout", SEND_SECONDS)
        self.stuck: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """A head that is no handshake is answered and the connection closed; uvicorn would keep it open."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None:
            self.handshake_complete = True  # refused, and no mistake of the application's

    def shutdown(self) -> None:
        """The server stops: a call may go on; the gateway, once told, ends it in time."""
        drain: Callable[[], None] | None = self.app_state.get("drain")
        if drain is None or not self.handshake_complete or self.close_sent:
            return super().shutdown()
        drain()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._flow()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._flow()

    def handle_ping(self) -> None:
        """Whoever does not read gets no pongs either: they would pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """Whoever answers no ping reads no goodbye either, and would be waited for."""
        super().keepalive_timeout()
        self.transport.abort()

    def handle_parser_exception(self) -> None:
        """Frames that make no sense may come before we said yes; there is nothing to be closed then."""
        if self.conn.close_sent is None:
            self.transport.close()
        else:
            super().handle_parser_exception()
