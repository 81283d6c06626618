"""Cut a server-sent-event stream into events, as bytes, wherever the network cut it."""

from __future__ import annotations

from typing import NamedTuple

from voicegw.errors import AgentProtocolError

MAX_EVENT_BYTES = 4 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event: its `event:` name ("" when it has none) and its `data:` lines joined by a line feed."""

    event: str
    data: bytes


class SseParser:
    """Fed with bytes as they come, gives the events that are complete.

    The events do not depend on the cuts. Comments, `id:` and `retry:` are skipped, CR, LF and CRLF all end
    a line, and an event without its blank line at the end of the stream never happened. An event of more
    than `limit` bytes raises `AgentProtocolError`.
    """

    __slots__ = ("_after_cr", "_first", "_held", "_limit", "_size")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._first = True

    @property
    def held(self) -> bool:
        """Has an event begun that did not end?"""
        return bool(self._held)

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that `data` completes, mostly one."""
        size = len(data)
        if (
            data[:6] == b"data: "
            and data.find(b"\n") == size - 2
            and data[-1:] == b"\n"
            and data.find(b"\r") < 0  # `in` tries it as a number first
            and not (self._held or self._after_cr or size > self._limit)
        ):  # by far the most common: one event, alone in its read
            self._first = False
            return [ServerSentEvent("", data[6:-2])]
        return self._cut(data)

    def _cut(self, data: bytes) -> list[ServerSentEvent]:
        if b"\r" in data or self._after_cr:
            data = self._line_feeds(data)
        if not self._completes(data):
            self._hold(data)
            return []
        if self._held:
            data = b"".join((*self._held, data))
            self._held.clear()
            self._size = 0
        if self._first:
            self._first = False
            data = data.removeprefix(BOM)
        *blocks, rest = data.split(b"\n\n")
        if rest:
            self._hold(rest)
        return [event for block in blocks if (event := self._event(block)) is not None]

    def _line_feeds(self, data: bytes) -> bytes:
        """End every line by a line feed. A CR at the end counts at once, an LF after it is dropped."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _completes(self, data: bytes) -> bool:
        """Whether a blank line ends in `data`; looks at new bytes only, so a long event costs no more."""
        if b"\n\n" in data:
            return True
        return bool(self._held) and data[:1] == b"\n" and self._held[-1][-1:] == b"\n"

    def _hold(self, data: bytes) -> None:
        if not data:
            return
        self._held.append(data)
        self._size += len(data)
        if self._size > self._limit + 1:  # one byte of the blank line may be among them
            raise AgentProtocolError(f"a server-sent event of more than {self._limit} bytes")

    def _event(self, block: bytes) -> ServerSentEvent | None:
        if len(block) > self._limit:
            raise AgentProtocolError(f"a server-sent event of more than {self._limit} bytes")
        if block[:6] == b"data: " and b"\n" not in block:  # nearly all of them
            return ServerSentEvent("", block[6:])
        name, lines = "", []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                lines.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ").decode("utf-8", "replace")
        return ServerSentEvent(name, b"\n".join(lines)) if lines else None
