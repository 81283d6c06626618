"""Closes idle connections when the file descriptors of the process run low, and then refuses new ones.

It parses no requests: the HTTP protocol says which connections wait for one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

MAX_RESERVE, MIN_RESERVE = 256, 16
"""File descriptors that are kept for agents and files: an eighth of the limit, within these bounds."""
RECOVERED = 0.9
"""Share of the maximum number of connections below which there may be more again."""


class IdleConnections:
    """The connections of a process that wait for a request, the longest waiting first."""

    def __init__(self, max_files: int, on_refused: Callable[[], None], on_closed: Callable[[], None]) -> None:
        """`max_files` is the limit of open files of the process.

        `on_refused` is called for each connection that finds no place, `on_closed` for each that made place.
        """
        reserve = min(MAX_RESERVE, max(MIN_RESERVE, max_files // 8))
        # The lowest file descriptor that is too high. The system gives each file the lowest free one.
        self.max_descriptor = max_files - reserve
        # Maximum number of open connections, known once a descriptor was too high.
        self.max_open = inf
        # Connections that never sent a whole request.
        self.new: dict[Any, None] = {}
        # Connections that wait for another request.
        self.kept: dict[Any, None] = {}
        # Connections that were aborted here and are not closed yet.
        self.closing: set[Any] = set()
        self._on_refused = on_refused
        self._on_closed = on_closed

    def admit(self, connection: Any, descriptor: int, open_count: int) -> None:
        """Add a new connection. If descriptors run low, close the longest waiting one.

        New ones go before kept ones. If none waits, the new one is closed. `open_count` is the number of
        connections that are not lost yet, the new one included.
        """
        open_count -= len(self.closing)
        if descriptor >= self.max_descriptor:
            self.max_open = min(self.max_open, open_count - 1)
        elif open_count < RECOVERED * self.max_open:
            self.max_open = inf
        if open_count <= self.max_open:
            self.new[connection] = None
        elif waiting := self.new or self.kept:
            oldest = next(iter(waiting))
            del waiting[oldest]
            self._abort(oldest)
            self.new[connection] = None
            self._on_closed()
        else:
            self._abort(connection)
            self._on_refused()

    def _abort(self, connection: Any) -> None:
        self.closing.add(connection)
        connection.transport.abort()

    def remove(self, connection: Any) -> None:
        """Take out a connection that has sent a whole request."""
        self.new.pop(connection, None)
        self.kept.pop(connection, None)

    def keep(self, connection: Any) -> None:
        """Add a connection that waits for its next request."""
        self.kept[connection] = None

    def lose(self, connection: Any) -> None:
        """Take out a connection that is closed."""
        self.remove(connection)
        self.closing.discard(connection)
