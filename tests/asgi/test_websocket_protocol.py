"""The websocket protocol of one connection, fed by a client of another make; what leaves is kept."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.websockets import websockets_sansio_impl
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.asgi.test_http_protocol import Socket
from voicegw.asgi.http_protocol import SEND_SECONDS
from voicegw.asgi.websocket_protocol import CLOSE_SECONDS, GatewayWebSocketProtocol
from voicegw.calls.server import refuse
from voicegw.errors import Forbidden

PATH = "/retell/s3cret/call_1?t=s3cret"
Talk = Callable[["Line"], Awaitable[None]]


async def listen(line: Line) -> None:
    """Open, and note what comes until it is over."""
    await line.receive()
    await line.send({"type": "websocket.accept"})
    while (message := await line.receive())["type"] != "websocket.disconnect":
        line.taken.append(message)
    line.over = message["code"]


class Line:
    """One connection, both ends: `client` is the other one's protocol."""

    def __init__(self, talk: Talk = listen, **state: Any) -> None:
        self.talk = talk
        self.taken: list[dict[str, Any]] = []
        self.over: int | None = None
        self.left = 0
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            ws_max_size=100,
            ws_per_message_deflate=False,
        )
        self.socket = Socket()
        self.server = ServerState()
        self.protocol = GatewayWebSocketProtocol(config, self.server, state, _loop=asyncio.get_running_loop())
        self.protocol.connection_made(self.socket)
        self.socket.lost = self.lost
        self.client = ClientProtocol(parse_uri(f"ws://localhost{PATH}"))

    def lost(self, error: Exception | None = None) -> None:
        if self.protocol in self.server.connections:
            self.protocol.connection_lost(error)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.receive, self.send = receive, send
        await self.talk(self)

    async def dial(self) -> int:
        """Shake hands; the status that came."""
        self.client.send_request(self.client.connect())
        return next(event.status_code for event in await self.heard() if isinstance(event, Response))

    @property
    def received(self) -> int | None:
        """The code with which the server closed."""
        return None if self.client.close_rcvd is None else self.client.close_rcvd.code

    async def heard(self) -> list[Any]:
        """Send what the client has to send; what it heard since."""
        for data in self.client.data_to_send():
            if data and not self.socket.closed:
                self.protocol.data_received(data)
        await asyncio.sleep(0.001)
        written = self.socket.writes[self.left :]
        self.left = len(self.socket.writes)
        for data in filter(None, written):
            self.client.receive_data(data)
        return self.client.events_received()


@asynccontextmanager
async def open_line(talk: Talk = listen, **state: Any) -> AsyncIterator[Line]:
    line = Line(talk, **state)
    assert await line.dial() == 101
    try:
        yield line
    finally:
        line.lost()
        await asyncio.sleep(0.1)
        assert (line.server.connections, line.server.tasks) == (set(), set())


async def test_frames_go_both_ways_without_compression() -> None:
    async with open_line() as line:
        assert line.client.extensions == []
        line.client.send_text(b"one")
        line.client.send_binary(b"\0")
        await line.heard()
        assert [message.get("text", message.get("bytes")) for message in line.taken] == ["one", b"\0"]
        await line.send({"type": "websocket.send", "text": "zwei"})
        [frame] = await line.heard()
        assert (frame.opcode, frame.data) == (Opcode.TEXT, b"zwei")


async def test_at_shutdown_the_gateway_is_told_and_the_call_goes_on() -> None:
    told: list[str] = []
    async with open_line(drain=lambda: told.append("drain")) as line:
        line.protocol.shutdown()
        await line.heard()
        assert (told, line.socket.closed, line.over) == (["drain"], False, None)
        await line.send({"type": "websocket.send", "text": "still here"})
        await line.send({"type": "websocket.close", "code": 1012})
        text, close = await line.heard()
        assert (text.data, close.opcode) == (b"still here", Opcode.CLOSE)
        await line.heard()
        assert (line.received, line.socket.closed) == (1012, True)


async def test_without_anybody_to_be_told_calls_end_as_uvicorn_ends_them() -> None:
    async with open_line() as line:
        line.protocol.shutdown()
        assert line.socket.closed
        await line.heard()
        assert line.over == 1012


async def test_at_shutdown_a_handshake_that_waits_is_refused() -> None:
    async def slow(line: Line) -> None:
        await line.receive()
        await line.receive()

    told: list[str] = []
    line = Line(slow, drain=lambda: told.append("drain"))
    line.client.send_request(line.client.connect())
    await line.heard()
    line.protocol.shutdown()
    assert line.socket.closed
    assert line.socket.writes[-1].startswith(b"HTTP/1.1 500 ")
    line.lost()
    await asyncio.sleep(0.1)
    assert (told, line.server.tasks) == ([], set())


async def test_at_shutdown_a_call_that_is_being_closed_is_not_waited_for() -> None:
    told: list[str] = []
    async with open_line(drain=lambda: told.append("drain")) as line:
        await line.send({"type": "websocket.close", "code": 1000})
        assert not line.socket.closed
        line.protocol.shutdown()
        assert (line.socket.closed, told) == (True, [])


async def test_a_platform_that_does_not_say_goodbye_is_not_waited_for_long() -> None:
    async with open_line() as line:
        await line.send({"type": "websocket.close", "code": 1012})
        await asyncio.sleep(60)
        assert line.socket.ended == pytest.approx(CLOSE_SECONDS + 0.001)


async def test_a_platform_that_answers_no_ping_is_gone() -> None:
    async with open_line() as line:
        await asyncio.sleep(60)
        assert line.socket.ended == 40.0
        assert line.over == 1005


