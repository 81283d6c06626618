"""uvicorn's HTTP protocol with limits on requests and on slow clients, a clean shutdown, and `ChunkWriter`.

`request_reader` is its receiving side. `close_delimited` serves clients of HTTP/1.0, and `half_close` those
that stop sending.

This module depends on uvicorn's internals, hence the pinned version range and the test that fails when a hook
is gone. On other servers streams run on plain ASGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from voicegw.asgi.chunk_writer import ChunkSource, ChunkWriter
from voicegw.asgi.close_delimited import without_chunks
from voicegw.asgi.half_close import HalfCloseMixin
from voicegw.asgi.request_reader import RequestReader
from voicegw.asgi.send_timeout import SEND_TIMEOUT, SendTimeoutMixin


class GatewayHttpProtocol(SendTimeoutMixin, HalfCloseMixin, RequestReader):  # type: ignore[misc]
    """One HTTP connection.

    The application's state gives `max_header_bytes`, `send_timeout`, `drain` and `work_queue`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The stream that writes the current response itself; None if uvicorn writes it.
        self.chunk_source: ChunkSource | None = None
        # Seconds that a client may read nothing; see SendTimeoutMixin.
        self.send_timeout: float = self.app_state.get("send_timeout", SEND_TIMEOUT)
        # True once the client sends no more; see HalfCloseMixin.
        self.is_eof_received = False
        # The timer of the current pause; see SendTimeoutMixin.
        self.send_timer: asyncio.TimerHandle | None = None
        # The timer of the next probe; see HalfCloseMixin.
        self.probe_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_send_timer()
        self._stop_probes()
        if self.chunk_source is not None:
            self.chunk_source.on_disconnect()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_send_timer()
        if self.chunk_source is not None:
            self.chunk_source.wake()

    def shutdown(self) -> None:
        """Let the current response finish, and call the state's `drain`: the gateway ends it in time."""
        super().shutdown()
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_started:
            self.transport.close()  # the request is not even complete
        drain: Callable[[], None] | None = self.app_state.get("drain")
        if drain is not None:
            drain()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        extensions: dict[str, Any] = {"voicegw.chunk_writer": ChunkWriter(self, cycle)}
        cycle.scope["extensions"] = extensions
        is_chunked = cycle.scope["http_version"] == "1.1"
        super()._start_asgi_task(cycle, app if is_chunked else without_chunks(app, cycle))

    def _run_step(self) -> None:
        super()._run_step()
        if self.is_eof_received and not self.is_step_queued and not self.eof_received():
            self.transport.close()
