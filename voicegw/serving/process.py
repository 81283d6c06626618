"""Sets up a process that serves: logging, the event loop, the garbage collector, and its forced end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import uvloop

from voicegw.config.load import Config
from voicegw.telemetry.log_handler import WriterHandler, log_loop_error
from voicegw.telemetry.watchdog import LoopWatchdog, StackSampler
from voicegw.telemetry.writer import TelemetryWriter

EXIT_TIMEOUT = 3.0
"""Seconds after shutdown until threads and agents that do not stop are ended with the process."""
MAX_THREADS = 256
"""Threads for blocking agents in Python and for frameworks' tools; asyncio's default on two cores is six."""
GC_THRESHOLDS = (5_000, 5, 1_000)
"""Thresholds of the garbage collector, whose pauses dominate the highest latencies.

With the defaults it scans every object too often; with a large first threshold one pass scans too many."""

T = TypeVar("T")

log = logging.getLogger("voicegw.error")


def log_to_stderr(settings: Config) -> TelemetryWriter:
    """Log bare lines to the error output, and return their writer, whose thread is not started.

    A record's thread, process and caller would cost more than the line.
    """
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


def tune() -> LoopWatchdog:
    """Set up the running event loop and its process, which serves the gateway and nothing else."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_error)
    loop.set_default_executor(ThreadPoolExecutor(MAX_THREADS, "voicegw-worker"))
    return LoopWatchdog(StackSampler())


def force_exit_later(writer: TelemetryWriter) -> None:
    """End the process in `EXIT_TIMEOUT` seconds: threads and deaf agents cannot be stopped."""

    def force_exit() -> None:
        writer.flush()
        os._exit(0)

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
