"""One connection to the gateway for one fuzzed input, and the reading of its HTTP answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import httptools

ANSWER_TIMEOUT = 10.0
"""Seconds in which a complete request or frame must be answered; the agents answer at once."""
NOT_HTTP = "the answer is not HTTP"
READ_BYTES = 65536
REMAINING_BYTES = 4_000_000
"""Bytes of an answer after which reading stops."""


class HttpAnswers:
    """Parses everything that the server sends on one connection.

    `statuses` are those of the complete answers; `body` is that of the last answer; `flaw` says why the
    bytes are not HTTP, "" if they are.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.body = b""
        self.flaw = ""
        self.is_partial = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.statuses.append(101)
        except httptools.HttpParserError as error:
            self.flaw = f"{NOT_HTTP}: {error}"

    def on_message_begin(self) -> None:
        self.body, self.is_partial = b"", True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_partial = False
        self.statuses.append(self._parser.get_status_code())


class Connection:
    """A connection that sends the parts of one input and reads until the server is done."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.is_closed = False

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to 127.0.0.1. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, parts: Iterable[bytes]) -> None:
        """Send the parts, each in a separate write. A connection that the server has closed is no error."""
        with suppress(OSError):
            async with asyncio.timeout(ANSWER_TIMEOUT):
                for part in parts:
                    self.writer.write(part)
                    await self.writer.drain()
                    await asyncio.sleep(0)

    async def read(self, max_silence: float) -> bytes:
        """Return the next bytes, b"" at the end. Raises TimeoutError after `max_silence` seconds."""
        try:
            async with asyncio.timeout(max_silence):
                if data := await self.reader.read(READ_BYTES):
                    return data
        except TimeoutError:
            raise
        except OSError:  # reset, or closed by the server before this side closed it
            pass
        self.is_closed = True
        return b""

    def half_close(self) -> None:
        with suppress(OSError, RuntimeError):
            self.writer.write_eof()


@contextmanager
def closing(connection: Connection) -> Iterator[Connection]:
    """Abort the connection at the end, so that no port waits for the other side."""
    try:
        yield connection
    finally:
        connection.writer.transport.abort()
