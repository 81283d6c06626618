"""The websocket protocol of one connection, tested with the client of the websockets library."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets import websockets_sansio_impl
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.asgi.test_http_protocol import FakeTransport
from voicegw.asgi.send_timeout import SEND_TIMEOUT
from voicegw.asgi.websocket_protocol import (
    CLOSE_TIMEOUT,
    MAX_FRAGMENTS,
    MAX_FRAMES_PER_STEP,
    SLICE_BYTES,
    GatewayWebSocketProtocol,
)
from voicegw.calls.server import refuse_upgrade
from voicegw.errors import Forbidden

PATH = "/retell/s3cret/call_1?t=s3cret"
App = Callable[["Connection"], Awaitable[None]]


async def accept(connection: Connection) -> None:
    """Accept the connection and record its messages until it is closed."""
    await connection.receive()
    await connection.send({"type": "websocket.accept"})
    while (message := await connection.receive())["type"] != "websocket.disconnect":
        connection.messages.append(message)
    connection.close_code = message["code"]


class Connection:
    """Both ends of one connection: the protocol under test, and `client`, the platform's end."""

    def __init__(self, app: App = accept, **state: Any) -> None:
        self.app = app
        self.messages: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.read_writes = 0
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            ws_max_size=100,
            ws_per_message_deflate=False,
        )
        self.transport = FakeTransport()
        self.server = ServerState()
        self.protocol = GatewayWebSocketProtocol(config, self.server, state, _loop=asyncio.get_running_loop())
        self.protocol.connection_made(self.transport)
        self.transport.on_lost = self.on_lost
        self.client = ClientProtocol(parse_uri(f"ws://localhost{PATH}"))

    def on_lost(self, error: Exception | None = None) -> None:
        if self.protocol in self.server.connections:
            self.protocol.connection_lost(error)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.receive, self.send = receive, send
        await self.app(self)

    async def open_handshake(self) -> int:
        """Send the handshake and return the status of the response."""
        self.client.send_request(self.client.connect())
        return next(event.status_code for event in await self.exchange() if isinstance(event, Response))

    @property
    def received_close_code(self) -> int | None:
        """The close code that the server sent; None before."""
        return None if self.client.close_rcvd is None else self.client.close_rcvd.code

    async def exchange(self) -> list[Any]:
        """Send the client's data and return the events that the server caused since the last call."""
        for data in self.client.data_to_send():
            if data and not self.transport.closed:
                self.protocol.data_received(data)
        await asyncio.sleep(0.001)
        written = self.transport.writes[self.read_writes :]
        self.read_writes = len(self.transport.writes)
        for data in filter(None, written):
            self.client.receive_data(data)
        return self.client.events_received()


@asynccontextmanager
async def open_connection(app: App = accept, **state: Any) -> AsyncIterator[Connection]:
    connection = Connection(app, **state)
    assert await connection.open_handshake() == 101
    try:
        yield connection
    finally:
        connection.on_lost()
        await asyncio.sleep(0.1)
        assert (connection.server.connections, connection.server.tasks) == (set(), set())


async def test_frames_go_both_ways_without_compression() -> None:
    async with open_connection() as connection:
        assert connection.client.extensions == []
        connection.client.send_text(b"one")
        connection.client.send_binary(b"\0")
        await connection.exchange()
        assert [message.get("text", message.get("bytes")) for message in connection.messages] == [
            "one",
            b"\0",
        ]
        await connection.send({"type": "websocket.send", "text": "zwei"})
        [frame] = await connection.exchange()
        assert (frame.opcode, frame.data) == (Opcode.TEXT, b"zwei")


async def test_shutdown_calls_drain_and_the_call_goes_on() -> None:
    calls: list[str] = []
    async with open_connection(drain=lambda: calls.append("drain")) as connection:
        connection.protocol.shutdown()
        await connection.exchange()
        assert (calls, connection.transport.closed, connection.close_code) == (["drain"], False, None)
        await connection.send({"type": "websocket.send", "text": "still here"})
        await connection.send({"type": "websocket.close", "code": 1012})
        text, close = await connection.exchange()
        assert (text.data, close.opcode) == (b"still here", Opcode.CLOSE)
        await connection.exchange()
        assert (connection.received_close_code, connection.transport.closed) == (1012, True)


