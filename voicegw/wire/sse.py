"""Server-sent events as bytes: cut a stream into events, wherever the network cut it. Pure.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. Reconnecting is not supported: `id:`
and `retry:` are skipped.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from voicegw.errors import AgentProtocolError

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""Maximum size of one event."""
DONE_LINE = re.compile(rb"data: ?\[DONE\]\n?")
"""The last event of OpenAI's streams, without its blank line."""
MAX_DONE_BYTES = len(b"data: [DONE]\n")
BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""

LINE_STARTS = (b":", b"data:", b"event:", b"id:", b"retry:")
"""The beginnings of a line: a comment and the four fields."""
MAX_BLANK_BYTES = 1024
"""Blank bytes that may precede the first line of a body whose kind is in doubt."""


class ServerSentEvent(NamedTuple):
    """One event."""

    event: str
    """The value of its `event:` line; "" without one."""
    data: bytes
    """Its `data:` lines, joined by a line feed."""


class SseParser:
    """Receives bytes as they arrive and returns complete events, independent of where the bytes were cut.

    Comments, `id:` and `retry:` are skipped. CR, LF and CRLF all end a line. An event without its blank line
    at the end of the stream is dropped, except for `[DONE]`: some servers leave the line out. A line
    `error: ...`, as llama.cpp sends it, is an event "error" with that data.
    """

    __slots__ = ("_after_cr", "_at_start", "_max_event_bytes", "_pending", "_pending_bytes")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        # The bytes of an event that is not complete, and their number.
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        # True if the last byte was a CR, so that an LF after it is dropped.
        self._after_cr = False
        # True before the first event: a byte order mark may come.
        self._at_start = True

    @property
    def has_partial_event(self) -> bool:
        """Has an event begun that is not complete?"""
        return bool(self._pending)

    @property
    def is_between_events(self) -> bool:
        """Do the next bytes begin an event, whose lines end in a line feed so far?"""
        return not (self._pending or self._after_cr or self._at_start)

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that `data` completes, mostly one.

        Raise AgentProtocolError for an event of more than `max_event_bytes`.
        """
        size = len(data)
        if (
            data[:6] == b"data: "
            and data.find(b"\n") == size - 2
            and data[-1:] == b"\n"
            and data.find(b"\r") < 0  # faster than `in`, which first tries the operand as a number
            and not (self._pending or self._after_cr or size > self._max_event_bytes)
        ):  # by far the most common: one event, alone in its read
            self._at_start = False
            return [ServerSentEvent("", data[6:-2])]
        return self._split(data)

    def _split(self, data: bytes) -> list[ServerSentEvent]:
        if b"\r" in data or self._after_cr:
            data = self._to_line_feeds(data)
        if not self._ends_event(data):
            self._hold(data)
            return self._take_done()
        if self._pending:
            data = b"".join((*self._pending, data))
            self._pending.clear()
            self._pending_bytes = 0
        if self._at_start:
            self._at_start = False
            data = data.removeprefix(BOM)
        *blocks, rest = data.split(b"\n\n")
        if rest:
            self._hold(rest)
        events = [event for block in blocks if (event := self._parse_event(block)) is not None]
        return events + self._take_done() if rest else events

    def _take_done(self) -> list[ServerSentEvent]:
        """Return the event `[DONE]` if it is whole except for its blank line, and nothing else is held."""
        if not 0 < self._pending_bytes <= MAX_DONE_BYTES or not DONE_LINE.fullmatch(b"".join(self._pending)):
            return []
        self._pending.clear()
        self._pending_bytes = 0
        return [ServerSentEvent("", b"[DONE]")]

    def _to_line_feeds(self, data: bytes) -> bytes:
        """End every line by a line feed. A CR at the end counts at once, an LF after it is dropped."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _ends_event(self, data: bytes) -> bool:
        """Does a blank line end in `data`? Only new bytes are searched: a long event costs no more."""
        if b"\n\n" in data:
            return True
        return bool(self._pending) and data[:1] == b"\n" and self._pending[-1][-1:] == b"\n"

    def _hold(self, data: bytes) -> None:
        if not data:
            return
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > self._max_event_bytes + 1:  # one byte of the blank line may be among them
            raise self._too_large()

    def _too_large(self) -> AgentProtocolError:
        return AgentProtocolError(f"a server-sent event of more than {self._max_event_bytes} bytes")

    def _parse_event(self, block: bytes) -> ServerSentEvent | None:
        if len(block) > self._max_event_bytes:
            raise self._too_large()
        if block[:6] == b"data: " and b"\n" not in block:  # nearly all of them
            return ServerSentEvent("", block[6:])
        name, data_lines = "", []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                data_lines.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ").decode("utf-8", "replace")
            elif field == b"error":
                name, data_lines = "error", [value.removeprefix(b" ")]
        return ServerSentEvent(name, b"\n".join(data_lines)) if data_lines else None


def starts_event_stream(start: bytes) -> bool | None:
    """Return whether a body that begins with `start` is an event stream; None if more bytes have to tell."""
    line = start.removeprefix(BOM).lstrip()
    if line.startswith(LINE_STARTS):
        return True
    is_open = any(begin.startswith(line) for begin in LINE_STARTS) or BOM.startswith(start)
    return None if is_open and len(start) <= MAX_BLANK_BYTES else False
