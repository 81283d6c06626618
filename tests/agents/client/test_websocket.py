"""The websocket client against real servers and against broken ones."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.agents.client import test_http
from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, http_response, wait_until
from voicegw.agents.client import frame_queue
from voicegw.agents.client import websocket as module
from voicegw.agents.client.http import USER_AGENT
from voicegw.agents.client.websocket import MAX_MESSAGE_BYTES, AgentWebSocket, WebSocketClosed, open_websocket
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)

pytestmark = pytest.mark.wire

KEY = "k3y-of-the-house"
certificate = test_http.certificate
Play = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def run_server(play: Play, **more: Any) -> AsyncIterator[str]:
    """Run a server that calls `play` for every socket; gives its URL."""

    async def quietly(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await play(connection)

    async with serve(quietly, "127.0.0.1", 0, compression=None, max_size=None, **more) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"


@asynccontextmanager
async def connected(play: Play, **more: Any) -> AsyncIterator[AgentWebSocket]:
    """Give a websocket to a server that calls `play`."""
    async with run_server(play) as url:
        websocket = await open_websocket(url, {}, **more)
        try:
            yield websocket
        finally:
            websocket.abort()
            await websocket.connection.wait_closed()


def sends(*frames: str | bytes) -> Play:
    async def play(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)

    return play


def closes(code: int, reason: str = "") -> Play:
    async def play(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    return play


async def wait_closed(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def handshake_error(
    *reply: Piece | Action, headers: dict[str, str] | None = None, **more: Any
) -> AgentError:
    """Return the error of a handshake that gets this reply, without the URL in front."""
    async with Upstream(reply) as upstream:
        url = f"{upstream.url.replace('http', 'ws')}/ws?token={KEY}"
        with pytest.raises(AgentError) as raised:
            await open_websocket(url, headers or {}, **more)
        await wait_until(
            lambda: upstream.ended_connections == upstream.connections == 1
        )  # the client closed it
        where = url.partition("?")[0]
        assert raised.value.summary.startswith(where)
        raised.value.summary = raised.value.summary.removeprefix(where)
        return raised.value


# Opening


async def test_compressed_refusal_becomes_an_error_without_quote() -> None:
    error = await handshake_error(
        http_response(b"\x1f\x8b\x00", "content-encoding: gzip", status="503 Later")
    )
    assert (type(error), error.quote) == (AgentBusy, "")


async def test_handshake_sends_headers_and_subprotocols() -> None:
    async def play(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        asked = {
            name: request.headers.get(name) for name in ("x-key", "user-agent", "sec-websocket-extensions")
        }
        await connection.send(orjson.dumps({**asked, "path": request.path}))
        await connection.wait_closed()

    async with run_server(play, subprotocols=["b.v2"]) as url:
        websocket = await open_websocket(f"{url}?since=0", {"X-Key": KEY}, subprotocols=("a.v1", "b.v2"))
        assert websocket.connection.subprotocol == "b.v2"
        assert (websocket.url, websocket.is_open) == (url, True)
        assert await websocket.receive() == {
            "x-key": KEY,
            "user-agent": USER_AGENT,
            "sec-websocket-extensions": None,
            "path": "/ws?since=0",
        }
        await websocket.close()
        assert not websocket.is_open


async def test_server_may_choose_no_subprotocol() -> None:
    async with connected(wait_closed, subprotocols=("a.v1",)) as websocket:
        assert websocket.connection.subprotocol is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("200 OK", AgentProtocolError),
        ("400 Bad Request", AgentProtocolError),
        ("401 Unauthorized", AgentRejected),
        ("403 Forbidden", AgentRejected),
        ("404 Not Found", AgentRejected),
        ("408 Slow", AgentTimeout),
        ("426 Upgrade Required", AgentProtocolError),
        ("429 Too Many", AgentBusy),
        ("500 Oops", AgentUnavailable),
        ("503 Later", AgentBusy),
    ],
)
async def test_refused_handshake_raises_an_error_with_the_words_of_the_server(
    status: str, kind: type[AgentError]
) -> None:
    error = await handshake_error(http_response(b'{"error": {"message": "because"}}', status=status))
    assert (type(error), error.summary, error.quote) == (kind, f" answered {status[:3]}", "because")


@pytest.mark.parametrize(
    ("reply", "quote"),
    [
        ((http_response(b"", status="403 No"),), ""),
        ((http_response(b"<h1>No</h1>", status="403 No"),), "<h1>No</h1>"),
        ((chunked_head(status="403 No"), chunk(b"n"), chunk(b"o"), chunk(b"")), "no"),
        ((b"HTTP/1.1 403 No\r\n\r\nno", Action.CLOSE), "no"),
        ((http_response(b"[" * 1020 + b"]" * 1020, status="403 No"),), ""),
        ((http_response(b"x" * 100_000, status="403 No"),), "x" * 300),
    ],
)
async def test_refusal_may_have_any_body(reply: tuple[bytes | Action, ...], quote: str) -> None:
    error = await handshake_error(*reply)
    assert (type(error), error.quote) == (AgentRejected, quote)


@pytest.mark.parametrize("hidden", [{"secrets": [KEY]}, {"headers": {"authorization": f"Bearer {KEY}"}}])
@pytest.mark.parametrize("said", [f"no key {KEY}", f"{'x' * 290}{KEY}"], ids=["whole", "cut"])
async def test_secrets_are_redacted(hidden: dict[str, Any], said: str) -> None:
    error = await handshake_error(http_response(said.encode(), status="401 No"), **hidden)
    assert KEY[:6] not in str(error)
    assert str(error).endswith("***")


async def test_redirect_is_not_followed() -> None:
    async with Upstream() as other:
        moved = http_response(b"", f"location: {other.url}/?k={KEY}", status="302 Found")
        error = await handshake_error(moved, headers={"x-key": KEY})
        assert type(error) is AgentUnavailable
        assert error.summary == " redirects: configure the final address"
        assert error.quote == f"{other.url}/?k=***"
        assert other.connections == 0
    nowhere = await handshake_error(http_response(b"", status="304 Not Modified"))
    assert (nowhere.summary, nowhere.quote) == (" redirects: configure the final address", "")


SWITCH = b"HTTP/1.1 101 Go\r\nupgrade: websocket\r\nconnection: upgrade\r\n"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((b"SSH-2.0-OpenSSH_9\r\n", Action.HANG), "did not receive a valid HTTP response"),
        ((Action.CLOSE,), "did not receive a valid HTTP response"),
        ((Action.RESET,), ""),
        ((b"HTTP/1.1 101 Go\r\nx: " + b"y" * 70_000, Action.HANG), "did not receive a valid HTTP response"),
        (
            (SWITCH + b"sec-websocket-accept: x\r\n\r\n", Action.HANG),
            "invalid Sec-WebSocket-Accept header: x",
        ),
        ((b"HTTP/1.1 101 Go\r\n\r\n", Action.HANG), "missing Connection header"),
    ],
)
async def test_server_without_websockets_raises_unavailable(
    reply: tuple[bytes | Action, ...], words: str
) -> None:
    error = await handshake_error(*reply)
    assert (type(error), error.summary) == (AgentUnavailable, ": no websocket")
    assert words in error.quote


@pytest.mark.parametrize("reply", [(Action.HANG,), (b"HTTP/1.1 101 Go\r\n", Action.HANG)])
async def test_slow_handshake_raises_unavailable(reply: tuple[bytes | Action, ...]) -> None:
    error = await handshake_error(*reply, connect_timeout=0.05)
    assert (type(error), error.quote) == (AgentUnavailable, "timed out during opening handshake")


async def test_subprotocol_that_was_not_offered_raises_unavailable() -> None:
    def other(connection: ServerConnection, offered: Any) -> Any:
        return "other.v1"

    async with run_server(wait_closed, subprotocols=["other.v1"], select_subprotocol=other) as url:
        with pytest.raises(AgentUnavailable, match=r"/ws: no websocket: unsupported subprotocol: other\.v1$"):
            await open_websocket(url, {}, subprotocols=["a.v1"])
        with pytest.raises(AgentUnavailable, match=r"/ws: no websocket: no subprotocols supported$"):
            await open_websocket(url, {})


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("ws://127.0.0.1:1/", {"subprotocols": [f"bearer {KEY}"]}),
        (f"ws://{KEY}..example/", {}),
        (f"ws://{KEY}{'x' * 64}/", {}),
        ("ws://127.0.0.1:99999/", {}),
        (f"http://127.0.0.1/?token={KEY}", {}),
    ],
)
async def test_wrong_url_raises_unavailable_without_secrets(url: str, more: dict[str, Any]) -> None:
    with pytest.raises(AgentUnavailable, match="no websocket") as raised:
        await open_websocket(url, {}, secrets=[KEY], **more)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("value", ["a\r\nb: c", "€"])
async def test_header_that_cannot_be_encoded_is_not_sent(value: str) -> None:
    async with Upstream() as upstream:
        with pytest.raises(AgentUnavailable):
            await open_websocket(upstream.url.replace("http", "ws"), {"x": value})
        await wait_until(lambda: upstream.ended_connections == upstream.connections == 1)
        assert upstream.requests == []


async def test_refused_connection_raises_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AgentUnavailable, match=f"^ws://127.0.0.1:{port}/ws: no websocket: .*{port}"):
        await open_websocket(f"ws://127.0.0.1:{port}/ws", {})


async def test_tls_needs_a_trusted_certificate(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    async with run_server(sends("{}"), ssl=serving) as url:
        url = url.replace("ws:", "wss:")
        websocket = await open_websocket(url, {}, ssl=ssl.create_default_context(cafile=certificate))
        assert await websocket.receive() == {}
        await websocket.close()
        with pytest.raises(AgentUnavailable, match=r"(?i)/ws: no websocket: .*certificate verify failed"):
            await open_websocket(url, {})


async def test_cancelled_handshake_leaves_nothing_open() -> None:
    async with Upstream((Action.HANG,)) as upstream:
        opening = asyncio.create_task(open_websocket(upstream.url.replace("http", "ws"), {}))
        await wait_until(lambda: upstream.requests)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await asyncio.wait_for(upstream.disconnected.wait(), 2)


# Frames


async def test_objects_are_sent_and_received() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for frame in connection:
            assert type(frame) is str
            await connection.send(frame)
            await connection.send(frame.encode())
            await connection.send(iter([frame[:1], frame[1:]]))

    async with connected(echo) as websocket:
        await websocket.send({"a": "ä\ud800"})
        assert [await websocket.receive() for _ in range(3)] == [{"a": "ä\N{REPLACEMENT CHARACTER}"}] * 3


async def test_connection_that_breaks_while_a_frame_is_sent_is_a_protocol_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The agent may have got the frame, so no other agent may get the same turn."""

    async def fail() -> None:
        raise ConnectionResetError

    async with connected(ServerConnection.wait_closed) as websocket:
        monkeypatch.setattr(websocket.connection, "drain", fail)
        with pytest.raises(AgentProtocolError, match="closed the connection with code 1006"):
            await websocket.send({"a": 1})
        with pytest.raises(WebSocketClosed):
            await websocket.send({"a": 1})


