"""Finds and removes offers of other protocols, such as `Upgrade: h2c`, in the heads of requests. Pure.

The HTTP parser takes such an offer for accepted, and drops the body. Java's HTTP client sends one. Websockets
are offered by a GET request of HTTP/1.1 (RFC 6455, 4.1); every other offer is ignored.
Source: RFC 9110, 7.8: a server may ignore an offer, and ignores those of HTTP/1.0.
"""

from __future__ import annotations

import re

OFFER_LINE = re.compile(rb"\n(upgrade:[^\n]*|u[a-z]{0,6}\Z)", re.IGNORECASE)
"""A line that offers a protocol, or an incomplete one at the end that may become one."""
OFFER = b"upgrade:"
"""The beginning of the header that offers a protocol, in lower case."""
MAX_HELD_BYTES = 64
"""Maximum length of an incomplete line that is held back; a longer one is no offer of websockets."""


def may_hold_offer(data: bytes) -> bool:
    """Return whether `data` may hold a line, or the beginning of one, that `split_at_offers` would find."""
    return OFFER_LINE.search(data) is not None


def split_at_offers(data: bytes, *, at_line_start: bool) -> list[tuple[bytes, bool]]:
    """Return received bytes in pieces, and for each piece whether it is a line that may be an offer.

    Such a line is without its end; the last one may be incomplete. Only the parser knows whether it is a
    header or part of a body, once it has read the pieces before. `at_line_start`: a line break came before.
    """
    data = b"\n" + data if at_line_start else data
    pieces, start = [], int(at_line_start)
    for line in OFFER_LINE.finditer(data):
        pieces += [(data[start : line.start(1)], False), (line[1], True)]
        start = line.end()
    pieces.append((data[start:], False))
    return [piece for piece in pieces if piece[0]]


def ignore_offer(line: bytes, method: bytes, http_version: str) -> bytes:
    """Return a header line of a request under another name, unless it offers websockets and may do so."""
    is_websocket = line.lower().translate(None, b" \t\r") == OFFER + b"websocket"
    may_upgrade = method == b"GET" and http_version == "1.1"
    return line if is_websocket and may_upgrade else b"x-" + line
