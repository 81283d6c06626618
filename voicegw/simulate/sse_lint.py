"""Cuts a stream of bytes into events, and tells of every line over which some client stumbles. Pure."""

from __future__ import annotations

from typing import TypeAlias

from voicegw.simulate.recording import Wrong
from voicegw.wire.json import BOM

LONGEST = 1024 * 1024
"""Bytes of a line; more is no chunk of speech."""
END = b"[DONE]"

Found: TypeAlias = bytes | Wrong
"""The data of an event, or something that is wrong with the lines."""


class Lint:
    """Fed with bytes, wherever the network cut them. `over` tells that `[DONE]` came.

    What every tested client reads is right: CRLF, a byte order mark, comments, blank lines more than needed.
    """

    def __init__(self) -> None:
        self.over = False
        self._first = True
        self._skips = False
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._out: list[Found] = []

    def feed(self, data: bytes) -> list[Found]:
        """What these bytes complete."""
        self._rest += data
        if b"\n" in data:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
            for line in lines:
                self._line(line)
        if len(self._rest) > LONGEST:
            self._rest.clear()
            self._long()
        return self._taken()

    def end(self) -> list[Found]:
        """The body ended."""
        if self._rest or self._data:
            self._wrong("lines", "the last event has no blank line after it")
        return self._taken()

    def _taken(self) -> list[Found]:
        out, self._out = self._out, []
        return out

    def _wrong(self, item: str, why: str) -> None:
        self._out.append(Wrong(item, why))

    def _long(self) -> None:
        """A line is too long; what is still to come of it is skipped."""
        if not self._skips:
            self._wrong("lines", f"a line of more than {LONGEST} bytes")
        self._skips = True

    def _line(self, line: bytes) -> None:
        if len(line) > LONGEST:
            self._long()
        if self._skips:
            self._skips = self._first = False
            return
        line = line.removesuffix(b"\r")
        if self._first:
            self._first = False
            line = line.removeprefix(BOM)
        if not line:
            return self._dispatch()
        if self.over:
            return self._wrong("done", "something came after [DONE]")
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name in (b"id", b"retry", b"event"):
            self._wrong("lines", f"a line with {name.decode()}:, over which clients stumble")
        elif name:
            self._wrong("lines", "a line that is neither data: nor a comment")

    def _dispatch(self) -> None:
        lines, self._data = self._data, []
        if not lines:
            return
        if len(lines) > 1:
            self._wrong("lines", "an event of more than one data: line")
        event = b"\n".join(lines).strip()
        self.over = event == END
        if event:
            self._out.append(event)
        else:
            self._wrong("lines", "an event with empty data")