@pytest.mark.parametrize("frame", ["", "no", "[]", "1", "null", '{"a": ', b"\xff\xfe", "[" * 5000])
async def test_frame_that_is_no_object_raises_and_the_next_one_is_received(frame: str | bytes) -> None:
    async with connected(sends(frame, "{}")) as websocket:
        with pytest.raises(AgentProtocolError, match=r"/ws sent a frame that is no JSON object$"):
            await websocket.receive()
        assert await websocket.receive() == {}


async def test_too_large_frame_raises_a_protocol_error() -> None:
    large = orjson.dumps({"a": "x" * (MAX_MESSAGE_BYTES - 8)})
    assert len(large) == MAX_MESSAGE_BYTES
    async with connected(sends(large, large + b" ")) as websocket:
        assert len((await websocket.receive())["a"]) == MAX_MESSAGE_BYTES - 8
        with pytest.raises(
            AgentProtocolError, match=r"/ws broke the protocol of websockets: .*16777217 bytes"
        ):
            await websocket.receive()
        assert not websocket.is_open


async def connect_raw(*pieces: Piece | Action) -> tuple[asyncio.Server, AgentWebSocket]:
    """Return a websocket to a server that sends these bytes after the handshake and does not disconnect."""

    async def serve_raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(
            line[19:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")
        )
        made = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        writer.write(SWITCH + b"sec-websocket-accept: " + base64.b64encode(made) + b"\r\n\r\n")
        for piece in pieces:
            if isinstance(piece, bytes):
                writer.write(piece)
            elif piece is Action.RESET:
                writer.transport.abort()
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve_raw, "127.0.0.1", 0)
    return server, await open_websocket(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws", {})


@pytest.mark.parametrize(
    ("frame", "kind", "words"),
    [
        (b"\x83\x00", AgentProtocolError, "broke the protocol of websockets: invalid opcode"),
        (b"\x81\x80aaaa", AgentProtocolError, "broke the protocol of websockets: incorrect masking"),
        (b"\x88\x02\x03\xe9", WebSocketClosed, "closed the connection with code 1001"),
        (b"\x88\x00", WebSocketClosed, "closed the connection with code 1005"),
        (Action.RESET, WebSocketClosed, "closed the connection with code 1006"),
    ],
)
async def test_server_that_closes_without_disconnecting_is_disconnected(
    frame: bytes | Action, kind: type[AgentError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)
    server, websocket = await connect_raw(frame)
    async with asyncio.timeout(2):
        with pytest.raises(kind, match=words):
            await websocket.receive()
    assert not websocket.is_open
    server.close()


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "oops"), (4001, "session\nover")])
async def test_closed_socket_raises_with_the_close_code(code: int, reason: str) -> None:
    async with connected(closes(code, reason)) as websocket:
        for step in (websocket.receive(), websocket.receive(), websocket.send({})):
            with pytest.raises(WebSocketClosed) as raised:
                await step
            assert (raised.value.close_code, raised.value.quote) == (code, reason)
            assert raised.value.summary == f"{websocket.url} closed the connection with code {code}"
        assert not websocket.is_open


