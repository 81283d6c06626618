"""Parser for `application/vnd.amazon.eventstream`: bytes in, cut anywhere; whole messages out. Pure.

A message is a prelude of twelve bytes, the headers, the payload, and a checksum of all before. The prelude
has the lengths of the message and of its headers, and a checksum of both. The parser tests both checksums:
with a wrong length it would wait for a message that never comes.

Source: AWS documentation, "Event stream encoding" (Amazon Transcribe); the tests compare with botocore.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct, error
from typing import NamedTuple, TypeAlias
from zlib import crc32

from voicegw.errors import AgentProtocolError

Value: TypeAlias = str | bytes | bool | int
"""The value of a header. A timestamp is its milliseconds since 1970, a UUID its 16 bytes."""

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Bytes of a message, the limit of a server-sent event too; a word of speech makes 150."""
PRELUDE = Struct(">III")
CHECKSUM = Struct(">I")
MIN_MESSAGE_BYTES = PRELUDE.size + CHECKSUM.size
SIZE = Struct(">H")
NUMBERS = {2: Struct(">b"), 3: Struct(">h"), 4: Struct(">i"), 5: Struct(">q"), 8: Struct(">q")}
"""The layout of each header type that is a number; 8 is a timestamp."""
BYTES, TEXT, UUID = 6, 7, 9
"""The header types of byte strings, UTF-8 texts and UUIDs."""


class EventStreamMessage(NamedTuple):
    """One message of the stream: its headers by name, and the bytes of its payload."""

    headers: Mapping[str, Value]
    payload: bytes


class EventStreamParser:
    """Cuts a stream into messages of at most `max_message_bytes`.

    After an error, the parser cannot be used any more.
    """

    __slots__ = ("_buffered", "_chunks", "_header_bytes", "_headers", "_max_message_bytes", "_needed")

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_message_bytes = max_message_bytes
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._needed = PRELUDE.size
        self._header_bytes = b""
        self._headers: Mapping[str, Value] = {}

    @property
    def has_partial_message(self) -> bool:
        """Whether a message has begun that is not whole."""
        return self._buffered > 0

    def feed(self, data: bytes) -> Iterator[EventStreamMessage]:
        """Yield the messages that `data` completes, mostly one. The caller must read all of them.

        A long message is joined once, in however many pieces it came. Raises `AgentProtocolError` for
        an invalid message, after the messages before it.
        """
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered < self._needed:
            return
        whole = data if len(self._chunks) == 1 else b"".join(self._chunks)
        at, self._needed = 0, PRELUDE.size
        while len(whole) - at >= PRELUDE.size:
            total, headers = self._decode_lengths(whole, at)
            if len(whole) - at < total:
                self._needed = total
                break
            yield self._decode_message(whole[at : at + total], headers)
            at += total
        rest = whole[at:]
        self._chunks, self._buffered = ([rest] if rest else []), len(rest)

    def _decode_lengths(self, data: bytes, at: int) -> tuple[int, int]:
        """Return the lengths of the message at `at` and of its headers, in bytes."""
        total, headers, checksum = PRELUDE.unpack_from(data, at)
        if crc32(data[at : at + 8]) != checksum:
            raise AgentProtocolError("a message whose beginning fails its checksum")
        if total > self._max_message_bytes:
            raise AgentProtocolError(f"a message of more than {self._max_message_bytes} bytes")
        if headers > total - MIN_MESSAGE_BYTES:
            raise AgentProtocolError("a message that is shorter than its parts")
        return total, headers

    def _decode_message(self, data: bytes, headers: int) -> EventStreamMessage:
        if crc32(data[: -CHECKSUM.size]) != CHECKSUM.unpack_from(data, len(data) - CHECKSUM.size)[0]:
            raise AgentProtocolError("a message that fails its checksum")
        start = PRELUDE.size + headers
        header_bytes = data[PRELUDE.size : start]
        if header_bytes != self._header_bytes:  # successive deltas have the same headers
            self._headers, self._header_bytes = _decode_headers(header_bytes), header_bytes
        return EventStreamMessage(self._headers, data[start : -CHECKSUM.size])


def _decode_headers(data: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    try:
        for name, value in _split_headers(data):
            if name in found:
                raise AgentProtocolError("a message with two headers of the same name", name)
            found[name] = value
    except (error, IndexError) as broken:
        raise AgentProtocolError(f"a message with a broken header: {broken}") from None
    return found


def _split_headers(data: bytes) -> Iterator[tuple[str, Value]]:
    """Yield the headers. Raises IndexError or `struct.error` for a broken one."""
    at = 0
    while at < len(data):
        name, at = _slice(data, at + 1, data[at])
        kind, at = data[at], at + 1
        value: Value
        if kind in (0, 1):
            value = kind == 0  # 0 is true, 1 is false
        elif number := NUMBERS.get(kind):
            value, at = number.unpack_from(data, at)[0], at + number.size
        elif kind == UUID:
            value, at = _slice(data, at, 16)
        elif kind in (BYTES, TEXT):
            value, at = _slice(data, at + SIZE.size, SIZE.unpack_from(data, at)[0])
            value = value.decode("utf-8", "replace") if kind == TEXT else value
        else:
            raise AgentProtocolError(f"a message with a header of the unknown type {kind}")
        yield name.decode("utf-8", "replace"), value


def _slice(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Return `size` bytes from `at`, and the position after them. Raises IndexError if there are fewer."""
    end = at + size
    if end > len(data):
        raise IndexError("it is cut short")
    return data[at:end], end
