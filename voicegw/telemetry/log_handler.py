"""The handler of Python's logging when the gateway serves: lines without callers' words."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

from voicegw.telemetry.writer import TelemetryWriter

MAX_CAUSES = 5
"""Exceptions of one chain that are logged."""

log = logging.getLogger("voicegw.error")


class WriterHandler(logging.Handler):
    """Hands every record to a `TelemetryWriter`, as a bare line and the traceback, if it has one.

    The message of an exception may quote a caller. It is left out unless `log_errors`.
    """

    def __init__(self, writer: TelemetryWriter, *, log_errors: bool = False) -> None:
        super().__init__()
        self.writer = writer
        self.setFormatter(logging.Formatter() if log_errors else WordlessFormatter())

    def createLock(self) -> None:
        """Have no lock: the writer needs none."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Format the record and hand it over."""
        self.writer.write_line(self.format(record))


class WordlessFormatter(logging.Formatter):
    """Formats the traceback of an exception without the exception's message."""

    def formatException(self, ei: Any) -> str:
        """Return the frames and classes of the exception and its causes, the newest first."""
        parts: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None and len(parts) < MAX_CAUSES:
            frames = "".join(traceback.format_tb(error.__traceback__))
            parts.append(f"{frames}{type(error).__qualname__}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\ncaused by:\n".join(parts)


def log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error of the event loop. asyncio's own line shows the message of the exception."""
    log.error("%s", context.get("message"), exc_info=context.get("exception"))