async def test_frames_before_the_close_are_received_first() -> None:
    async def play(connection: ServerConnection) -> None:
        await connection.send('{"a": 1}')
        await connection.close(4000)

    async with connected(play) as websocket:
        await wait_until(lambda: not websocket.is_open)
        assert await websocket.receive() == {"a": 1}
        with pytest.raises(WebSocketClosed, match="4000"):
            await websocket.receive()


async def test_broken_connection_raises_abnormal_closure() -> None:
    async def play(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    async with connected(play) as websocket:
        await websocket.send({})
        with pytest.raises(WebSocketClosed, match=r"code 1006$") as raised:
            await websocket.receive()
        assert raised.value.close_code == 1006


@pytest.mark.parametrize("said", [f"no key {KEY}", f"{'x' * 110}{KEY[:13]}"], ids=["whole", "cut"])
async def test_secrets_in_a_close_reason_are_redacted(said: str) -> None:
    async with connected(closes(4003, said), secrets=["", KEY]) as websocket:
        with pytest.raises(WebSocketClosed, match=r"\*\*\*$") as raised:
            await websocket.receive()
        assert KEY[:6] not in str(raised.value)


async def test_cancelled_receive_loses_no_frame() -> None:
    async def play(connection: ServerConnection) -> None:
        await connection.send(await connection.recv())
        await connection.wait_closed()

    async with connected(play) as websocket:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await websocket.receive()
        await websocket.send({"a": 1})
        assert await websocket.receive() == {"a": 1}


async def test_slow_reader_stops_the_server_from_sending() -> None:
    sent = 0
    frame = orjson.dumps({"x": "y" * 4000})

    async def play(connection: ServerConnection) -> None:
        nonlocal sent
        for _ in range(10_000):
            await connection.send(frame)
            sent += 1
        await connection.wait_closed()

    async with connected(play) as websocket:
        before = -1
        while sent > before:
            before = sent
            await asyncio.sleep(0.2)
        assert frame_queue.MAX_QUEUED_FRAMES < sent < 10_000
        for _ in range(10_000):
            await websocket.receive()
        assert sent == 10_000


async def test_slow_reader_stops_a_server_that_sends_large_frames() -> None:
    sent = 0
    frame = orjson.dumps({"x": "y" * 1024**2})

    async def play(connection: ServerConnection) -> None:
        nonlocal sent
        for _ in range(100):
            await connection.send(frame)
            sent += 1
        await connection.wait_closed()

    async with connected(play) as websocket:
        before = -1
        while sent > before:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 100
        assert len(websocket.connection.recv_messages.frames.queue) * len(
            frame
        ) < frame_queue.MAX_QUEUED_BYTES + 2 * len(frame)
        for _ in range(100):
            await websocket.receive()
        assert sent == 100


async def test_fragmented_message_larger_than_the_queue_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_queue, "MAX_QUEUED_BYTES", 1000)
    go_on = asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        yield '{"x": "'
        for _ in range(20):
            yield "y" * 500
        await go_on.wait()
        yield '"}'

    async def play(connection: ServerConnection) -> None:
        await connection.send(pieces())
        await connection.send("{}")
        await connection.wait_closed()

    async with connected(play) as websocket:
        with pytest.raises(TimeoutError):  # its fragments wait for the next reader
            async with asyncio.timeout(0.05):
                await websocket.receive()
        go_on.set()
        assert await websocket.receive() == {"x": "y" * 10_000}
        assert await websocket.receive() == {}


