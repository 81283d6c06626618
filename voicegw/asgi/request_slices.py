"""Where a request ends in the received bytes, for a parser that reads one request at a time. Pure.

It parses nothing: a head, and a body in chunks, end at an empty line, and both may hold others before.
Source: RFC 9112, 2.1 and 7.1. The parser accepts no line that ends without a carriage return.
"""

from __future__ import annotations

from collections.abc import Sequence

EMPTY_LINE = b"\r\n\r\n"
"""The end of a line, and the empty line after it."""


def find_slice_end(data: bytes, start: int, max_bytes: int) -> int:
    """Return the end of the next slice from `start`: behind the next empty line, or after `max_bytes` bytes.

    A part of an empty line at the end of the slice is left for the next one. The result is `start` if there
    is nothing else.
    """
    found = data.find(EMPTY_LINE, start, start + max_bytes + len(EMPTY_LINE))
    if found >= 0:
        return found + len(EMPTY_LINE)
    end = min(start + max_bytes, len(data))
    for size in range(len(EMPTY_LINE) - 1, 0, -1):
        if data.endswith(EMPTY_LINE[:size], start, end):
            return end - size
    return end


def framing_error(http_version: str, transfer_encodings: Sequence[bytes]) -> str | None:
    """Return why the body of a request cannot be delimited safely; None if it can.

    `transfer_encodings` are the values of all `transfer-encoding` headers, in lower case. Source: RFC 9112,
    6.1 and 7: a proxy may understand another coding, or chunks in HTTP/1.0, differently.
    """
    if http_version not in ("1.0", "1.1"):
        return f"HTTP/{http_version} is not supported; use HTTP/1.1."
    if transfer_encodings and list(transfer_encodings) != [b"chunked"]:
        return "The only supported transfer-encoding is chunked."
    if transfer_encodings and http_version == "1.0":
        return "HTTP/1.0 has no transfer-encoding."
    return None