async def test_a_platform_that_answers_pings_stays() -> None:
    async with open_line() as line:
        for _ in range(100):
            await asyncio.sleep(1)
            await line.heard()
        assert not line.socket.closed


@pytest.mark.parametrize("reads", [False, True])
async def test_a_platform_that_takes_nothing_is_hung_up_on(reads: bool) -> None:
    async with open_line() as line:
        line.protocol.ping_interval = None
        line.protocol.stop_keepalive()
        line.socket.waiting = 100_000
        line.protocol.pause_writing()
        for _ in range(3):
            await asyncio.sleep(SEND_SECONDS - 1)
            line.socket.waiting -= 1000 if reads else 0
        assert line.socket.closed is not reads
        if reads:
            line.protocol.resume_writing()
            await asyncio.sleep(2 * SEND_SECONDS)
            assert not line.socket.closed


async def test_the_patience_with_it_is_the_application_s_and_may_be_endless() -> None:
    for patience, closed in ((2.0, True), (0, False)):
        async with open_line(send_timeout=patience) as line:
            line.protocol.pause_writing()
            await asyncio.sleep(3)
            assert line.socket.closed is closed


async def test_a_refusal_carries_a_status_and_a_reason_and_no_complaint(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def no(line: Line) -> None:
        await refuse(Forbidden("Not you."), line.send)

    line = Line(no)
    line.client.send_request(line.client.connect())
    [response] = await line.heard()
    assert (response.status_code, line.socket.closed) == (403, True)
    assert json.loads(response.body)["error"]["message"] == "Not you."
    line.lost()
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("more", "status"),
    [(b"x: %b\r\n" % (b"a" * 20_000), 431), (b"x: 1\r\n" * 200, 431), (b"content-length: 4\r\n", None)],
    ids=["long", "many", "body"],
)
async def test_a_head_that_is_no_handshake_does_not_stay_open(more: bytes, status: int | None) -> None:
    line = Line()
    line.protocol.data_received(b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n" + more + b"\r\n")
    assert line.socket.closed
    assert line.socket.writes[0][:13] == (b"HTTP/1.1 %d " % status if status else b"")
    line.lost()


async def test_frames_that_make_no_sense_before_we_said_yes_end_the_connection() -> None:
    async def slow(line: Line) -> None:
        await line.receive()
        line.over = (await line.receive())["code"]

    line = Line(slow)
    line.client.send_request(line.client.connect())
    await line.heard()
    line.protocol.data_received(b"\xff\xff\xff\xff")
    assert line.socket.closed
    line.lost()
    await asyncio.sleep(0.1)
    assert (line.over, line.server.tasks) == (1006, set())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Frame(Opcode.TEXT, b"a" * 101), 1009),
        (Frame(Opcode.TEXT, b"\xff"), 1007),
        (b"\xff\xff\xff\xff", 1002),
    ],
    ids=["large", "no text", "garbage"],
)
async def test_frames_that_make_no_sense_end_the_call(data: Frame | bytes, code: int) -> None:
    async with open_line() as line:
        line.protocol.data_received(data if isinstance(data, bytes) else data.serialize(mask=True))
        await line.heard()
        assert (line.received, line.socket.closed, line.over) == (code, True, code)


async def test_nothing_of_a_path_is_ever_written_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(line: Line) -> None:
        raise ValueError("a mistake")

    async def no(line: Line) -> None:
        await refuse(Forbidden("Not you."), line.send)

    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "uvicorn.error")
    for talk in (no, broken):
        line = Line(talk)
        line.client.send_request(line.client.connect())
        await line.heard()
        line.lost()
    async with open_line() as line:
        line.client.send_text(b"private")
        await line.heard()
    ours = [record for record in caplog.records if not record.name.startswith("websockets")]
    written = "\n".join(logging.Formatter().format(record) for record in ours)
    assert "s3cret" not in written
    assert "private" not in written
    assert "a mistake" in written


async def test_a_call_that_the_server_cuts_off_is_no_mistake(caplog: pytest.LogCaptureFixture) -> None:
    async with open_line() as line:
        for task in line.server.tasks:
            task.cancel()
        await line.heard()
        assert line.socket.closed
    assert caplog.messages == []


def test_the_hooks_that_this_stands_on_are_there() -> None:
    below = vars(websockets_sansio_impl.WebSocketsSansIOProtocol)
    ours = {name for name in vars(GatewayWebSocketProtocol) if not name.startswith("_")} - {"log"}
    assert ours <= below.keys(), "uvicorn has no such hook to build on"


async def test_what_this_reads_of_uvicorn_is_there() -> None:
    async with open_line(mark="state") as line:
        protocol = line.protocol
        assert protocol.app_state["mark"] == "state"
        assert (protocol.handshake_initiated, protocol.handshake_complete) == (True, True)
        assert (protocol.close_sent, protocol.initial_response) == (False, None)
        assert (protocol.conn.debug, protocol.conn.close_sent) == (False, None)
        assert protocol.logger.level == protocol.conn.logger.getEffectiveLevel() == logging.WARNING


async def test_who_does_not_read_gets_no_pongs_until_it_does() -> None:
    async with open_line() as line:
        line.protocol.pause_writing()
        line.client.send_ping(b"one")
        assert await line.heard() == []
        line.protocol.resume_writing()
        line.client.send_ping(b"two")
        assert [(event.opcode, event.data) for event in await line.heard()] == [(Opcode.PONG, b"two")]