# Closing


async def test_close_sends_a_close_frame_and_may_be_repeated() -> None:
    heard: list[int | None] = []

    async def play(connection: ServerConnection) -> None:
        await connection.wait_closed()
        heard.append(connection.close_code)

    async with connected(play) as websocket:
        await websocket.close()
        await websocket.close()
        assert not websocket.is_open
        await wait_until(lambda: heard)
        assert heard == [1000]
        with pytest.raises(WebSocketClosed, match=r"code 1000$"):
            await websocket.receive()


async def test_server_that_does_not_answer_the_close_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)
    server, websocket = await connect_raw()
    async with asyncio.timeout(2):
        await websocket.close()
        await websocket.connection.wait_closed()
    server.close()


async def test_server_that_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)
    over = asyncio.Event()

    async def play(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await over.wait()
        connection.transport.abort()

    async with connected(play) as websocket:
        try:
            sending = asyncio.create_task(websocket.send({"x": "y" * (MAX_MESSAGE_BYTES - 100)}))
            await asyncio.sleep(0.1)
            assert not sending.done()
            async with asyncio.timeout(2):
                await websocket.close()
                await sending
                with pytest.raises(WebSocketClosed, match="1006"):
                    await websocket.receive()
        finally:
            over.set()


async def test_cancelled_close_leaves_nothing_open() -> None:
    server, websocket = await connect_raw()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await websocket.close()
    async with asyncio.timeout(0.5):
        await websocket.connection.wait_closed()
    server.close()


async def test_abort_disconnects_at_once() -> None:
    async with connected(wait_closed) as websocket:
        receiving = asyncio.create_task(websocket.receive())
        await asyncio.sleep(0)
        websocket.abort()
        with pytest.raises(WebSocketClosed, match=r"code 1006$"):
            await receiving