async def test_shutdown_without_drain_ends_calls_as_uvicorn_does() -> None:
    async with open_connection() as connection:
        connection.protocol.shutdown()
        assert connection.transport.closed
        await connection.exchange()
        assert connection.close_code == 1012


async def test_shutdown_refuses_a_pending_handshake() -> None:
    async def slow(connection: Connection) -> None:
        await connection.receive()
        await connection.receive()

    calls: list[str] = []
    connection = Connection(slow, drain=lambda: calls.append("drain"))
    connection.client.send_request(connection.client.connect())
    await connection.exchange()
    connection.protocol.shutdown()
    assert connection.transport.closed
    assert connection.transport.writes[-1].startswith(b"HTTP/1.1 500 ")
    connection.on_lost()
    await asyncio.sleep(0.1)
    assert (calls, connection.server.tasks) == ([], set())


async def test_shutdown_aborts_a_closing_call() -> None:
    calls: list[str] = []
    async with open_connection(drain=lambda: calls.append("drain")) as connection:
        await connection.send({"type": "websocket.close", "code": 1000})
        assert not connection.transport.closed
        connection.protocol.shutdown()
        assert (connection.transport.closed, calls) == (True, [])


async def test_a_platform_that_sends_no_close_frame_is_disconnected_after_the_close_timeout() -> None:
    async with open_connection() as connection:
        await connection.send({"type": "websocket.close", "code": 1012})
        await asyncio.sleep(60)
        assert connection.transport.closed_at == pytest.approx(CLOSE_TIMEOUT + 0.001)


async def test_a_platform_that_answers_no_ping_is_disconnected() -> None:
    async with open_connection() as connection:
        await asyncio.sleep(60)
        assert connection.transport.closed_at == 40.0
        assert connection.close_code == 1005


async def test_a_platform_that_answers_pings_stays_connected() -> None:
    async with open_connection() as connection:
        for _ in range(100):
            await asyncio.sleep(1)
            await connection.exchange()
        assert not connection.transport.closed


@pytest.mark.parametrize("reads", [False, True])
async def test_a_platform_that_reads_nothing_is_disconnected(reads: bool) -> None:
    async with open_connection() as connection:
        connection.protocol.ping_interval = None
        connection.protocol.stop_keepalive()
        connection.transport.unsent_bytes = 100_000
        connection.protocol.pause_writing()
        for _ in range(3):
            await asyncio.sleep(SEND_TIMEOUT - 1)
            connection.transport.unsent_bytes -= 1000 if reads else 0
        assert connection.transport.closed is not reads
        if reads:
            connection.protocol.resume_writing()
            await asyncio.sleep(2 * SEND_TIMEOUT)
            assert not connection.transport.closed


async def test_the_send_timeout_is_the_state_s_and_zero_means_none() -> None:
    for send_timeout, closed in ((2.0, True), (0, False)):
        async with open_connection(send_timeout=send_timeout) as connection:
            connection.protocol.pause_writing()
            await asyncio.sleep(3)
            assert connection.transport.closed is closed


async def test_a_refusal_has_a_status_and_an_error_body_and_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse_websocket(connection: Connection) -> None:
        await refuse_upgrade(Forbidden("Not you."), connection.send)

    connection = Connection(refuse_websocket)
    connection.client.send_request(connection.client.connect())
    [response] = await connection.exchange()
    assert (response.status_code, connection.transport.closed) == (403, True)
    assert json.loads(response.body)["error"]["message"] == "Not you."
    connection.on_lost()
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("more", "status"),
    [(b"x: %b\r\n" % (b"a" * 20_000), 431), (b"x: 1\r\n" * 200, 431), (b"content-length: 4\r\n", None)],
    ids=["long", "many", "body"],
)
async def test_a_connection_whose_head_is_no_handshake_is_closed(more: bytes, status: int | None) -> None:
    connection = Connection()
    connection.protocol.data_received(b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n" + more + b"\r\n")
    assert connection.transport.closed
    assert connection.transport.writes[0][:13] == (b"HTTP/1.1 %d " % status if status else b"")
    connection.on_lost()


async def test_invalid_frames_before_the_handshake_is_accepted_close_the_connection() -> None:
    async def slow(connection: Connection) -> None:
        await connection.receive()
        connection.close_code = (await connection.receive())["code"]

    connection = Connection(slow)
    connection.client.send_request(connection.client.connect())
    await connection.exchange()
    connection.protocol.data_received(b"\xff\xff\xff\xff")
    assert connection.transport.closed
    connection.on_lost()
    await asyncio.sleep(0.1)
    assert (connection.close_code, connection.server.tasks) == (1006, set())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Frame(Opcode.TEXT, b"a" * 101), 1009),
        (Frame(Opcode.TEXT, b"\xff"), 1007),
        (b"\xff\xff\xff\xff", 1002),
    ],
    ids=["large", "no text", "garbage"],
)
async def test_invalid_frames_close_the_call(data: Frame | bytes, code: int) -> None:
    async with open_connection() as connection:
        connection.protocol.data_received(data if isinstance(data, bytes) else data.serialize(mask=True))
        await connection.exchange()
        assert (connection.received_close_code, connection.transport.closed, connection.close_code) == (
            code,
            True,
            code,
        )


