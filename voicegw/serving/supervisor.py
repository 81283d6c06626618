"""Supervises several workers: starts and replaces them, reloads the configuration, and passes signals on."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from types import FrameType

import orjson
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE

from voicegw.config.load import Config
from voicegw.errors import ConfigError
from voicegw.serving.terminal import TerminalWatch
from voicegw.serving.worker import WorkerProcess
from voicegw.telemetry.shared_metrics import SharedFiles

PING_INTERVAL = 1.0
"""Seconds between two pings of a worker."""
PING_TIMEOUT = 10.0
"""Seconds without an answer after which a worker is replaced: it was stopped, or a library blocks it."""
MIN_LIFE = 5.0
"""Seconds that a worker must serve; a shorter life counts as a failed start."""
START_DELAYS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the next start after one, two and more failed starts in a row."""
END_TIMEOUT = 15.0
"""Seconds beyond `server.shutdown_grace` after which a worker that does not end is killed."""
CUT_TIMEOUT = 5.0
"""Seconds after a second signal until a worker that does not end is killed."""

log = logging.getLogger("voicegw.error")


class WorkerSupervisor:
    """Keeps `server.workers` workers serving, with the configuration that was checked last.

    SIGTERM and SIGINT stop the workers, a second one cuts off at once. SIGHUP loads the file again by
    `load_settings`, which raises `ConfigError` for an invalid one: then everything stays as it is. Each new
    worker serves before an old one retires, and an old one serves its turns and calls to their end.
    """

    def __init__(
        self,
        settings: Config,
        listener: socket.socket,
        folder: Path,
        load_settings: Callable[[], Config],
    ) -> None:
        self.settings = settings  # in force
        self.listener = listener
        self.files = SharedFiles(folder)  # the metrics of all workers
        self.load_settings = load_settings
        # All workers, also those that start or end.
        self.workers: list[WorkerProcess] = []
        # The number of the configuration in force.
        self.generation = 1
        # A configuration that was loaded and that its first worker tries; None if there is none.
        self.candidate: Config | None = None
        # The signals that came and wait.
        self._signals: list[int] = []
        # Workers that failed in a row, and the time of the next start.
        self._failures, self._next_start = 0, 0.0
        # True once a worker has served; True if the first one could not; True once the workers shall stop.
        self._has_served = self._start_failed = self.is_stopping = False
        self._stop_deadline = 0.0
        self._next_ping = 0.0
        self._terminal = TerminalWatch()
        self._deaths = Counter(
            "voicegw_worker_deaths", "Workers that ended without being told.", registry=CollectorRegistry()
        )

    def run(self) -> bool:
        """Supervise until a signal stops the workers. Return False if the first worker could not start."""
        wake, wakened = socket.socketpair()
        wake.setblocking(False)
        wakened.setblocking(False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            while not self.is_stopping or self.workers:
                self._handle_signals()
                self._reap()
                self._balance()
                self._ping()
                pipes = [worker.pipe for worker in self.workers]
                sentinels = [worker.process.sentinel for worker in self.workers]
                if wakened in connection.wait([*pipes, *sentinels, wakened], timeout=PING_INTERVAL / 2):
                    wakened.recv(1024)
        finally:
            signal.set_wakeup_fd(-1)
            wake.close()
            wakened.close()
        return not self._start_failed

    # Signals

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _handle_signals(self) -> None:
        while self._signals:
            is_hangup = self._signals.pop(0) == signal.SIGHUP
            if is_hangup and not self._terminal.is_lost():
                self._reload()
            elif not self.is_stopping:
                self._stop()
            elif not is_hangup:
                self._stop_deadline = time.monotonic() + CUT_TIMEOUT
                for worker in self.workers:
                    worker.send("cut")

    def _stop(self) -> None:
        self.is_stopping = True
        self._stop_deadline = time.monotonic() + self.settings.server.shutdown_grace + END_TIMEOUT
        self.listener.close()  # new connections would wait in its queue
        for worker in self.workers:
            worker.stop()

    def _reload(self) -> None:
        """Load the file, and let one new worker try it."""
        if self.is_stopping:
            return
        try:
            self.candidate = self.load_settings()
        except ConfigError as error:
            return log_reload(str(error))
        for worker in self.workers:
            if worker.generation > self.generation:  # it tries the candidate of an earlier signal
                worker.stop()
        self._next_start = 0.0
        self._start(self.candidate, self.generation + 1)

    # Workers

    def _start(self, settings: Config, generation: int) -> None:
        self.workers.append(WorkerProcess(settings, generation, self.listener, self.files.folder))

    def _reap(self) -> None:
        """Take the messages of the workers, and the ends of those that have ended."""
        for worker in [*self.workers]:
            worker.receive()
            self._has_served = self._has_served or worker.is_ready
            if worker.process.exitcode is not None:
                self.workers.remove(worker)
                self._on_end(worker)
                worker.close()
            elif self.is_stopping and time.monotonic() > self._stop_deadline:
                worker.kill("killed: it did not end in time")

    def _on_end(self, worker: WorkerProcess) -> None:
        worker.receive()
        gauges = self.files.read_gauges(worker.pid)
        mark_process_dead(worker.pid, str(self.files.folder))  # type: ignore[no-untyped-call]
        if worker.is_ending and (worker.process.exitcode == 0 or worker.started_at is None):
            return
        self._log_death(worker, gauges)
        if worker.is_ending:
            return
        if worker.generation > self.generation:
            self.candidate = None
            log_reload(worker.failure or worker.describe_end())
        elif not self._has_served and worker.process.exitcode == STARTUP_FAILURE:
            self._start_failed = True
            self._stop()
        elif worker.started_at is None or time.monotonic() - worker.started_at < MIN_LIFE:
            delay = START_DELAYS[min(self._failures, len(START_DELAYS) - 1)]
            self._failures += 1
            self._next_start = time.monotonic() + delay

    def _log_death(self, worker: WorkerProcess, gauges: dict[str, float]) -> None:
        """Log and count the end of a worker; `turns` and `calls` are those that were lost with it."""
        self._deaths.inc()
        record = {
            "event": "worker",
            "pid": worker.pid,
            "why": worker.describe_end(),
            "error": worker.failure or None,
            "turns": int(gauges.get("voicegw_turns_running", 0)),
            "calls": int(gauges.get("voicegw_calls_open", 0)),
        }
        log.error(orjson.dumps(record).decode())

    def _balance(self) -> None:
        """Put the candidate in force once it serves; retire old workers, and start missing ones."""
        if self.is_stopping:
            return
        if any(worker.is_ready and worker.generation > self.generation for worker in self.workers):
            assert self.candidate is not None
            self.settings, self.candidate = self.candidate, None
            self.generation += 1
            log_reload("")
        wanted = self.settings.server.workers
        current = [w for w in self.workers if w.generation == self.generation and not w.is_ending]
        older = [w for w in self.workers if w.generation < self.generation and not w.is_ending]
        ready = [worker for worker in current if worker.is_ready]
        if len(ready) == wanted:
            self._failures = 0
        while older and len(ready) + len(older) > wanted:
            older.pop(0).send("retire")
        if time.monotonic() < self._next_start:
            return
        for _ in range(wanted - len(current)):
            if older and len(ready) < len(current):
                break  # during a reload, one worker starts at a time
            self._start(self.settings, self.generation)
            current.append(self.workers[-1])

    def _ping(self) -> None:
        """Ping the workers that serve, and kill those that do not answer."""
        now = time.monotonic()
        if now < self._next_ping:
            return
        was_asleep = now > self._next_ping + PING_INTERVAL  # then the workers may have been, too
        self._next_ping = now + PING_INTERVAL
        self.files.restore()
        for worker in self.workers:
            if was_asleep:
                worker.seen_at = now
            if worker.started_at is not None:
                if now - worker.seen_at > PING_TIMEOUT and not worker.kill_reason:
                    worker.kill(f"killed: it did not answer for {PING_TIMEOUT:g} seconds")
                elif worker.is_ready:
                    worker.send("ping")


def log_reload(failure: str) -> None:
    """Log whether the file's configuration is in force now; `failure` says why not."""
    if failure:
        log.error("reload: the old configuration stays in force:\n%s", failure)
    else:
        log.warning("reload: the configuration is in force, pid %d", os.getpid())
