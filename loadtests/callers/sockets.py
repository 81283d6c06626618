"""The sockets of callers, for HTTP requests and websockets. They are plain blocking sockets.

Locust makes them co-operative. Nothing is buffered between a socket and the clock. Times are those of
`time.perf_counter`.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

import httptools
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from loadtests.callers.turn import TurnFailed

SILENCE_TIMEOUT = 60.0
"""Seconds without a byte after which a caller gives up."""
READ_BYTES = 65536
MAX_BYTES = 4_000_000
"""Bytes that may come as the answer to one question."""
NOT_THIS_MACHINE = "the target is not this machine: --anywhere allows other machines"

CONTROL_OPCODES = (Opcode.PING, Opcode.PONG, Opcode.CLOSE)

Message: TypeAlias = str | bytes


def resolve_addresses(url: SplitResult, anywhere: bool) -> list[tuple[str, int]]:
    """Return the addresses of the host of a URL, each with its port.

    Raises TurnFailed for an unknown host, and for another machine unless `anywhere` allows it.
    """
    if not url.hostname:
        raise TurnFailed("the address of the target has no host")
    port = url.port or (443 if url.scheme in ("https", "wss") else 80)
    try:
        resolved = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        raise TurnFailed("the host name of the target is unknown") from None
    found = [(str(address[0]), port) for *_, address in resolved]
    if not anywhere and not all(ip_address(host.partition("%")[0]).is_loopback for host, _ in found):
        raise TurnFailed(NOT_THIS_MACHINE)
    return found


def connect(url: SplitResult, anywhere: bool) -> socket.socket:
    """Return a connection to the host of a URL. Raises TurnFailed or OSError."""
    address = resolve_addresses(url, anywhere)[0]
    plain = socket.create_connection(address, SILENCE_TIMEOUT)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if url.scheme not in ("https", "wss"):
        return plain
    return ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname)


def check_size(byte_count: int) -> int:
    """Return the same number of bytes. Raises TurnFailed above MAX_BYTES.

    A socket that always has data never yields to other greenlets, so nothing else would end the run.
    """
    if byte_count > MAX_BYTES:
        raise TurnFailed(f"the answer is longer than {MAX_BYTES / 1e6:g} MB")
    return byte_count


class HttpSocket:
    """A kept-alive connection that carries one request at a time."""

    def __init__(self, url: SplitResult, anywhere: bool) -> None:
        self.url = url
        self.anywhere = anywhere
        self.socket: socket.socket | None = None
        self.is_half_closed = False
        self._parts: list[bytes] = []
        self._complete = False

    def request(self, request: bytes, timeout: float | None = None) -> Iterator[tuple[float, bytes]]:
        """Send a request, and yield the parts of the answer's body as they come, each with its time.

        Raises TurnFailed for a status other than 200 and for an answer that breaks off, unless this side is
        closed. Raises TimeoutError if the answer does not end within `timeout` seconds, and OSError.
        """
        self._complete = self.is_half_closed = False
        parser = httptools.HttpResponseParser(self)
        self.open()
        assert self.socket is not None
        self.socket.sendall(request)
        deadline = None if timeout is None else time.perf_counter() + timeout
        received = 0
        while not self._complete:
            if deadline is not None:
                self.socket.settimeout(max(deadline - time.perf_counter(), 0.001))
            data = self.socket.recv(READ_BYTES)
            now = time.perf_counter()
            if not data:
                break
            received = check_size(received + len(data))
            self._feed(parser, data)
            if body := b"".join(self._parts):
                self._parts.clear()
                yield now, body
        if not self._complete and not self.is_half_closed:
            raise TurnFailed("the connection closed in the middle of a stream")
        if not (self._complete and parser.should_keep_alive()):
            self.close()

    def open(self) -> None:
        """Connect, unless connected, so that the time of a question includes no connecting.

        A server may have closed an idle connection; then a new one is opened.
        """
        if self.socket is not None and select.select([self.socket], [], [], 0)[0]:
            self.close()
        self.socket = self.socket or connect(self.url, self.anywhere)
        self.socket.settimeout(SILENCE_TIMEOUT)

    def _feed(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            raise TurnFailed("the answer is not HTTP") from None
        if parser.get_status_code() not in (0, 200):
            raise TurnFailed(f"refused with status {parser.get_status_code()}")

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        self._complete = True

    def half_close(self) -> None:
        """Close this side of the connection; `request` goes on until the server closes the other."""
        self.is_half_closed = True
        if self.socket is not None:
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self._parts.clear()


class WebSocket:
    """A websocket. Its methods raise TurnFailed when it is refused or closed, OSError when it is lost."""

    def __init__(self, address: str, headers: Mapping[str, str], anywhere: bool) -> None:
        self.protocol = ClientProtocol(parse_uri(address))
        self.frames: deque[tuple[float, Message]] = deque()
        self.received_bytes = 0
        self.socket = connect(urlsplit(address), anywhere)
        try:
            self._handshake(headers)
        except BaseException:
            self.socket.close()
            raise

    def _handshake(self, headers: Mapping[str, str]) -> None:
        request = self.protocol.connect()
        request.headers.update(headers)
        self.protocol.send_request(request)
        self._flush()
        while self.protocol.handshake_exc is None and self.protocol.state is State.CONNECTING:
            self._read()
        if self.protocol.handshake_exc is not None:
            raise TurnFailed(f"the call was refused: {self.protocol.handshake_exc}")

    def send(self, frames: Sequence[Message]) -> None:
        self._check_open()
        self.received_bytes = 0
        for frame in frames:
            if isinstance(frame, str):
                self.protocol.send_text(frame.encode())
            else:
                self.protocol.send_binary(frame)
        self._flush()

    def receive(self, deadline: float) -> tuple[float, Message] | None:
        """Return the next frame with its time, or None if none comes by `deadline`."""
        while not self.frames:
            remaining = deadline - time.perf_counter()
            if remaining <= 0:
                return None
            self.socket.settimeout(remaining)
            try:
                self._read()
            except TimeoutError:
                return None
        return self.frames.popleft()

    def close(self) -> None:
        """Close the connection, with a close frame if it is still open."""
        with suppress(OSError):
            if self.protocol.state is State.OPEN:
                self.protocol.send_close(1000)
                self._flush()
        self.socket.close()

    def _check_open(self) -> None:
        if self.protocol.state is not State.OPEN:
            raise TurnFailed(f"the gateway closed the call with code {self.protocol.close_code}")

    def _read(self) -> None:
        data = self.socket.recv(READ_BYTES)
        now = time.perf_counter()
        self.received_bytes = check_size(self.received_bytes + len(data))
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if not isinstance(event, Frame) or event.opcode in CONTROL_OPCODES:
                continue
            if event.opcode is Opcode.CONT or not event.fin:
                raise TurnFailed("the gateway sent a fragmented message, which is not measured")
            text = bytes(event.data)
            self.frames.append((now, text.decode() if event.opcode is Opcode.TEXT else text))
        self._flush()
        if not self.frames and self.protocol.state is not State.CONNECTING:
            self._check_open()

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.socket.sendall(data)
