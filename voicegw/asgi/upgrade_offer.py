"""Removes offers of other protocols, such as HTTP/2 (`Upgrade: h2c`), from the head of a request. Pure.

The HTTP parser takes such an offer for accepted, and drops the body. Java's HTTP client sends one.
Source: RFC 9110, 7.8: a server may ignore the offer.
"""

from __future__ import annotations

import re

HEAD_END = re.compile(rb"\n\r?\n")
"""The end of a head. The head may be cut anywhere, so its last line may lack its carriage return."""
OTHER_UPGRADE = re.compile(rb"\nupgrade:(?![ \t]*websocket)", re.IGNORECASE)
"""The beginning of a header that offers another protocol than websockets."""
WEBSOCKET_UPGRADE = b"\nupgrade:websocket"
"""The beginning of the header that must stay, in lower case and without white space."""
MAX_HELD_BYTES = 64
"""Maximum length of an incomplete line that is held back; a longer one passes as it is."""


def remove_upgrade_offer(data: bytes) -> tuple[bytes, bytes]:
    """Return the bytes to parse, without an offer, and the bytes to hold back until more arrive.

    `data` is the bytes held back before, and the newly received ones. It begins within a head.
    """
    end = HEAD_END.search(data)
    if end is None:
        start = len(data) - len(_undecided_line(data))
        return OTHER_UPGRADE.sub(b"\nx-upgrade:", data[:start]), data[start:]
    head = data[: end.start()]
    renamed = OTHER_UPGRADE.sub(b"\nx-upgrade:", head)
    return (data if renamed == head else renamed + data[end.start() :]), b""


def _undecided_line(data: bytes) -> bytes:
    """Return the line break and the incomplete last line if it may become an offer or the head's end."""
    start = data.rfind(b"\n", -MAX_HELD_BYTES)
    line = data[start:] if start >= 0 else b""
    compact = line.lower().translate(None, b" \t")
    is_prefix = compact != WEBSOCKET_UPGRADE and WEBSOCKET_UPGRADE.startswith(compact)
    return line if is_prefix or compact == b"\n\r" else b""
