"""Sockets of a simulation on real servers: each error becomes one of three exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.simulate.plain_platform import PlainPlatform, make_script
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.connection import HandshakeRejected, SocketClosed
from voicegw.simulate.recording import Recording
from voicegw.simulate.websocket import MAX_FRAME_SIZE, open_socket

pytestmark = pytest.mark.wire

Serving = Callable[[ServerConnection], Awaitable[None]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def websocket_server(
    serve_client: Serving, status: int | None = None, **fields: str
) -> AsyncIterator[str]:
    """Give the URL of a websocket server; with a status, it rejects every handshake."""

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        if status is None:
            return None
        response = connection.respond(HTTPStatus(status), "No.\n")
        for name, value in fields.items():
            response.headers[name] = value
        return response

    async with serve(serve_client, "127.0.0.1", 0, process_request=answer) as server:
        [address] = [socket.getsockname() for socket in server.sockets]
        yield f"ws://127.0.0.1:{address[1]}"


@asynccontextmanager
async def tcp_server(serve_client: Raw) -> AsyncIterator[str]:
    """Give the URL of a server that is no websocket server."""
    open_now: set[asyncio.StreamWriter] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        await serve_client(reader, writer)

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in open_now:
            writer.close()


async def wait_for_close(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def run_call(address: str, *, connect: float = 5.0, turns: int = 1) -> Recording:
    script = make_script(*[{"say": "Hello?"}] * turns, patience={"connect": connect, "answer": 5})
    return await CallRunner(PlainPlatform(), script, address, open_socket).run()


async def test_call_runs_on_a_real_websocket() -> None:
    seen: list[object] = []

    async def serve_client(connection: ServerConnection) -> None:
        assert connection.request is not None
        headers = connection.request.headers
        seen.append((connection.request.path, headers["proof"], headers["user-agent"]))
        async for frame in connection:
            seen.append(frame)
            if isinstance(frame, str) and frame.startswith("ask"):
                await connection.send("say Hi.")
                await connection.send("done")

    async with websocket_server(serve_client) as address:
        recording = await run_call(address, turns=2)
    assert seen == [
        ("/call", f"right for {address}/call", "voicegw simulate"),
        *("hello", "ask Hello?", "ask Hello?", "bye"),
    ]
    assert (recording.failure, recording.gateway_close, [turn.text for turn in recording.turns]) == (
        "",
        None,
        ["Hi.", "Hi."],
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 503])
async def test_rejected_handshake_raises_with_its_status(status: int) -> None:
    async with websocket_server(wait_for_close, status) as address:
        with pytest.raises(HandshakeRejected) as caught:
            await open_socket(address, {})
    assert caught.value.status == status


async def test_redirects_are_not_followed() -> None:
    async with (
        websocket_server(wait_for_close) as elsewhere,
        websocket_server(wait_for_close, 302, Location=elsewhere) as address,
    ):
        with pytest.raises(HandshakeRejected) as caught:
            await open_socket(address, {})
    assert caught.value.status == 302


async def test_server_of_another_protocol_is_no_websocket() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with tcp_server(greet) as address:
        with pytest.raises(OSError, match="the server does not speak the websocket protocol"):
            await open_socket(address, {})


async def test_web_page_is_a_rejected_handshake() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()

    async with tcp_server(page) as address:
        with pytest.raises(HandshakeRejected) as caught:
            await open_socket(address, {})
    assert caught.value.status == 200


async def test_close_during_the_handshake_is_no_connection() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with tcp_server(rude) as address:
        recording = await run_call(address)
    assert recording.failure.startswith("no connection: ")
    assert recording.connected_at is None


async def test_unanswered_handshake_fails_after_the_connect_timeout() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp_server(mute) as address:
        recording = await run_call(address, connect=0.1)
    assert recording.failure == "no connection within 0.1 s"


async def test_unreachable_server_is_no_connection() -> None:
    async with tcp_server(lambda reader, writer: asyncio.sleep(0)) as address:
        pass
    recording = await run_call(address)
    assert recording.failure.startswith("no connection: ")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ws://",
        "http://127.0.0.1/",
        "ws://127.0.0.1:port/",
        "ws://127.0.0.1:99999/",
        "ws://[::1/",
        "ws://a b/",
    ],
)
async def test_invalid_url_is_no_connection(address: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        await open_socket(address, {})


async def test_closed_socket_raises_with_its_code() -> None:
    async def serve_client(connection: ServerConnection) -> None:
        await connection.close(4001, "no more")

    async with websocket_server(serve_client) as address:
        socket = await open_socket(address, {})
        with pytest.raises(SocketClosed) as caught:
            await socket.receive()
        assert caught.value.code == 4001
        with pytest.raises(SocketClosed) as caught:
            await socket.send("Hello?")
        assert caught.value.code == 4001
        await socket.close()


async def test_broken_connection_has_code_1006() -> None:
    async def serve_client(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with websocket_server(serve_client) as address:
        recording = await run_call(address)
    assert recording.failure == "the gateway closed the connection with code 1006"
    assert recording.gateway_close is not None
    assert recording.gateway_close[1] == 1006


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (b"\x81\x02\xff\xff", 1007, "frames of the gateway cannot be read: invalid start byte"),
        (b"\xf1\x01x", 1002, "frames of the gateway cannot be read: reserved bits must be 0"),
        (
            b"\x81\x7f" + (MAX_FRAME_SIZE + 1).to_bytes(8, "big"),
            1009,
            "frames of the gateway cannot be read: frame",
        ),
    ],
)
async def test_protocol_errors_close_the_socket_with_their_code(data: bytes, code: int, reason: str) -> None:
    async def serve_client(connection: ServerConnection) -> None:
        connection.transport.write(data)
        await connection.wait_closed()

    async with websocket_server(serve_client) as address:
        recording = await run_call(address)
    assert recording.failure.startswith(reason)
    assert recording.gateway_close is not None
    assert recording.gateway_close[1] == code


async def test_aborted_socket_sends_no_close_frame() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def serve_client(connection: ServerConnection) -> None:
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    async with websocket_server(serve_client) as address:
        socket = await open_socket(address, {})
        socket.abort()
        assert await codes.get() == 1006
        socket = await open_socket(address, {})
        await socket.close()
        assert await codes.get() == 1000
