"""Serves the gateway: checks the configuration, binds the port, and runs one process or several workers.

The processes themselves are in `voicegw.serving`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
import ssl
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from voicegw import __version__
from voicegw.app.create import create_app
from voicegw.config.load import Config, load
from voicegw.errors import ConfigError
from voicegw.serving.http_server import GatewayServer
from voicegw.serving.process import add_import_paths, log_to_stderr
from voicegw.serving.reload import ReloadableApp, import_anew
from voicegw.serving.supervisor import WorkerSupervisor, log_reload
from voicegw.serving.terminal import TerminalWatch
from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.writer import TelemetryWriter

log = logging.getLogger("voicegw.error")

KEYLESS_NOTE = (
    "; no keys: this machine only. A proxy here that adds no header is not recognized: set a key before one"
)
"""The end of the banner's line without API keys."""


def serve(file: str | None, overrides: dict[str, Any]) -> bool:
    """Serve until a signal stops the process, and return whether the start succeeded.

    `file` is the configuration file, None for the demo; `overrides` replaces keys of its `[server]`. Raises
    `ConfigError` for an invalid file, an unusable certificate, or a port that cannot be bound.
    """
    settings = _load(file, overrides)
    add_import_paths(settings)
    writer = log_to_stderr(settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an orderly end, with status 0
    _raise_file_limit()
    metrics = Metrics()
    app = create_app(settings, metrics=metrics, writer=writer)
    listener = _listen(settings)
    writer.start()
    try:
        if settings.server.workers > 1:
            return _serve_many(settings, listener, lambda: _load_again(file, overrides, settings))
        load_again = partial(_load_again, file, overrides, settings)
        _serve_one(settings, app, listener, load_again, metrics, writer)
        return True
    finally:
        writer.close()


def _load(file: str | None, overrides: dict[str, Any]) -> Config:
    """Return the checked configuration. Raises `ConfigError`, also for an unusable certificate."""
    settings = load(file, server=overrides)
    check_certificate(settings)
    return settings


def _load_again(file: str | None, overrides: dict[str, Any], started: Config) -> Config:
    """Return the configuration for a reload; say which keys need a restart. Raises `ConfigError`."""
    settings = _load(file, overrides)
    old, new = started.server, settings.server
    changes = {
        "host": old.host != new.host,
        "port": old.port != new.port,
        "tls_cert": (old.tls_cert is None) != (new.tls_cert is None),
        "workers": (old.workers > 1) != (new.workers > 1),
    }
    if changed := [f"server.{name}" for name, differs in changes.items() if differs]:
        raise ConfigError(f"{settings.source}: {', '.join(changed)}: restart voicegw to change it")
    return settings


def _raise_file_limit() -> None:
    """Allow as many open files as the system does, in the workers too: a call takes two sockets."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # some systems report "unlimited" and refuse it
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _serve_many(settings: Config, listener: socket.socket, load_again: Callable[[], Config]) -> bool:
    """Serve with several workers, which write their metrics into one folder."""
    with tempfile.TemporaryDirectory(prefix="voicegw-", ignore_cleanup_errors=True) as folder:
        return WorkerSupervisor(settings, listener, Path(folder), load_again).run()


def _serve_one(
    settings: Config,
    app: ASGIApp,
    listener: socket.socket,
    load_again: Callable[[], Config],
    metrics: Metrics,
    writer: TelemetryWriter,
) -> None:
    """Serve in this process. A reload makes a new application in it."""
    reloadable, terminal = ReloadableApp(app), TerminalWatch()
    lock = asyncio.Lock()
    tasks: set[asyncio.Task[None]] = set()

    def build() -> tuple[Config, ASGIApp]:
        newer = load_again()
        make = partial(create_app, newer, metrics=metrics, writer=writer)
        return newer, import_anew(newer.folder.resolve(), make)

    async def reload() -> None:
        async with lock:
            try:
                newer, app = await asyncio.to_thread(build)
                await reloadable.replace(app)
                server.update(newer)
            except (ConfigError, RuntimeError) as error:
                return log_reload(str(error))
            log_reload("")

    def on_hangup() -> None:
        if terminal.is_lost():
            return server.stop()
        task = asyncio.get_running_loop().create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = GatewayServer(settings, reloadable, writer, on_hangup=on_hangup)
    server.run([listener])


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


def check_certificate(settings: Config) -> None:
    """Load the configured certificate. Raises `ConfigError` if it cannot be used."""
    server = settings.server
    if server.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.tls_cert, server.tls_key)
    except OSError as error:
        raise ConfigError(f"{settings.source}: server.tls_cert: cannot be used: {error}") from None


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
        lines += [
            f"{server.workers} workers share the port and the metrics, and divide the limits among them",
            "each worker's own: agents, their connections and sessions, remembered calls, retries, responses",
        ]
    lines.append(f"try it:\n\n  curl -N {url}{key} -H 'content-type: application/json' -d '{body}'\n")
    return "\n".join(lines)
