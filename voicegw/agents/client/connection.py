"""One HTTP/1.1 connection to an agent's server, which carries one request at a time.

Connections are pooled and kept in `http`; this module knows no origin and opens no socket.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable
from math import inf
from typing import cast

import httptools

from voicegw.agents.client.input_steps import STEP_BYTES, InputSteps
from voicegw.errors import AgentProtocolError

MAX_HEAD_BYTES = 64 * 1024
"""Bytes that the head of a response may have, informational responses before it included."""

MAX_BUFFERED_BYTES = 64 * 1024
"""Bytes of a body that may wait for a slow reader before the connection stops reading."""

KEEPALIVE_TIMEOUT = re.compile(r"timeout=(\d{1,6})", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """One connection; `open_connections` is the set of open ones, which it joins and leaves.

    The transport and the HTTP parser call its other public methods; they are not for users.
    """

    def __init__(self, open_connections: set[Connection]) -> None:
        # The event loop of the connection.
        self.loop = asyncio.get_running_loop()
        # Done when the connection is closed.
        self.closed: asyncio.Future[None] = self.loop.create_future()
        # The loop time in seconds until which the connection waits for a request; the pool sets it.
        self.expires_at = 0.0
        self._open_connections = open_connections
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        # Takes the body as it arrives, while `pump` waits; None without it.
        self._feed: Callable[[bytes], bool] | None = None
        self._on_drained: Callable[[Connection], None] | None = None
        self._drain_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        # Received bytes that wait to be parsed, if there are many.
        self._input = InputSteps(self._parse, lambda: not self._paused, STEP_BYTES)
        self._reset()
        # Whether no request is under way: none was sent yet, or its response arrived whole.
        self.done = True

    def _reset(self) -> None:
        """Forget the last response."""
        # The status of the response, 0 until its head is complete.
        self.status = 0
        # The headers of the response by their names in lower case; repeated ones are joined by ", ".
        self.headers: dict[str, str] = {}
        self.done = False
        # Whether the reader waits no longer for the rest of the body.
        self._rest_expired = False
        self.unlimit_rest()
        # Whether the reader needs no more of the body; the pool may then drain it and keep the connection.
        self.rest_discarded = False
        # Why the response will never arrive whole, "" while it still may.
        self.broken_reason = ""
        # The exception of the function that takes the body; None if it raised none.
        self._feed_error: BaseException | None = None
        self._received = 0
        self._keep_alive = True
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False

    @property
    def is_open(self) -> bool:
        """Whether the connection is established and not closing."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent: the response is whole, and the server keeps the connection."""
        transport = self._transport
        idle = self.done and self._keep_alive and transport is not None and not transport.is_closing()
        is_clean = idle and not self._input.waiting
        return is_clean and cast(asyncio.Transport, transport).get_write_buffer_size() == 0

    @property
    def has_unread_input(self) -> bool:
        """Whether the server closed the connection or sent bytes that the event loop has not read yet."""
        poll = select.poll()
        poll.register(cast(asyncio.Transport, self._transport).get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))

    @property
    def keepalive_timeout(self) -> float:
        """The seconds for which the server keeps an idle connection (RFC 2068, 19.7.1.1); inf if unknown."""
        found = KEEPALIVE_TIMEOUT.search(self.headers.get("keep-alive", ""))
        return float(found[1]) if found else inf

    async def send_request(self, request: bytes) -> bool:
        """Send a request and wait for the head of its response.

        Returns False if the connection closed before any byte of the response; the server may have read the
        request all the same. Raises `AgentProtocolError` if the head breaks off or is no HTTP.
        """
        self._resume_reading()
        self._reset()
        transport = self._transport
        if transport is None or transport.is_closing():
            self.broken_reason = "connection closed"
            return False
        try:
            transport.write(request)
            while not self.status:
                if self.broken_reason and not self._received:
                    return False
                await self._wait_for_data()
        except BaseException:
            self.abort()
            raise
        return True

    async def pump(self, feed: Callable[[bytes], bool]) -> bool:
        """Pass the body to `feed`, in the callback in which it arrives, until `feed` returns False.

        Return False then, and True at the end of the body or after `limit_rest`. Raises the exception of
        `feed`, and `AgentProtocolError` if the response breaks off, after the bytes before that were passed.
        """
        self._resume_reading()
        if self._chunks and not feed(self._take_chunks()):
            return False
        while not (self.done or self._rest_expired):
            self._feed = feed
            try:
                await self._wait_for_data()
            finally:
                has_stopped, self._feed = self._feed is None, None
            if self._feed_error is not None:
                raise self._feed_error
            if has_stopped:
                return False
        return True

    def _take_chunks(self) -> bytes:
        chunks, self._chunks, self._buffered = self._chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _pass_on(self, feed: Callable[[bytes], bool]) -> bool:
        """Pass the new part of the body on. Return False if `pump` goes on waiting."""
        try:
            if feed(self._take_chunks()):
                return self.done or bool(self.broken_reason)
        except BaseException as error:
            self._feed_error = error
        self._feed = None
        return True

    async def peek(self, size: int) -> bytes:
        """Wait for `size` unread bytes of the body, or its end; return all that has arrived, and keep it.

        Raises `AgentProtocolError` if the response breaks off before.
        """
        while self._buffered < size and not self.done:
            await self._wait_for_data()
        return b"".join(self._chunks)

    def limit_rest(self, seconds: float, *, restart: bool) -> None:
        """Let `pump` end the body after `seconds`, or sooner if an earlier call said so.

        `restart` counts anew from this call.
        """
        if self._rest_timer is not None:
            if not restart and self._rest_timer.when() <= self.loop.time() + seconds:
                return
            self._rest_timer.cancel()
        self._rest_timer = self.loop.call_later(seconds, self._expire_rest)

    def unlimit_rest(self) -> None:
        """Take `limit_rest` back."""
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _expire_rest(self) -> None:
        self._rest_expired = True
        self._wake()

    def drain(self, timeout: float, on_drained: Callable[[Connection], None]) -> None:
        """Drop the rest of the body. If it ends within `timeout` seconds, call `on_drained`; else close."""
        self._on_drained = on_drained
        self._drain_timer = self.loop.call_later(timeout, self.abort)
        self._resume_reading()

    def abort(self) -> None:
        """Close the connection at once."""
        if not self.done:
            self.broken_reason = self.broken_reason or "hung up"
        if self._transport is not None:
            self._transport.abort()

    def _wait_for_data(self) -> asyncio.Future[None]:
        """Return a future for the next change. Raises `AgentProtocolError` if the response broke off."""
        if self.broken_reason:
            raise AgentProtocolError(f"{self.broken_reason} in the middle of an answer")
        self._waiter = self.loop.create_future()
        return self._waiter

    def _resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._input.waiting:
                self._transport.resume_reading()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self.done:
            self.broken_reason = reason
        self.abort()

    # Called by the transport (asyncio.Protocol)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open_connections.add(self)

    def data_received(self, data: bytes) -> None:
        if len(data) <= STEP_BYTES and not self._input.waiting:  # nearly always
            self._parse(data)
        else:
            self._input.feed(cast(asyncio.Transport, self._transport), data)

    def _parse(self, data: bytes) -> None:
        if self.broken_reason:
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"no HTTP ({error})")
        if not self.status and self._received > MAX_HEAD_BYTES:
            self._fail(f"a head of more than {MAX_HEAD_BYTES} bytes")
        if self._feed is not None and self._chunks and not self._pass_on(self._feed):
            return
        if self._buffered > MAX_BUFFERED_BYTES and not self._paused and not self.done:
            self._paused = True
            cast(asyncio.Transport, self._transport).pause_reading()
        self._wake()
        if self._on_drained is not None and self.done:
            self._finish_drain(self._on_drained)

    def _finish_drain(self, on_drained: Callable[[Connection], None]) -> None:
        self._on_drained = None
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        if self.is_reusable:
            on_drained(self)
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._input.finish()
        if not self.done and not self.broken_reason:
            ends_body = self.status and not self._has_framing and exc is None
            self.done = bool(ends_body)
            self.broken_reason = "" if ends_body else "connection reset" if exc else "connection closed"
        self._open_connections.discard(self)
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()

    @property
    def _has_framing(self) -> bool:
        """Whether the headers say where the body ends; else the end of the connection is its end."""
        return (
            "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
        )

    # Called by the parser (httptools)

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("an answer without a request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # later ones are trailers
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an informational response; the final one follows
            self.headers = {}
        else:
            self.status = status
            self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self._on_drained is None:
            self._chunks.append(data)
            self._buffered += len(data)

    def on_message_complete(self) -> None:
        self.done = self.status >= 200
