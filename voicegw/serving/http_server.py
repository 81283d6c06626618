"""uvicorn's server with the gateway's signals and ends: shut down, cut off, retire, reload.

It depends on uvicorn's internals, hence the pinned version range.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from voicegw.config.load import Config
from voicegw.serving.process import force_exit_later, tune
from voicegw.serving.reload import ReloadableApp
from voicegw.telemetry.writer import TelemetryWriter

MIN_FRAME_BYTES = 1_048_576
"""Lower bound of the websocket message limit: the transcript of a long call comes in one message."""
CHECK_INTERVAL = 0.1
"""Seconds between two looks at the connections of a server that retires."""


class GatewayServer(uvicorn.Server):
    """Serves one application until it is stopped.

    SIGTERM and SIGINT shut down: running turns and calls get `server.shutdown_grace` seconds. A second one
    cuts off at once. SIGHUP calls `on_hangup`. Other threads may call `stop`, `cut_off` and `retire`.
    """

    def __init__(
        self,
        settings: Config,
        app: ReloadableApp,
        writer: TelemetryWriter,
        *,
        on_started: Callable[[], None] = lambda: None,
        on_hangup: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(make_uvicorn_config(settings, app))
        self.app, self.writer = app, writer
        self.on_started = on_started  # called when the server accepts connections
        self.on_hangup = on_hangup  # called in the event loop's thread
        self.is_retiring = False  # see `retire`

    def stop(self) -> None:
        """Shut down. Calling it again changes nothing."""
        self.is_retiring = False
        self.should_exit = True

    def cut_off(self) -> None:
        """End the process at once, or in `EXIT_TIMEOUT` seconds if an agent does not let it."""
        self.stop()
        self.force_exit = True
        force_exit_later(self.writer)

    def retire(self) -> None:
        """Accept no connections any more, and shut down when the last turn and call has ended."""
        self.is_retiring = True
        self.should_exit = True

    def update(self, settings: Config) -> None:
        """Serve new connections with these settings. Raises `OSError` for an unusable certificate."""
        made = make_uvicorn_config(settings, self.app)
        self.config.ws_max_size = made.ws_max_size
        self.config.timeout_graceful_shutdown = made.timeout_graceful_shutdown
        certificate = settings.server.tls_cert
        if certificate is not None and isinstance(self.config.ssl, ssl.SSLContext):
            self.config.ssl.load_cert_chain(certificate, settings.server.tls_key)

    # Called by uvicorn

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._watchdog = tune()
        await super().startup(sockets)
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.is_retiring:
            await self._wait_for_last_call(sockets or [])
        self.app.drain()
        await super().shutdown(sockets)
        self._watchdog.stop()
        force_exit_later(self.writer)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        handlers: dict[int, Any] = {
            signal.SIGINT: self._on_stop_signal,
            signal.SIGTERM: self._on_stop_signal,
            signal.SIGHUP: lambda number, frame: self.on_hangup(),
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_stop_signal(self, number: int, frame: FrameType | None) -> None:
        if self.should_exit and not self.is_retiring:
            self.cut_off()
        else:
            self.stop()

    async def _wait_for_last_call(self, sockets: list[socket.socket]) -> None:
        """Close the port and idle connections; wait until the others have ended, or `stop` is called."""
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()
        while self.is_retiring and (self.server_state.connections or self.app.is_busy):
            for connection in list(self.server_state.connections):
                cycle = getattr(connection, "cycle", None)  # a websocket call has none, and goes on as before
                if cycle is not None and not (cycle.more_body and not cycle.response_started):
                    connection.shutdown()  # a request that is on its way is still answered
            await asyncio.sleep(CHECK_INTERVAL)


def make_uvicorn_config(settings: Config, app: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for an application."""
    server = settings.server
    return uvicorn.Config(
        app,
        interface="asgi3",  # uvicorn recognizes only applications that are coroutine functions
        host=server.host,
        port=server.port,
        loop="voicegw.serving.process:ExitProofLoop",
        http="voicegw.asgi.http_protocol:GatewayHttpProtocol",
        ws="voicegw.asgi.websocket_protocol:GatewayWebSocketProtocol",
        ws_max_size=max(settings.limits.max_body_bytes, MIN_FRAME_BYTES),
        ws_per_message_deflate=False,  # compression only delays small frames
        lifespan="on",
        access_log=False,  # paths may hold secrets; `voicegw.telemetry.turn_log` logs turns
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(server.shutdown_grace) + 5,
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
    )
