"""Serving: the port, the processes that share it, and how uvicorn runs in them."""

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

FILE = "VOICEGW_CONFIG"
SERVER = "VOICEGW_SERVER"
METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""How a worker process learns what the command line of its parent said."""

FRAME = 1_048_576
"""Bytes that a message on a websocket may have at least: transcripts of long calls come in one."""
LAST = 3.0
"""Seconds that what will not end gets after everything else has ended."""

T = TypeVar("T")

log = logging.getLogger("voicegw.error")


def serve(file: str | None, given: dict[str, Any]) -> bool:
    """Serve until told to stop; was the start a success? `given` wins over the file's [server].

    Raises `ConfigError`.
    """
    settings = load(file, server=given)
    import_from(settings)
    _log_to_stderr()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a proper way to end, with status 0
    _take_files()
    try_certificate(settings)
    app = create_app(settings, tune=True, at_end=_end_for_sure)
    if settings.server.workers > 1:
        return _serve_many(settings, file, given)
    config = _uvicorn(settings, app)
    uvicorn.Server(config).run([_listen(settings)])
    return True


def _take_files() -> None:
    """A call takes two sockets: open as many as the system allows, in the workers too."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # some systems say "as many as you like" and mean it not
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _serve_many(settings: Config, file: str | None, given: dict[str, Any]) -> bool:
    """Several workers: each loads the configuration itself; metrics meet in a folder."""
    with tempfile.TemporaryDirectory(prefix="voicegw-") as folder:
        os.environ |= {SERVER: json.dumps(given), METRICS: folder, **({FILE: file} if file else {})}
        workers = WorkerSupervisor(_uvicorn(settings, "voicegw.server:worker"), sockets=[_listen(settings)])
        workers.run()
    return not any(process.exitcode == STARTUP_FAILURE for process in workers.processes)


class WorkerSupervisor(Multiprocess):
    """uvicorn's supervisor, with two things it leaves undone."""

    def keep_subprocess_alive(self) -> None:
        """What a worker that died had running counts no more."""
        before = list(self.processes)
        super().keep_subprocess_alive()
        for process in before:
            if process not in self.processes and process.pid is not None:
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]

    def terminate_all(self) -> None:
        """Let go of the port too, or new callers would wait in its queue."""
        super().terminate_all()
        for listener in self.sockets:
            listener.close()


def _listen(settings: Config) -> socket.socket:
    """Take the port, and tell the operator. Raises `ConfigError` when it cannot be had."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}") from None
    print(_greeting(settings, listener.getsockname()[1]), file=sys.stderr, flush=True)
    return listener


def worker() -> ASGIApp:
    """The application of one of several workers."""
    settings = load(os.environ.get(FILE), server=json.loads(os.environ[SERVER]))
    import_from(settings)
    _log_to_stderr()
    return create_app(settings, shared_metrics=True, tune=True, at_end=_end_for_sure)


def _end_for_sure() -> None:
    """Nobody can make a thread end, or an agent that ignores being told; the process ends all the same."""
    timer = threading.Timer(LAST, os._exit, (0,))
    timer.daemon = True
    timer.start()


class ExitProofLoop(uvloop.Loop):
    """Goes on after a task that an agent, or a tool of its, began and that ends the program.

    Nobody can catch that where it happens: a loop stops when any of its tasks raises `SystemExit`.
    """

    def run_until_complete(self, future: Awaitable[T]) -> T:  # type: ignore[override]  # no bare generators
        main = asyncio.ensure_future(future, loop=self)
        while True:
            try:
                return super().run_until_complete(main)
            except SystemExit as error:
                if main.done():
                    return main.result()  # or what it raised, that very exit too
                log.error("a task of an agent's wanted to end the gateway: %r", error)


def _uvicorn(settings: Config, app: ASGIApp | str) -> uvicorn.Config:
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
        ws_max_size=max(settings.limits.max_body_bytes, FRAME),
        ws_per_message_deflate=False,  # small frames would only come later
        lifespan="on",
        access_log=False,  # paths may hold secrets; turns are logged by the journal
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(server.shutdown_grace) + 5,
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
    )


def try_certificate(settings: Config) -> None:
    """Can the certificate be used? Raises `ConfigError`."""
    server = settings.server
    if server.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.tls_cert, server.tls_key)
    except OSError as error:
        raise ConfigError(f"{settings.source}: server.tls_cert: cannot be used: {error}") from None


def _log_to_stderr() -> None:
    """Bare lines; what a record says of thread, process, task and caller costs more than the line."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # as logging's own documentation advises
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def import_from(settings: Config) -> None:
    """Agents of kind "python" are found beside the configuration file, and in the working directory."""
    for folder in (os.getcwd(), str(settings.folder.resolve())):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def _greeting(settings: Config, port: int) -> str:
    """What the operator should know at start, and one line to try."""
    server = settings.server
    scheme = "http" if server.tls_cert is None else "https"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    host = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{host}:{port}/v1/chat/completions"
    key = " -H 'authorization: Bearer YOUR_KEY'" if settings.keys else ""
    body = '{"stream": true, "messages": [{"role": "user", "content": "Hello! When are you open?"}]}'
    lines = [
        f"voicegw {__version__} answers at {url}",
        f"agents: {', '.join(settings.agents)}" + ("" if settings.keys else "; no keys: this machine only"),
    ]
    if server.workers > 1:
        lines.append(
            f"{server.workers} workers: limits are divided among them, metrics are summed, and each has its "
            "own connections to the agents"
        )
    lines.append(f"try it:\n\n  curl -N {url}{key} -H 'content-type: application/json' -d '{body}'\n")
    return "\n".join(lines)
