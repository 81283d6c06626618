"""A scripted server on the loopback interface: every request gets the next reply, piece by piece."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from enum import Enum

Piece = bytes | float
"""Bytes are written, a number is a pause in seconds; see also `Act`."""


class Action(Enum):
    CLOSE = "end the connection after what was written"
    RESET = "drop the connection"
    HANG = "send nothing more until the client closes the connection"


class Upstream:
    """`async with Upstream(reply, reply, ...) as upstream`, a reply being a sequence of pieces and acts.

    A server without replies left hangs. `requests` are the requests as they came. `connections` counts the
    accepted connections, `ended_connections` those that ended. `disconnected` is set when a client closes
    its connection in the middle of a reply.
    """

    def __init__(self, *replies: tuple[Piece | Action, ...], tls: ssl.SSLContext | None = None) -> None:
        self._replies = list(replies)
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended_connections = 0
        self.disconnected = asyncio.Event()

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.disconnected.set()
        finally:
            self.ended_connections += 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (line[16:] for line in head.split(b"\r\n") if line.startswith(b"content-length: ")), b"0"
        )
        self.requests.append(head + await reader.readexactly(int(length)))
        for piece in self._replies.pop(0) if self._replies else (Action.HANG,):
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            elif isinstance(piece, float):
                await asyncio.sleep(piece)
            elif piece is Action.HANG:
                await reader.readexactly(1)
            elif piece is Action.CLOSE:
                writer.close()
                await writer.wait_closed()
                return False
            else:
                writer.transport.abort()
                return False
        return True


async def wait_until(predicate: Callable[[], object]) -> None:
    """Wait up to two seconds for something that only the operating system can bring about."""
    async with asyncio.timeout(2):
        while not predicate():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def http_response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole response with a content length."""
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chunked_head(*headers: str, status: str = "200 OK") -> bytes:
    """Return the head of a response with a chunked body."""
    return "\r\n".join([f"HTTP/1.1 {status}", "transfer-encoding: chunked", *headers]).encode() + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return one chunk; an empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)