async def send_after_the_end(connection: Connection) -> None:
    """Accept the connection, and send frames when it is closed, as a call does that does not know it yet."""
    await accept(connection)
    for message in ({"type": "websocket.send", "text": "more"}, {"type": "websocket.close", "code": 1000}):
        with pytest.raises(ClientDisconnected):
            await connection.send(message)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", Frame(Opcode.TEXT, b"\xff").serialize(mask=True)])
async def test_rejected_frame_never_makes_a_traceback(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with open_connection(send_after_the_end) as connection:
        connection.protocol.data_received(data)
        await connection.exchange()
        await asyncio.sleep(0.1)
        assert connection.transport.closed
    assert caplog.messages == []


async def test_paths_and_frames_are_never_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(connection: Connection) -> None:
        raise ValueError("a mistake")

    async def refuse_websocket(connection: Connection) -> None:
        await refuse_upgrade(Forbidden("Not you."), connection.send)

    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "uvicorn.error")
    for app in (refuse_websocket, fail):
        connection = Connection(app)
        connection.client.send_request(connection.client.connect())
        await connection.exchange()
        connection.on_lost()
    async with open_connection() as connection:
        connection.client.send_text(b"private")
        await connection.exchange()
    ours = [record for record in caplog.records if not record.name.startswith("websockets")]
    written = "\n".join(logging.Formatter().format(record) for record in ours)
    assert "s3cret" not in written
    assert "private" not in written
    assert "a mistake" in written


async def test_a_call_that_the_server_cancels_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with open_connection() as connection:
        for task in connection.server.tasks:
            task.cancel()
        await connection.exchange()
        assert connection.transport.closed
    assert caplog.messages == []


def test_uvicorn_has_the_hooks_that_the_protocol_overrides() -> None:
    below = vars(websockets_sansio_impl.WebSocketsSansIOProtocol)
    ours = {name for name in vars(GatewayWebSocketProtocol) if not name.startswith("_")} - {"log"}
    assert ours <= below.keys(), "uvicorn lacks such a hook"


async def test_uvicorn_has_the_attributes_that_the_protocol_uses() -> None:
    async with open_connection(mark="state") as connection:
        protocol = connection.protocol
        assert protocol.app_state["mark"] == "state"
        assert (protocol.handshake_initiated, protocol.handshake_complete) == (True, True)
        assert (protocol.close_sent, protocol.initial_response) == (False, None)
        assert (protocol.conn.debug, protocol.conn.close_sent) == (False, None)
        assert protocol.logger.level == protocol.conn.logger.getEffectiveLevel() == logging.WARNING


async def test_a_client_that_does_not_read_gets_no_pongs() -> None:
    async with open_connection() as connection:
        connection.protocol.pause_writing()
        connection.client.send_ping(b"one")
        assert await connection.exchange() == []
        connection.protocol.resume_writing()
        connection.client.send_ping(b"two")
        assert [(event.opcode, event.data) for event in await connection.exchange()] == [
            (Opcode.PONG, b"two")
        ]


def frames(opcode: Opcode, data: bytes, count: int, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True) * count


