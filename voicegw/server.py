"""Runs the gateway under uvicorn: the port, the worker processes, logging and the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
import uvloop
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from voicegw import __version__
from voicegw.app.create import create_app
from voicegw.config.load import Config, load
from voicegw.errors import ConfigError
from voicegw.telemetry.log_handler import WriterHandler
from voicegw.telemetry.writer import TelemetryWriter

CONFIG_VARIABLE = "VOICEGW_CONFIG"
SERVER_VARIABLE = "VOICEGW_SERVER"
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variables by which the supervisor passes the command line's options to its workers.

They hold the configuration file, the overrides of its `[server]` as JSON, and the folder of the metrics.
"""

KEY_TABLE = "idempotency-keys"
"""The file in the folder of the metrics in which the workers share their Idempotency-Keys."""
MIN_FRAME_BYTES = 1_048_576
"""Lower bound of the websocket message limit: the transcript of a long call comes in one message."""
EXIT_TIMEOUT = 3.0
"""Seconds after shutdown until threads and agents that do not stop are ended with the process."""

KEYLESS_NOTE = (
    "; no keys: this machine only. A proxy here that adds no header is not recognized: set a key before one"
)
"""The end of the banner's line without API keys."""

T = TypeVar("T")

log = logging.getLogger("voicegw.error")


def serve(file: str | None, overrides: dict[str, Any]) -> bool:
    """Serve until a signal stops the process, and return whether the start succeeded.

    `file` is the configuration file, None for the demo; `overrides` replaces keys of its `[server]`. Raises
    `ConfigError` for an invalid file, an unusable certificate, or a port that cannot be bound.
    """
    settings = load(file, server=overrides)
    add_import_paths(settings)
    writer = _log_to_stderr(settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an orderly end, with status 0
    _raise_file_limit()
    check_certificate(settings)
    app = create_app(settings, tune=True, at_end=partial(_force_exit_later, writer), writer=writer)
    if settings.server.workers > 1:
        return _serve_many(settings, file, overrides)
    config = _make_uvicorn_config(settings, app)
    listener = _listen(settings)
    writer.start()
    try:
        uvicorn.Server(config).run([listener])
    finally:
        writer.close()
    return True


def _raise_file_limit() -> None:
    """Allow as many open files as the system does, in the workers too: a call takes two sockets."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # some systems report "unlimited" and refuse it
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _serve_many(settings: Config, file: str | None, overrides: dict[str, Any]) -> bool:
    """Serve with several workers: each loads the configuration, and shares metrics and keys in a folder."""
    with tempfile.TemporaryDirectory(prefix="voicegw-") as folder:
        os.environ |= {
            SERVER_VARIABLE: json.dumps(overrides),
            METRICS_VARIABLE: folder,
            **({CONFIG_VARIABLE: file} if file else {}),
        }
        supervisor = WorkerSupervisor(
            _make_uvicorn_config(settings, "voicegw.server:create_worker_app"), sockets=[_listen(settings)]
        )
        supervisor.run()
    return not any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)


class WorkerSupervisor(Multiprocess):
    """Supervises the workers as uvicorn does; drops dead workers' gauges, and closes the port at the end."""

    def keep_subprocess_alive(self) -> None:
        """Replace dead workers, and drop their gauges."""
        before = list(self.processes)
        super().keep_subprocess_alive()
        for process in before:
            if process not in self.processes and process.pid is not None:
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]

    def terminate_all(self) -> None:
        """Stop the workers and close the port: new connections would wait in its queue."""
        super().terminate_all()
        for listener in self.sockets:
            listener.close()


def _listen(settings: Config) -> socket.socket:
    """Bind the port and print the banner. Raises `ConfigError` if the port cannot be bound."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}") from None
    log.info(_format_banner(settings, listener.getsockname()[1]))
    return listener


def create_worker_app() -> ASGIApp:
    """Return the application of one of several workers; uvicorn calls this in each of them.

    Raises `ConfigError` as `serve` does.
    """
    settings = load(os.environ.get(CONFIG_VARIABLE), server=json.loads(os.environ[SERVER_VARIABLE]))
    add_import_paths(settings)
    writer = _log_to_stderr(settings)
    writer.start()
    return create_app(
        settings,
        shared_metrics=True,
        tune=True,
        at_end=partial(_force_exit_later, writer),
        writer=writer,
        key_table=Path(os.environ[METRICS_VARIABLE]) / KEY_TABLE,
    )


def _force_exit_later(writer: TelemetryWriter) -> None:
    """Write the last lines, and end the process soon: threads and deaf agents cannot be stopped."""

    def force_exit() -> None:
        writer.flush()
        os._exit(0)

    writer.flush()
    timer = threading.Timer(EXIT_TIMEOUT, force_exit)
    timer.daemon = True
    timer.start()


class ExitProofLoop(uvloop.Loop):
    """An event loop that goes on after `SystemExit` in a task that an agent, or one of its tools, started.

    The exception cannot be caught where it is raised: a loop stops when any of its tasks raises `SystemExit`.
    """

    def run_until_complete(self, future: Awaitable[T]) -> T:  # type: ignore[override]  # no bare generators
        main = asyncio.ensure_future(future, loop=self)
        while True:
            try:
                return super().run_until_complete(main)
            except SystemExit as error:
                if main.done():
                    return main.result()  # or raises, `SystemExit` too
                log.error("a task of an agent tried to end the gateway", exc_info=error)


def _make_uvicorn_config(settings: Config, app: ASGIApp | str) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        host=server.host,
        port=server.port,
        workers=server.workers,
        loop="voicegw.server:ExitProofLoop",
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


def check_certificate(settings: Config) -> None:
    """Load the configured certificate. Raises `ConfigError` if it cannot be used."""
    server = settings.server
    if server.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.tls_cert, server.tls_key)
    except OSError as error:
        raise ConfigError(f"{settings.source}: server.tls_cert: cannot be used: {error}") from None


def _log_to_stderr(settings: Config) -> TelemetryWriter:
    """Log bare lines to the error output: a record's thread, process and caller cost more than the line."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # logging's documentation advises this
    writer = TelemetryWriter(2)
    logging.basicConfig(
        level=logging.INFO, handlers=[WriterHandler(writer, log_errors=settings.trace.errors)]
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return writer


def add_import_paths(settings: Config) -> None:
    """Let modules of Python agents be imported from the file's folder and from the working directory."""
    for folder in (os.getcwd(), str(settings.folder.resolve())):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def _format_banner(settings: Config, port: int) -> str:
    """Return the lines that the operator sees at start, with a command to try."""
    server = settings.server
    scheme = "http" if server.tls_cert is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    host = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{host}:{port}/v1/chat/completions"
    key = " -H 'authorization: Bearer YOUR_KEY'" if settings.keys else ""
    body = '{"stream": true, "messages": [{"role": "user", "content": "Hello! When are you open?"}]}'
    lines = [
        f"voicegw {__version__} answers at {url}",
        f"agents: {', '.join(settings.agents)}" + ("" if settings.keys else KEYLESS_NOTE),
    ]
    if server.workers > 1:
        lines.append(
            f"{server.workers} workers: limits are divided among them, metrics are summed, and each has its "
            "own connections to the agents"
        )
    lines.append(f"try it:\n\n  curl -N {url}{key} -H 'content-type: application/json' -d '{body}'\n")
    return "\n".join(lines)
