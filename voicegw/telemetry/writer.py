"""The thread of telemetry: it observes latencies, encodes records and writes log lines.

The event loop only appends to a bounded queue. The lines go to `voicegw.telemetry.log_output`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

from voicegw.telemetry.log_output import LogOutput

MAX_QUEUED = 10_000
"""Jobs that may wait for the thread, at most some 10 MB; above it the oldest is dropped."""
INTERVAL = 0.1
"""Seconds between two looks at the queue: a killed process loses the lines of this time."""
BATCH = 40
"""Jobs done at a time, in a millisecond."""
PAUSE = 0.01
"""Seconds between two batches. Batches of 10 every half millisecond cost a turn 9 % more CPU."""
FLUSH_TIMEOUT = 2.0
"""Seconds that the last lines get at the end of the process."""

Kind: TypeAlias = Literal["log", "record"]
"""The kind of a job: the label `what` of `voicegw_telemetry_dropped_total`."""

log = logging.getLogger("voicegw.error")


class TelemetryWriter:
    """Runs jobs and writes log lines in one daemon thread, from `start` to `close`.

    Without the thread, before `start`, after `close` and in a forked process, both happen at once in the
    caller's thread. `on_drop` is called with the kind and the number of jobs or lines that were dropped.
    """

    def __init__(
        self, descriptor: int, on_drop: Callable[[Kind, int], None] = lambda kind, count: None
    ) -> None:
        self.on_drop = on_drop
        # Writes the lines.
        self._output = LogOutput(descriptor, lambda count: self.on_drop("log", count))
        # The jobs that wait, the oldest first; a line is a job that adds it to the output.
        self._queue: deque[tuple[Kind, Callable[[], None]]] = deque()
        # The running thread; None before `start` and after `close`.
        self._thread: threading.Thread | None = None
        # Ends the thread's wait for the next look at the queue.
        self._wake = threading.Event()
        # True while the thread has nothing to do.
        self._is_idle = True

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="voicegw-telemetry", daemon=True)
        self._thread.start()
        os.register_at_fork(after_in_child=self._forget_thread)

    def submit(self, kind: Kind, job: Callable[[], None]) -> None:
        """Let the thread run a job soon. Any thread may call this; it never waits. A failure is logged."""
        if self._thread is None:
            return self._do(job)
        if len(self._queue) >= MAX_QUEUED:
            self.on_drop(self._queue.popleft()[0], 1)
        self._queue.append((kind, job))

    def write_line(self, text: str) -> None:
        """Write one log line soon, or several lines of one record."""
        line = text.encode("utf-8", "replace") + b"\n"
        self.submit("log", lambda: self._output.add(line))
        if self._thread is None:
            self._output.write()

    def flush(self, timeout: float = FLUSH_TIMEOUT) -> bool:
        """Wait until all is written, at most `timeout` seconds; return whether it is."""
        deadline = time.monotonic() + timeout
        while self._thread is not None and not self._is_done():
            if time.monotonic() >= deadline:
                return False
            self._wake.set()
            time.sleep(0.001)
        return True

    def close(self, timeout: float = FLUSH_TIMEOUT) -> None:
        """Flush, and stop the thread. Lines that stay unread for `timeout` seconds are lost."""
        self.flush(timeout)
        self._thread = None
        self._wake.set()

    def _is_done(self) -> bool:
        return not self._queue and self._is_idle and self._output.is_clear

    def _forget_thread(self) -> None:
        """In a forked process: the thread is not there, and the jobs and lines are those of the parent."""
        self._thread = None
        self._queue.clear()
        self._output = LogOutput(self._output.descriptor, self._output.on_loss)

    def _run(self) -> None:
        me = threading.current_thread()
        while self._thread is me:
            while self._queue:
                self._is_idle = False
                self._do_batch()
                self._wake.wait(PAUSE)  # less at a flush
                self._wake.clear()
            self._output.write()
            self._is_idle = True
            self._wake.wait(INTERVAL)
            self._wake.clear()

    def _do_batch(self) -> None:
        for _ in range(min(BATCH, len(self._queue))):
            self._do(self._queue.popleft()[1])
        self._output.write()

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:
            log.exception("telemetry failed")
