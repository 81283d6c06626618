"""One of several worker processes, as seen from both sides: the supervisor's handle, and the process itself.

A pipe joins them. The supervisor sends commands; the worker answers "ping" and reports its start. If the
supervisor dies, the pipe closes and the worker shuts down.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, TypeAlias

from prometheus_client import values
from uvicorn.config import STARTUP_FAILURE

from voicegw.app.create import create_app
from voicegw.config.load import Config
from voicegw.errors import ConfigError
from voicegw.serving.http_server import GatewayServer
from voicegw.serving.process import add_import_paths, log_to_stderr
from voicegw.serving.reload import ReloadableApp
from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.shared_metrics import SharedFiles

Command: TypeAlias = Literal["ping", "stop", "cut", "retire"]
"""A command of the supervisor: answer; shut down; cut off at once; shut down after the last call."""
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
"""Signals that a worker gets together with its supervisor. They wait until it can handle them."""
STARTED, PONG = "started", "pong"
KEY_TABLE = "idempotency-keys"
"""The file in the folder of the metrics in which the workers share their Idempotency-Keys."""

spawn = multiprocessing.get_context("spawn")
log = logging.getLogger("voicegw.error")


class WorkerProcess:
    """The supervisor's handle of one worker, which serves `settings`."""

    def __init__(self, settings: Config, generation: int, listener: socket.socket, folder: Path) -> None:
        # The number of the configuration that it serves; a reload increases it.
        self.generation = generation
        self.pipe, child = spawn.Pipe()
        self.process = spawn.Process(
            target=run_worker, args=(settings, listener, child, folder), name=f"voicegw-{generation}"
        )
        waiting = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)  # the worker inherits the mask
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
        child.close()
        # The time at which it began to serve; None before.
        self.started_at: float | None = None
        # The time of its last sign of life.
        self.seen_at = time.monotonic()
        # True once it was told to end.
        self.is_ending = False
        # The reason of a start that failed, as it reported it.
        self.failure = ""
        # The reason why the supervisor killed it.
        self.kill_reason = ""

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid or 0

    @property
    def is_ready(self) -> bool:
        """Does it serve?"""
        return self.started_at is not None and not self.is_ending

    def send(self, command: Command) -> None:
        """Send a command. A worker that is gone gets none."""
        self.is_ending = self.is_ending or command != "ping"
        with suppress(OSError):
            self.pipe.send(command)

    def receive(self) -> None:
        """Take the messages that have come, without waiting."""
        with suppress(OSError, EOFError):
            while self.pipe.poll():
                message = self.pipe.recv()
                self.seen_at = time.monotonic()
                if message == STARTED:
                    self.started_at = self.seen_at
                elif message != PONG:
                    self.failure = message

    def stop(self) -> None:
        """Let the worker shut down; end it at once if it serves nothing yet."""
        self.send("stop")
        if self.started_at is None:
            self.process.kill()

    def kill(self, reason: str) -> None:
        """End the process at once."""
        self.kill_reason = reason
        self.process.kill()

    def describe_end(self) -> str:
        """Return how the process ended."""
        code = self.process.exitcode or 0
        if self.kill_reason:
            return self.kill_reason
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def close(self) -> None:
        """Release the pipe and the handle of a process that has ended."""
        self.receive()
        self.pipe.close()
        self.process.close()


def run_worker(settings: Config, listener: socket.socket, pipe: Connection, folder: Path) -> None:
    """Serve `settings` on the listener until the supervisor says otherwise. The process runs nothing else."""
    add_import_paths(settings)
    writer = log_to_stderr(settings)
    writer.start()
    try:
        metrics = _make_metrics(folder)
        key_table = folder / KEY_TABLE
        app = ReloadableApp(create_app(settings, metrics=metrics, writer=writer, key_table=key_table))
        server = GatewayServer(settings, app, writer, on_started=partial(_report, pipe, STARTED))
        supervision = threading.Thread(
            target=_obey, args=(pipe, server, metrics), name="voicegw-supervision", daemon=True
        )
        supervision.start()
        for number in TERMINAL_SIGNALS:
            signal.signal(number, lambda *_: None)  # until the server has its own
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINAL_SIGNALS)
        server.run([listener])
    except ConfigError as error:
        _report(pipe, str(error))
        sys.exit(STARTUP_FAILURE)
    except Exception:
        log.exception("a worker failed")
        sys.exit(STARTUP_FAILURE)
    finally:
        writer.close()


def _make_metrics(folder: Path) -> Metrics:
    """Return metrics in the shared folder; if it cannot be used, those of this process alone."""
    before = values.ValueClass
    try:
        return Metrics(SharedFiles(folder))
    except OSError as error:
        values.ValueClass = before
        log.error("the metrics of this worker are not shared: %s: %s", folder, error.strerror)
        return Metrics()


def _report(pipe: Connection, message: str) -> None:
    with suppress(OSError):
        pipe.send(message)


def _obey(pipe: Connection, server: GatewayServer, metrics: Metrics) -> None:
    """Execute the supervisor's commands; shut down when it is gone."""
    try:
        while True:
            command: Command = pipe.recv()
            if command == "ping":
                pipe.send(PONG)
                metrics.restore()
            else:
                {"stop": server.stop, "cut": server.cut_off, "retire": server.retire}[command]()
    except (EOFError, OSError):
        log.error("the supervisor is gone; this worker shuts down")
        server.stop()