async def count_steps(connection: Connection) -> int:
    """Wait until all bytes are parsed; return in how many turns of the loop. Nothing is read meanwhile."""
    steps = 0
    while connection.protocol.unparsed:
        assert not connection.transport.reading_enabled
        left = len(connection.protocol.unparsed)
        await asyncio.sleep(0)
        assert left - len(connection.protocol.unparsed) <= 6 * MAX_FRAMES_PER_STEP + SLICE_BYTES
        steps += 1
    return steps


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CONT])
async def test_tiny_frames_are_parsed_in_steps_between_other_connections(opcode: Opcode) -> None:
    async with open_connection() as connection:
        start = frames(Opcode.TEXT, b"a", 1, fin=False) if opcode is Opcode.CONT else b""
        flood = frames(opcode, b"", 4000, fin=opcode is not Opcode.CONT)
        connection.protocol.data_received(start + flood)
        assert await count_steps(connection) >= 4000 * 6 // (6 * MAX_FRAMES_PER_STEP + SLICE_BYTES)
        assert (connection.transport.reading_enabled, connection.transport.closed) == (True, False)
        end = frames(Opcode.CONT if start else Opcode.TEXT, b"b", 1)
        connection.protocol.data_received(end)
        await connection.exchange()
        assert [message["text"] for message in connection.messages] == ["ab" if start else "b"]


async def test_messages_wait_as_bytes_until_the_application_takes_them() -> None:
    async def slow(connection: Connection) -> None:
        await connection.receive()
        await connection.send({"type": "websocket.accept"})
        while (message := await connection.receive())["type"] != "websocket.disconnect":
            connection.messages.append(message)
            queued.append(connection.protocol.queue.qsize())
            await asyncio.sleep(0.01)
        connection.close_code = message["code"]

    queued: list[int] = []
    async with open_connection(slow) as connection:
        flood = frames(Opcode.TEXT, b"{}", 1000) + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)
        connection.protocol.data_received(flood)
        assert not connection.transport.reading_enabled
        await asyncio.sleep(60)
        assert (len(connection.messages), connection.close_code) == (1000, 1000)
        assert max(queued) <= SLICE_BYTES // 8


@pytest.mark.parametrize("piece", [1, 5, 1000])
async def test_a_message_may_come_in_pieces(piece: int) -> None:
    async with open_connection() as connection:
        data = frames(Opcode.TEXT, b"a" * 90, 3) + frames(Opcode.PING, b"", 1)
        for at in range(0, len(data), piece):
            connection.protocol.data_received(data[at : at + piece])
        await connection.exchange()
        assert [message["text"] for message in connection.messages] == ["a" * 90] * 3


async def test_the_number_of_fragments_is_limited() -> None:
    async with open_connection() as connection:
        flood = frames(Opcode.CONT, b"", MAX_FRAGMENTS + 500, fin=False)
        connection.protocol.data_received(frames(Opcode.TEXT, b"a", 1, fin=False) + flood)
        for _ in range(2 * MAX_FRAGMENTS // MAX_FRAMES_PER_STEP):
            await asyncio.sleep(0)
        await connection.exchange()
        assert (connection.received_close_code, connection.transport.closed) == (1009, True)


async def test_frames_before_the_answer_to_a_close_frame_are_dropped() -> None:
    async def close_soon(connection: Connection) -> None:
        await connection.receive()
        await connection.send({"type": "websocket.accept"})
        connection.messages.append(await connection.receive())
        await connection.send({"type": "websocket.close", "code": 1000})
        while (message := await connection.receive())["type"] != "websocket.disconnect":
            pass
        connection.close_code = message["code"]

    async with open_connection(close_soon) as connection:
        flood = frames(Opcode.TEXT, b"{}", 1000) + frames(Opcode.PING, b"", 1000)
        connection.protocol.data_received(flood)
        await connection.exchange()
        await connection.exchange()
        await asyncio.sleep(CLOSE_TIMEOUT / 2)
        assert (len(connection.messages), connection.close_code) == (1, 1000)
        assert connection.transport.closed_at < CLOSE_TIMEOUT / 2, "the client's close frame was parsed"


async def test_a_lost_connection_parses_no_more() -> None:
    async with open_connection() as connection:
        connection.protocol.data_received(frames(Opcode.PING, b"", 4000))
        connection.on_lost()
        unparsed = len(connection.protocol.unparsed)
        await asyncio.sleep(0.1)
        assert len(connection.protocol.unparsed) == unparsed > 0
