"""uvicorn's HTTP protocol with limits on requests and on slow clients, a clean shutdown, and `ChunkWriter`.

`request_reader` is its receiving side. `close_delimited` serves clients of HTTP/1.0, and `half_close` those
that stop sending.

This module depends on uvicorn's internals, hence the pinned version range and the test that fails when a hook
is gone. On other servers streams run on plain ASGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from voicegw.asgi.chunk_writer import ChunkSource, ChunkWriter
from voicegw.asgi.close_delimited import without_chunks
from voicegw.asgi.half_close import HalfCloseMixin
from voicegw.asgi.request_reader import RequestReader
from voicegw.asgi.send_timeout import SEND_TIMEOUT, SendTimeoutMixin


class DirectApp(Protocol):
    """An application that can answer a complete request in the callback in which it arrives."""

    def accepts(self, scope: Scope) -> bool:
        """Is this a request for it? All others go to the ASGI application."""
        ...

    def begin(self, scope: Scope, body: bytes, writer: ChunkWriter) -> ASGIApp | None:
        """Answer a request by the writer and return None, or return the application that answers it."""
        ...


class GatewayHttpProtocol(SendTimeoutMixin, HalfCloseMixin, RequestReader):  # type: ignore[misc]
    """One HTTP connection.

    The application's state gives `max_header_bytes`, `send_timeout`, `drain`, `work_queue` and `direct_app`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Answers requests that arrive whole without a task; None if the application has no `direct_app`.
        self.direct_app: DirectApp | None = self.app_state.get("direct_app")
        # The request for `direct_app` that is not complete yet, with the application for every other one.
        self.direct_cycle: tuple[RequestResponseCycle, Any] | None = None
        # The default headers that `default_header_lines` encoded last, and their lines.
        self._default_headers: tuple[object, bytes] = (None, b"")
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

    def default_header_lines(self) -> bytes:
        """Return the lines of the headers that every response has. uvicorn renews them each second."""
        headers, lines = self._default_headers
        if headers is not self.server_state.default_headers:
            headers = self.server_state.default_headers
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self._default_headers = headers, lines
        return lines

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        scope: Any = cycle.scope
        if scope["http_version"] != "1.1":
            scope["extensions"] = {}
            super()._start_asgi_task(cycle, without_chunks(app, cycle))
        elif self.direct_app is not None and self.direct_app.accepts(scope) and cycle.more_body:
            self.direct_cycle = cycle, app
        else:
            self._start_task(cycle, app, ChunkWriter(self, cycle))

    def _start_task(self, cycle: RequestResponseCycle, app: Any, writer: ChunkWriter) -> None:
        """Start the task of an application that may use the writer."""
        extensions: dict[str, Any] = {"voicegw.chunk_writer": writer}
        cycle.scope["extensions"] = extensions
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.direct_cycle is not None and self.direct_app is not None:
            (cycle, _), self.direct_cycle = self.direct_cycle, None
            scope: Any = cycle.scope
            writer = ChunkWriter(self, cycle)
            app: Any = self.direct_app.begin(scope, bytes(cycle.body), writer)
            if app is not None:
                self._start_task(cycle, app, writer)

    def _parse(self, data: bytes) -> None:
        super()._parse(data)
        if self.direct_cycle is not None:  # the rest of the body is still to come: a task waits for it
            (cycle, app), self.direct_cycle = self.direct_cycle, None
            self._start_task(cycle, app, ChunkWriter(self, cycle))

    def _run_step(self) -> None:
        super()._run_step()
        if self.is_eof_received and not self.is_step_queued and not self.eof_received():
            self.transport.close()
