"""Splits a stream of bytes into events, and reports every line that some client cannot read. Pure.

It reads lines only; `voicegw.simulate.chat_reader` reads the JSON in the events.
"""

from __future__ import annotations

from typing import TypeAlias

from voicegw.simulate.recording import Violation
from voicegw.wire.json import BOM

MAX_LINE_SIZE = 1024 * 1024
"""Bytes of a line; no chunk of speech needs more. A longer line is skipped and reported."""
DONE_MARKER = b"[DONE]"

LintResult: TypeAlias = bytes | Violation
"""The data of an event, or a flaw of the lines."""


class SseLint:
    """Parses and checks the lines of one stream. `is_done` is True after `[DONE]`.

    All forms that every tested client reads are right: CRLF, a byte order mark, comments, extra blank lines.
    """

    def __init__(self) -> None:
        self.is_done = False
        self._is_first_line = True
        self._skips_line = False
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._results: list[LintResult] = []

    def feed(self, data: bytes) -> list[LintResult]:
        """Return the results that these bytes complete; the network may split the stream anywhere."""
        self._rest += data
        if b"\n" in data:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
            for line in lines:
                self._parse_line(line)
        if len(self._rest) > MAX_LINE_SIZE:
            self._rest.clear()
            self._skip_line()
        return self._take_results()

    def flush(self) -> list[LintResult]:
        """Return the results that the end of the body brings."""
        if self._rest or self._data:
            self._report("lines", "the last event has no blank line after it")
        return self._take_results()

    def _take_results(self) -> list[LintResult]:
        results, self._results = self._results, []
        return results

    def _report(self, item: str, reason: str) -> None:
        self._results.append(Violation(item, reason))

    def _skip_line(self) -> None:
        """Report a line that is too long, and skip the rest of it."""
        if not self._skips_line:
            self._report("lines", f"a line of more than {MAX_LINE_SIZE} bytes")
        self._skips_line = True

    def _parse_line(self, line: bytes) -> None:
        if len(line) > MAX_LINE_SIZE:
            self._skip_line()
        if self._skips_line:
            self._skips_line = self._is_first_line = False
            return
        line = line.removesuffix(b"\r")
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(BOM)
        if not line:
            return self._dispatch()
        if self.is_done:
            return self._report("done", "something came after [DONE]")
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name in (b"id", b"retry", b"event"):
            self._report("lines", f"a line with {name.decode()}:, which some clients cannot read")
        elif name:
            self._report("lines", "a line that is neither data: nor a comment")

    def _dispatch(self) -> None:
        """Add the event that a blank line completes."""
        lines, self._data = self._data, []
        if not lines:
            return
        if len(lines) > 1:
            self._report("lines", "an event of more than one data: line")
        event = b"\n".join(lines).strip()
        self.is_done = event == DONE_MARKER
        if event:
            self._results.append(event)
        else:
            self._report("lines", "an event with empty data")
