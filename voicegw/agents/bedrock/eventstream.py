"""The frames of `application/vnd.amazon.eventstream`: bytes in, cut anywhere, whole frames out.

A frame is twelve bytes that say how long it and its headers are, with a checksum, then the headers, the
payload, and a checksum of everything before. Both are tested: with a wrong length we would wait for a frame
that never comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct, error
from typing import NamedTuple, TypeAlias
from zlib import crc32

from voicegw.errors import AgentProtocolError

Value: TypeAlias = str | bytes | bool | int
"""What a header may be. A moment is its milliseconds since 1970, a UUID its 16 bytes."""

LIMIT = 4 * 1024 * 1024
"""Bytes of a frame, as much as of an event in a text stream; a word of speech makes 150."""
PRELUDE = Struct(">III")
CHECKSUM = Struct(">I")
LEAST = PRELUDE.size + CHECKSUM.size
SIZE = Struct(">H")
NUMBERS = {2: Struct(">b"), 3: Struct(">h"), 4: Struct(">i"), 5: Struct(">q"), 8: Struct(">q")}
BYTES, TEXT, UUID = 6, 7, 9


class EventStreamMessage(NamedTuple):
    """One message of the stream."""

    headers: Mapping[str, Value]
    payload: bytes


class EventStreamParser:
    """Cuts a stream into frames. Raises `AgentProtocolError` for what is none, and is of no use after that."""

    __slots__ = ("_headers", "_held", "_known", "_limit", "_need", "_size")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self._need = PRELUDE.size
        self._known = b""
        self._headers: Mapping[str, Value] = {}

    @property
    def held(self) -> bool:
        """Whether a frame has begun that is not whole."""
        return self._size > 0

    def feed(self, data: bytes) -> Iterator[EventStreamMessage]:
        """The frames that `data` completes, mostly one; read them all. Those before a broken one are given.

        A long one is put together once, however it came.
        """
        self._held.append(data)
        self._size += len(data)
        if self._size < self._need:
            return
        whole = data if len(self._held) == 1 else b"".join(self._held)
        at, self._need = 0, PRELUDE.size
        while len(whole) - at >= PRELUDE.size:
            total, headers = self._lengths(whole, at)
            if len(whole) - at < total:
                self._need = total
                break
            yield self._frame(whole[at : at + total], headers)
            at += total
        rest = whole[at:]
        self._held, self._size = ([rest] if rest else []), len(rest)

    def _lengths(self, data: bytes, at: int) -> tuple[int, int]:
        """The lengths of the frame at `at` and of its headers."""
        total, headers, proof = PRELUDE.unpack_from(data, at)
        if crc32(data[at : at + 8]) != proof:
            raise AgentProtocolError("a frame whose beginning fails its checksum")
        if total > self._limit:
            raise AgentProtocolError(f"a frame of more than {self._limit} bytes")
        if headers > total - LEAST:
            raise AgentProtocolError("a frame that is shorter than its parts")
        return total, headers

    def _frame(self, data: bytes, headers: int) -> EventStreamMessage:
        if crc32(data[: -CHECKSUM.size]) != CHECKSUM.unpack_from(data, len(data) - CHECKSUM.size)[0]:
            raise AgentProtocolError("a frame that fails its checksum")
        start = PRELUDE.size + headers
        written = data[PRELUDE.size : start]
        if written != self._known:  # those of one delta are those of the next
            self._headers, self._known = _headers(written), written
        return EventStreamMessage(self._headers, data[start : -CHECKSUM.size])


def _headers(data: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    try:
        for name, value in _fields(data):
            if name in found:
                raise AgentProtocolError(f"a frame with two headers {name!r}")
            found[name] = value
    except (error, IndexError, UnicodeDecodeError) as broken:
        raise AgentProtocolError(f"a frame with a broken header: {broken}") from None
    return found


def _fields(data: bytes) -> Iterator[tuple[str, Value]]:
    """The headers, one after the other."""
    at = 0
    while at < len(data):
        name, at = _cut(data, at + 1, data[at])
        kind, at = data[at], at + 1
        value: Value
        if kind in (0, 1):
            value = kind == 0
        elif number := NUMBERS.get(kind):
            value, at = number.unpack_from(data, at)[0], at + number.size
        elif kind == UUID:
            value, at = _cut(data, at, 16)
        elif kind in (BYTES, TEXT):
            value, at = _cut(data, at + SIZE.size, SIZE.unpack_from(data, at)[0])
            value = value.decode() if kind == TEXT else value
        else:
            raise AgentProtocolError(f"a frame with a header of the unknown type {kind}")
        yield name.decode(), value


def _cut(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """The `size` bytes from `at`, and where they end."""
    end = at + size
    if end > len(data):
        raise IndexError("it is cut short")
    return data[at:end], end
