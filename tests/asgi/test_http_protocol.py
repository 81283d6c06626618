"""The HTTP protocol of one connection: the test feeds its bytes and records its writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from voicegw.asgi.chunk_writer import ChunkWriter
from voicegw.asgi.http_protocol import GatewayHttpProtocol
from voicegw.asgi.request_reader import MAX_HEADER_BYTES

ASK = b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
MAX_STEPS = 1000
"""Turns of the event loop in which a test's bytes are parsed."""
PLAIN = [(b"content-length", b"2")]


class FakeSocket:
    """A socket with the descriptor 77 and without addresses."""

    def fileno(self) -> int:
        return 77

    def getpeername(self) -> str:
        return ""

    def getsockname(self) -> str:
        return ""


class FakeTransport(asyncio.Transport):
    """Records writes and closes like a real transport, at the time `closed_at`.

    The client has not read `unsent_bytes` yet. `on_lost` is called after `abort`. The client closes when it
    has read the end of what is sent, unless `client_closes` is False.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unsent_bytes = 0
        self.client_closes = True
        self.on_lost: Callable[[Exception | None], None] = lambda error: None
        self.writes: list[bytes] = []
        self.closed = False
        self.closed_at = 0.0
        self.reading_enabled = True

    def write(self, data: Any) -> None:
        assert not self.closed, "nothing is written to a closed connection"
        self.writes.append(bytes(data))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.closed_at = asyncio.get_running_loop().time()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return FakeSocket() if name == "socket" else default

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.client_closes:
            self.close()

    def abort(self) -> None:
        self.close()
        asyncio.get_running_loop().call_soon(self.on_lost, None)

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading_enabled = False

    def resume_reading(self) -> None:
        self.reading_enabled = True


class FakeChunkSource:
    """A stream that records how it is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def wake(self) -> None:
        self.calls.append("wake")

    def on_disconnect(self) -> None:
        self.calls.append("disconnect")

    def probe(self) -> None:
        self.calls.append("probe")


App = Callable[["Connection"], Awaitable[None]]


class Connection:
    """One connection to the application `app`. `scope` is that of its last request."""

    def __init__(self, app: App | None = None, **state: Any) -> None:
        self.app = app
        self.source = FakeChunkSource()
        self.scope: dict[str, Any] = {}
        config = uvicorn.Config(self._app, interface="asgi3", proxy_headers=False, log_config=None)
        self.transport = FakeTransport()
        self.protocol = GatewayHttpProtocol(config, ServerState(), state, _loop=asyncio.get_running_loop())
        self.protocol.connection_made(self.transport)
        self.transport.on_lost = self.protocol.connection_lost

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        if self.app is None:
            await self.start(PLAIN)
            await self.body(b"ok")
        else:
            await self.app(self)

    async def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def body(self, data: bytes, *, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    @property
    def chunk_writer(self) -> ChunkWriter:
        writer = self.scope["extensions"]["voicegw.chunk_writer"]
        assert isinstance(writer, ChunkWriter)
        return writer

    async def feed(self, *pieces: bytes) -> None:
        """Feed bytes to the protocol, then wait until it has parsed them, and for the application."""
        for piece in pieces:
            await self._parsed()
            if not self.transport.closed:
                self.protocol.data_received(piece)
        await self._parsed()
        while tasks := set(self.protocol.tasks):
            await asyncio.wait(tasks)
            await self._parsed()

    async def _parsed(self) -> None:
        """Wait until no step of parsing is left. Each one runs in a turn of the loop."""
        for _ in range(MAX_STEPS):
            if not self.protocol.is_step_queued:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"the bytes were not parsed in {MAX_STEPS} steps")

    @property
    def written(self) -> bytes:
        return b"".join(self.transport.writes)

    @property
    def status(self) -> int:
        return int(self.written.split(b" ")[1])

    @property
    def error(self) -> dict[str, Any]:
        head, _, body = self.written.partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head
        return dict(json.loads(body)["error"])


def request_with_header_size(size: int) -> bytes:
    """Return a request whose target and headers, with their punctuation, have so many bytes."""
    bare = len(b"/x") + len(b"host") + len(b"localhost") + 4 + len(b"x-long") + 4
    return b"GET /x HTTP/1.1\r\nhost: localhost\r\nx-long: %b\r\n\r\n" % (b"a" * (size - bare))


@pytest.mark.parametrize(("size", "status"), [(2000, 200), (2001, 431)])
async def test_headers_may_be_as_large_as_the_limit(size: int, status: int) -> None:
    connection = Connection(max_header_bytes=2000)
    await connection.feed(request_with_header_size(size))
    assert connection.status == status


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_headers_that_never_end_are_rejected_at_the_limit(step: int) -> None:
    connection = Connection(max_header_bytes=2000)
    request = request_with_header_size(9000)
    enough = 2000 - 2000 % step
    await connection.feed(*(request[at : at + step] for at in range(0, enough, step)))
    assert connection.transport.writes == []
    await connection.feed(request[enough : enough + step])
    assert (connection.status, connection.error["code"]) == (431, "headers_too_large")
    assert b"connection: close" in connection.written
    assert connection.transport.closed
    assert connection.scope == {}


