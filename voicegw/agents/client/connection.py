"""One connection to an upstream: HTTP/1.1, one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from voicegw.errors import AgentProtocolError

HEAD = 64 * 1024
"""Bytes that the head of an answer, with everything before it, may have."""

BODY = 64 * 1024
"""Bytes of a body that may wait for a slow reader before the upstream is held back."""


class Connection(asyncio.Protocol):
    """Carries one request at a time. `crowd` is the set of open connections, which it joins and leaves.

    `done` tells that nothing is under way: no request, or an answer that arrived whole. `broken` says why
    an answer will never arrive whole, `over` that its reader needs no more of it.
    """

    def __init__(self, open_connections: set[Connection]) -> None:
        self.loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self.since = 0.0
        self._crowd = open_connections
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._rest: Callable[[Connection], None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._begin()
        self.done = True

    def _begin(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.done = self.over = False
        self.broken = ""
        self._heard = 0
        self._keep = True
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False

    @property
    def alive(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        transport = self._transport
        idle = self.done and self._keep and transport is not None and not transport.is_closing()
        return idle and cast(asyncio.Transport, transport).get_write_buffer_size() == 0

    async def send_request(self, request: bytes) -> bool:
        """Send a request, wait for the head of its answer. False: the connection died before a byte of it."""
        self._resume()
        self._begin()
        transport = self._transport
        if transport is None or transport.is_closing():
            self.broken = "connection closed"
            return False
        try:
            transport.write(request)
            while not self.status:
                if self.broken and not self._heard:
                    return False
                await self._news()
        except BaseException:
            self.abort()
            raise
        return True

    async def read_chunk(self) -> bytes:
        """What arrived of the body, b"" at its end. Raises `AgentProtocolError` when it broke off."""
        while not self._parts:
            if self.done:
                return b""
            await self._news()
        parts, self._parts, self._size = self._parts, [], 0
        self._resume()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def drain(self, seconds: float, rest: Callable[[Connection], None]) -> None:
        """Let the body end by itself within `seconds`, then be ready for `rest`; else hang up."""
        self._rest = rest
        self._deadline = self.loop.call_later(seconds, self.abort)
        self._resume()

    def abort(self) -> None:
        """Hang up, now."""
        if not self.done:
            self.broken = self.broken or "hung up"
        if self._transport is not None:
            self._transport.abort()

    def _news(self) -> asyncio.Future[None]:
        """To be awaited for something to happen. Raises `AgentProtocolError` when nothing more will."""
        if self.broken:
            raise AgentProtocolError(f"{self.broken} in the middle of an answer")
        self._waiter = self.loop.create_future()
        return self._waiter

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, why: str) -> None:
        if not self.done:
            self.broken = why
        self.abort()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._crowd.add(self)

    def data_received(self, data: bytes) -> None:
        if self.broken:
            return
        self._heard += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"no HTTP ({error})")
        if not self.status and self._heard > HEAD:
            self._fail(f"a head of more than {HEAD} bytes")
        if self._size > BODY and not self._paused and not self.done:
            self._paused = True
            cast(asyncio.Transport, self._transport).pause_reading()
        self._wake()
        if self._rest is not None and self.done:
            self._end_lingering(self._rest)

    def _end_lingering(self, rest: Callable[[Connection], None]) -> None:
        self._rest = None
        if self._deadline is not None:
            self._deadline.cancel()
        if self.reusable:
            rest(self)
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done and not self.broken:
            to_the_end = self.status and not self._framed and exc is None
            self.done = bool(to_the_end)
            self.broken = "" if to_the_end else "connection reset" if exc else "connection closed"
        self._crowd.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.gone.done():
            self.gone.set_result(None)
        self._wake()

    @property
    def _framed(self) -> bool:
        """Whether the answer says where its body ends, other than by the end of the connection."""
        return (
            "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
        )

    # What the parser tells

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # later ones are trailers
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # the real answer is still to come
            self.headers = {}
        else:
            self.status = status
            self._keep = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self._rest is None:
            self._parts.append(data)
            self._size += len(data)

    def on_message_complete(self) -> None:
        self.done = self.status >= 200
