"""Writes log lines to a file descriptor without waiting for its reader, and counts the lines that are lost.

It has no thread and no lock: `voicegw.telemetry.writer` calls it from one thread.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Callable

import orjson

MAX_WAITING_BYTES = 262_144
"""Bytes of lines that wait for a reader that stopped, some 600 turns; above it the oldest are dropped."""
STALLED = "the reader of the log does not read"
"""The reason of a loss when no write failed."""


class LogOutput:
    """Writes whole lines to `descriptor`, as many as its reader takes.

    A pipe that nobody reads keeps the newest lines, up to `MAX_WAITING_BYTES`; a write that fails (a full
    disk, a closed pipe) drops them. When writing is possible again, one line reports the loss:
    `{"event": "telemetry", "lost_lines": ..., "seconds": ..., "why": ...}`. `on_loss` is called with the
    number of lines of each loss.
    """

    def __init__(self, descriptor: int, on_loss: Callable[[int], None] = lambda count: None) -> None:
        # The file descriptor. Its blocking mode stays as it is: other processes share it.
        self.descriptor = descriptor
        # Called with the number of lines that were dropped.
        self.on_loss = on_loss
        # The lines that wait, the oldest first.
        self._lines: deque[bytes] = deque()
        # The rest of a line whose beginning is written. It is never dropped: the next line would continue it.
        self._rest = b""
        # The bytes of `_lines`.
        self._byte_count = 0
        # The lines lost since the last report, the time of the first loss, and the reason.
        self._lost_count, self._lost_since, self._reason = 0, 0.0, ""

    @property
    def is_clear(self) -> bool:
        """Is nothing left to write?"""
        return not (self._lines or self._rest or self._lost_count)

    def add(self, line: bytes) -> None:
        """Add one line, with its line break; drop the oldest lines if too many bytes wait."""
        self._lines.append(line)
        self._byte_count += len(line)
        while self._byte_count > MAX_WAITING_BYTES:
            self._byte_count -= len(self._lines.popleft())
            self._lose(1, STALLED)

    def write(self) -> None:
        """Write what the reader takes now. Returns without waiting, and raises nothing."""
        try:
            while not self.is_clear and select.select((), (self.descriptor,), (), 0)[1]:
                self._write_next()
        except BlockingIOError:
            pass  # another process took the space
        except (OSError, ValueError) as error:  # ValueError: select knows no descriptor above 1023
            self._lose(len(self._lines), getattr(error, "strerror", None) or str(error))
            self._lines.clear()
            self._byte_count = 0

    def _write_next(self) -> None:
        """Write the rest of a line, a report, or the next lines; at most the bytes that cannot block."""
        if self._rest:
            self._rest = self._rest[self._write(self._rest) :]
        elif self._lost_count:
            report = self._format_report()
            self._rest = report[self._write(report) :]
            self._lost_count = 0
        else:
            self._write_lines()

    def _write_lines(self) -> None:
        lines: list[bytes] = []
        size = 0
        for line in self._lines:
            if lines and size + len(line) > select.PIPE_BUF:
                break
            lines.append(line)
            size += len(line)
        sent = self._write(b"".join(lines))
        while sent > 0:
            line = self._lines.popleft()
            self._byte_count -= len(line)
            self._rest = line[sent:]
            sent -= len(line)

    def _write(self, data: bytes) -> int:
        return os.write(self.descriptor, data[: select.PIPE_BUF])  # so many never block after `select`

    def _lose(self, count: int, reason: str) -> None:
        if count:
            if not self._lost_count:
                self._lost_since = time.monotonic()
            self._lost_count += count
            self._reason = reason
            self.on_loss(count)

    def _format_report(self) -> bytes:
        seconds = round(time.monotonic() - self._lost_since, 3)
        record = {"event": "telemetry", "lost_lines": self._lost_count, "seconds": seconds}
        return orjson.dumps({**record, "why": self._reason}, option=orjson.OPT_APPEND_NEWLINE)