async def test_headers_have_a_default_limit() -> None:
    connection = Connection()
    await connection.feed(request_with_header_size(MAX_HEADER_BYTES + 1))
    assert connection.status == 431


async def test_bodies_and_earlier_requests_do_not_count_as_headers() -> None:
    connection = Connection(max_header_bytes=2000)
    post = b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\n\r\n"
    await connection.feed(post, *[b"a" * 1000] * 9)
    await connection.feed(*(request_with_header_size(1900) for _ in range(5)))
    assert connection.written.count(b"HTTP/1.1 200") == 6


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01", b"HELLO\r\n\r\n", b"GET /x HTTP/1.1\r\nno colon\r\n\r\n"]
)
async def test_bytes_that_are_no_http_get_the_error_envelope(nonsense: bytes) -> None:
    connection = Connection()
    await connection.feed(nonsense)
    assert (connection.status, connection.error["type"]) == (400, "invalid_request_error")
    assert connection.transport.closed


async def test_shutdown_calls_drain_and_the_response_still_ends() -> None:
    calls: list[str] = []

    async def app(connection: Connection) -> None:
        connection.protocol.shutdown()
        assert not connection.transport.closed
        await connection.start([])
        await connection.body(b"end")

    connection = Connection(app, drain=lambda: calls.append("drain"))
    await connection.feed(ASK)
    assert calls == ["drain"]
    assert connection.written.endswith(b"0\r\n\r\n")
    assert connection.transport.closed


async def test_shutdown_closes_an_idle_connection_at_once() -> None:
    connection = Connection()
    connection.protocol.shutdown()
    assert connection.transport.closed


async def test_uvicorn_has_the_internals_that_the_protocol_uses() -> None:
    internals: dict[str, Any] = {}

    async def app(connection: Connection) -> None:
        cycle = connection.protocol.cycle
        internals.update(
            cycle=cycle, before=cycle.chunked_encoding, scope=cycle.scope is connection.protocol.scope
        )
        await connection.start([])
        internals.update(after=cycle.chunked_encoding, same=cycle.transport is connection.protocol.transport)
        await connection.body(b"end")

    connection = Connection(app, max_header_bytes=4096, mark="state")
    await connection.feed(ASK)
    protocol, cycle = connection.protocol, internals["cycle"]
    assert type(cycle) is httptools_impl.RequestResponseCycle
    assert (internals["before"], internals["after"]) == (None, True), (
        "whether a body is chunked is known from its head"
    )
    assert cycle.disconnected is False
    assert internals["scope"], "the request being parsed and the one being answered are one"
    assert internals["same"], "the cycle writes to the transport that it was given"
    assert isinstance(protocol.flow, FlowControl)
    assert protocol.flow.write_paused is False
    assert (protocol.url, protocol.headers[0]) == (b"/x", (b"host", b"localhost"))
    assert protocol.app_state["mark"] == connection.scope["state"]["mark"] == "state"
    assert httptools_impl.STATUS_LINE[431].startswith(b"HTTP/1.1 431 ")
    hooks = {"data_received", "on_message_begin", "on_headers_complete", "connection_lost", "resume_writing"}
    for hook in hooks | {"shutdown", "send_400_response"}:
        assert hook in vars(httptools_impl.HttpToolsProtocol), f"uvicorn has no {hook} to build on"


class FakeDirectApp:
    """Answers `/direct` at once, and `/later` by an application."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def accepts(self, scope: Any) -> bool:
        return bool(scope["path"] != "/x")

    def begin(self, scope: Any, body: bytes, writer: ChunkWriter) -> Any:
        self.bodies.append(body)
        if scope["path"] == "/later":
            return self.answer
        writer.start(FakeChunkSource(), b"", b"first")
        writer.end(b"last")
        return None

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == self.bodies[-1]
        await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
        await send({"type": "http.response.body", "body": b"ok", "more_body": False})


def post(path: str, body: bytes = b"body", version: str = "1.1") -> bytes:
    head = f"POST {path} HTTP/{version}\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_whole_request_is_answered_in_the_callback_in_which_it_arrives() -> None:
    direct = FakeDirectApp()
    connection = Connection(direct_app=direct)
    connection.protocol.data_received(post("/direct") + post("/direct", b"") + post("/later"))
    assert connection.protocol.cycle is not None
    assert len(connection.transport.writes) >= 2
    await connection.feed(post("/x"))
    assert direct.bodies == [b"body", b"", b"body"]
    assert connection.written.count(b"HTTP/1.1 200 OK") == 4
    assert connection.written.count(b"5\r\nfirst\r\n") == 2


@pytest.mark.parametrize("cut", [10, -2])
async def test_request_in_pieces_goes_to_the_application(cut: int) -> None:
    direct = FakeDirectApp()
    connection, request = Connection(direct_app=direct), post("/direct")
    await connection.feed(request[:cut], request[cut:])
    expected = ([b"body"], b"last\r\n0\r\n\r\n") if cut > 0 else ([], b"ok")
    assert (direct.bodies, connection.written.endswith(expected[1])) == (expected[0], True)


async def test_old_client_is_answered_by_the_application() -> None:
    direct = FakeDirectApp()
    connection = Connection(direct_app=direct)
    await connection.feed(post("/direct", version="1.0"))
    assert (direct.bodies, connection.written.endswith(b"ok")) == ([], True)
