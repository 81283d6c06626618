"""Real websockets: whatever a server does, a rehearsal reads it as one of a few things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.simulate.plain import Plain, script
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.connection import SocketClosed, HandshakeRejected
from voicegw.simulate.recording import Recording
from voicegw.simulate.websocket import MAX_FRAME_SIZE, open_socket

pytestmark = pytest.mark.wire

Serving = Callable[[ServerConnection], Awaitable[None]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serving: Serving, status: int | None = None, **fields: str) -> AsyncIterator[str]:
    """The address of a websocket server; with a status, of one that refuses."""

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        if status is None:
            return None
        response = connection.respond(HTTPStatus(status), "No.\n")
        for name, value in fields.items():
            response.headers[name] = value
        return response

    async with serve(serving, "127.0.0.1", 0, process_request=answer) as server:
        [address] = [socket.getsockname() for socket in server.sockets]
        yield f"ws://127.0.0.1:{address[1]}"


@asynccontextmanager
async def plugged(serving: Raw) -> AsyncIterator[str]:
    """The address of something that is no websocket server."""
    open_now: set[asyncio.StreamWriter] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        await serving(reader, writer)

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in open_now:
            writer.close()


async def idle(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def play(address: str, *, connect: float = 5.0, turns: int = 1) -> Recording:
    told = script(*[{"say": "Hello?"}] * turns, patience={"connect": connect, "answer": 5})
    return await CallRunner(Plain(), told, address, open_socket).run()


async def test_a_call_is_played_on_a_real_websocket() -> None:
    seen: list[object] = []

    async def serving(connection: ServerConnection) -> None:
        assert connection.request is not None
        headers = connection.request.headers
        seen.append((connection.request.path, headers["proof"], headers["user-agent"]))
        async for frame in connection:
            seen.append(frame)
            if isinstance(frame, str) and frame.startswith("ask"):
                await connection.send("say Hi.")
                await connection.send("done")

    async with served(serving) as address:
        tape = await play(address, turns=2)
    assert seen == [
        ("/call", f"right for {address}/call", "voicegw simulate"),
        *("hello", "ask Hello?", "ask Hello?", "bye"),
    ]
    assert (tape.failure, tape.gateway_close, [turn.text for turn in tape.turns]) == ("", None, ["Hi.", "Hi."])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 503])
async def test_a_refusal_is_one_with_its_status(status: int) -> None:
    async with served(idle, status) as address:
        with pytest.raises(HandshakeRejected) as caught:
            await open_socket(address, {})
    assert caught.value.status == status


async def test_no_redirect_is_followed() -> None:
    async with (
        served(idle) as elsewhere,
        served(idle, 302, Location=elsewhere) as address,
    ):
        with pytest.raises(HandshakeRejected) as caught:
            await open_socket(address, {})
    assert caught.value.status == 302


async def test_a_server_that_speaks_something_else_is_no_websocket() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with plugged(greet) as address:
        with pytest.raises(OSError, match="this is no websocket"):
            await open_socket(address, {})


async def test_an_ordinary_web_page_is_a_refusal() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()

    async with plugged(page) as address:
        with pytest.raises(HandshakeRejected) as caught:
            await open_socket(address, {})
    assert caught.value.status == 200


async def test_a_server_that_hangs_up_during_the_handshake_is_no_websocket() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with plugged(rude) as address:
        tape = await play(address)
    assert tape.failure.startswith("no connection: ")
    assert tape.connected_at is None


async def test_a_handshake_that_nobody_answers_ends_with_patience() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with plugged(mute) as address:
        tape = await play(address, connect=0.1)
    assert tape.failure == "no connection within 0.1 s"


async def test_nobody_there_is_no_connection() -> None:
    async with plugged(lambda reader, writer: asyncio.sleep(0)) as address:
        pass
    tape = await play(address)
    assert tape.failure.startswith("no connection: ")


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
async def test_an_address_that_makes_no_sense_is_no_connection(address: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        await open_socket(address, {})


async def test_a_server_that_closes_is_gone_with_its_code() -> None:
    async def serving(connection: ServerConnection) -> None:
        await connection.close(4001, "no more")

    async with served(serving) as address:
        socket = await open_socket(address, {})
        with pytest.raises(SocketClosed) as caught:
            await socket.receive()
        assert caught.value.code == 4001
        with pytest.raises(SocketClosed) as caught:
            await socket.send("Hello?")
        assert caught.value.code == 4001
        await socket.close()


async def test_a_connection_that_breaks_is_gone_with_1006() -> None:
    async def serving(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with served(serving) as address:
        tape = await play(address)
    assert tape.failure == "the gateway closed the connection with code 1006"
    assert tape.gateway_close is not None
    assert tape.gateway_close[1] == 1006


@pytest.mark.parametrize(
    ("data", "code", "why"),
    [
        (b"\x81\x02\xff\xff", 1007, "what the gateway sends cannot be read: invalid start byte"),
        (b"\xf1\x01x", 1002, "what the gateway sends cannot be read: reserved bits must be 0"),
        (
            b"\x81\x7f" + (MAX_FRAME_SIZE + 1).to_bytes(8, "big"),
            1009,
            "what the gateway sends cannot be read: frame",
        ),
    ],
)
async def test_what_is_against_the_rules_of_websockets_is_said_so(data: bytes, code: int, why: str) -> None:
    async def serving(connection: ServerConnection) -> None:
        connection.transport.write(data)
        await connection.wait_closed()

    async with served(serving) as address:
        tape = await play(address)
    assert tape.failure.startswith(why)
    assert tape.gateway_close is not None
    assert tape.gateway_close[1] == code


async def test_a_lost_connection_is_lost_without_a_farewell() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def serving(connection: ServerConnection) -> None:
        await connection.wait_closed()
        codes.put_nowait(connection.close_code)

    async with served(serving) as address:
        socket = await open_socket(address, {})
        socket.abort()
        assert await codes.get() == 1006
        socket = await open_socket(address, {})
        await socket.close()
        assert await codes.get() == 1000
