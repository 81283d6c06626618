"""The HTTP protocol of one connection, fed by hand; what leaves is kept."""

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

from voicegw.asgi.http_protocol import HEADER_BYTES, ChunkWriter, GatewayHttpProtocol

ASK = b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
PLAIN = [(b"content-length", b"2")]


class Socket(asyncio.Transport):
    """The client's end: keeps what was written, and closes like a real one, at the time `ended`.

    `waiting` bytes of it are not taken yet; `lost` is told when nobody will take them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.lost: Callable[[Exception | None], None] = lambda error: None
        self.writes: list[bytes] = []
        self.closed = False
        self.ended = 0.0
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.closed, "nothing is written to a closed connection"
        self.writes.append(bytes(data))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.ended = asyncio.get_running_loop().time()

    def abort(self) -> None:
        self.close()
        asyncio.get_running_loop().call_soon(self.lost, None)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Ear:
    """The stream at the other end of a wire."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def wake(self) -> None:
        self.told.append("wake")

    def hang_up(self) -> None:
        self.told.append("hang up")


Talk = Callable[["Line"], Awaitable[None]]


class Line:
    """One connection to an application that does what `talk` says; `scope` is that of its last request."""

    def __init__(self, talk: Talk | None = None, **state: Any) -> None:
        self.talk = talk
        self.ear = Ear()
        self.scope: dict[str, Any] = {}
        config = uvicorn.Config(self._app, interface="asgi3", proxy_headers=False, log_config=None)
        self.socket = Socket()
        self.protocol = GatewayHttpProtocol(config, ServerState(), state, _loop=asyncio.get_running_loop())
        self.protocol.connection_made(self.socket)
        self.socket.lost = self.protocol.connection_lost

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        if self.talk is None:
            await self.start(PLAIN)
            await self.body(b"ok")
        else:
            await self.talk(self)

    async def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def body(self, data: bytes, *, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    @property
    def wire(self) -> ChunkWriter:
        found = self.scope["extensions"]["voicegw.wire"]
        assert isinstance(found, ChunkWriter)
        return found

    async def say(self, *pieces: bytes) -> None:
        """Feed some bytes, then let the application finish."""
        for piece in pieces:
            if not self.socket.closed:
                self.protocol.data_received(piece)
        while tasks := set(self.protocol.tasks):
            await asyncio.wait(tasks)

    @property
    def written(self) -> bytes:
        return b"".join(self.socket.writes)

    @property
    def status(self) -> int:
        return int(self.written.split(b" ")[1])

    @property
    def error(self) -> dict[str, Any]:
        head, _, body = self.written.partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head
        return dict(json.loads(body)["error"])


def long(size: int) -> bytes:
    """A request whose head counts as so many bytes: its target, and each header with its punctuation."""
    bare = len(b"/x") + len(b"host") + len(b"localhost") + 4 + len(b"x-long") + 4
    return b"GET /x HTTP/1.1\r\nhost: localhost\r\nx-long: %b\r\n\r\n" % (b"a" * (size - bare))


@pytest.mark.parametrize(("size", "status"), [(2000, 200), (2001, 431)])
async def test_a_head_may_be_as_large_as_the_limit_says(size: int, status: int) -> None:
    line = Line(header_bytes=2000)
    await line.say(long(size))
    assert line.status == status


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_a_head_that_never_ends_is_refused_at_the_limit(step: int) -> None:
    line = Line(header_bytes=2000)
    request = long(9000)
    enough = 2000 - 2000 % step
    await line.say(*(request[at : at + step] for at in range(0, enough, step)))
    assert line.socket.writes == []
    await line.say(request[enough : enough + step])
    assert (line.status, line.error["code"]) == (431, "headers_too_large")
    assert b"connection: close" in line.written
    assert line.socket.closed
    assert line.scope == {}


async def test_without_a_word_of_the_application_there_is_a_limit_all_the_same() -> None:
    line = Line()
    await line.say(long(HEADER_BYTES + 1))
    assert line.status == 431


async def test_bodies_and_later_requests_do_not_count_as_head() -> None:
    line = Line(header_bytes=2000)
    post = b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000\r\n\r\n"
    await line.say(post, *[b"a" * 1000] * 9)
    await line.say(*(long(1900) for _ in range(5)))
    assert line.written.count(b"HTTP/1.1 200") == 6


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01", b"HELLO\r\n\r\n", b"GET /x HTTP/1.1\r\nno colon\r\n\r\n"]
)
async def test_what_is_no_http_is_refused_as_everything_else_is(nonsense: bytes) -> None:
    line = Line()
    await line.say(nonsense)
    assert (line.status, line.error["type"]) == (400, "invalid_request_error")
    assert line.socket.closed


async def test_a_wire_is_open_from_the_head_of_a_chunked_answer_to_its_end() -> None:
    found: list[bool] = []

    async def talk(line: Line) -> None:
        found.append(line.wire.open)
        await line.start([])
        found.append(line.wire.open)
        line.wire.write(b"0123456789abcdef")
        await line.body(b"end")

    line = Line(talk)
    await line.say(ASK)
    assert found == [False, True]
    assert line.socket.writes[1:] == [b"10\r\n0123456789abcdef\r\n", b"3\r\nend\r\n0\r\n\r\n"]


async def test_an_answer_of_known_length_has_no_open_wire() -> None:
    found: list[bool] = []

    async def talk(line: Line) -> None:
        await line.start(PLAIN)
        found.append(line.wire.open)
        await line.body(b"ok")

    await Line(talk).say(ASK)
    assert found == [False]


async def test_what_is_held_leaves_in_one_write() -> None:
    async def talk(line: Line) -> None:
        with line.wire.held():
            await line.start([])
            await line.body(b"first", more=True)
            assert line.socket.writes == []
        await line.body(b"last")

    line = Line(talk)
    await line.say(ASK)
    assert len(line.socket.writes) == 2
    assert line.socket.writes[0].endswith(b"\r\n\r\n5\r\nfirst\r\n")


async def test_a_lost_connection_closes_the_wire_and_tells_its_reader_once() -> None:
    ear, found = Ear(), list[bool]()

    async def talk(line: Line) -> None:
        await line.start([])
        line.wire.join(ear)
        line.socket.close()
        line.protocol.connection_lost(None)
        found.append(line.wire.open)

    await Line(talk).say(ASK)
    assert (ear.told, found) == (["hang up"], [False])


async def test_a_reader_is_told_when_the_client_reads_on() -> None:
    ear, paused = Ear(), list[bool]()

    async def talk(line: Line) -> None:
        await line.start([])
        line.wire.join(ear)
        for change in (line.protocol.pause_writing, line.protocol.resume_writing):
            change()
            paused.append(line.wire.paused)
        await line.body(b"end")

    await Line(talk).say(ASK)
    assert (ear.told, paused) == (["wake"], [True, False])


async def test_a_reader_who_left_is_told_nothing() -> None:
    ear = Ear()

    async def talk(line: Line) -> None:
        await line.start([])
        line.wire.join(ear)
        line.wire.join(None)
        await line.body(b"end")

    line = Line(talk)
    await line.say(ASK)
    line.protocol.resume_writing()
    line.protocol.connection_lost(ConnectionResetError())
    assert ear.told == []


async def test_each_pipelined_request_has_its_own_wire() -> None:
    wires: list[ChunkWriter] = []

    async def talk(line: Line) -> None:
        wires.append(line.wire)
        await line.start([])
        line.wire.write(b"%d" % len(wires))
        await line.body(b"")

    line = Line(talk)
    await line.say(ASK + ASK)
    assert len({id(wire.cycle) for wire in wires}) == 2
    assert [write for write in line.socket.writes if write[:2] == b"1\r"] == [b"1\r\n1\r\n", b"1\r\n2\r\n"]


async def test_at_shutdown_the_application_is_told_and_the_answer_still_ends() -> None:
    told: list[str] = []

    async def talk(line: Line) -> None:
        line.protocol.shutdown()
        assert not line.socket.closed
        await line.start([])
        await line.body(b"end")

    line = Line(talk, drain=lambda: told.append("drain"))
    await line.say(ASK)
    assert told == ["drain"]
    assert line.written.endswith(b"0\r\n\r\n")
    assert line.socket.closed


async def test_at_shutdown_an_idle_connection_ends_at_once() -> None:
    line = Line()
    line.protocol.shutdown()
    assert line.socket.closed


async def test_the_server_still_has_what_we_lean_on() -> None:
    seen: dict[str, Any] = {}

    async def talk(line: Line) -> None:
        cycle = line.protocol.cycle
        seen.update(cycle=cycle, before=cycle.chunked_encoding, scope=cycle.scope is line.protocol.scope)
        await line.start([])
        seen.update(after=cycle.chunked_encoding, same=cycle.transport is line.protocol.transport)
        await line.body(b"end")

    line = Line(talk, header_bytes=4096, mark="state")
    await line.say(ASK)
    protocol, cycle = line.protocol, seen["cycle"]
    assert type(cycle) is httptools_impl.RequestResponseCycle
    assert (seen["before"], seen["after"]) == (None, True), "whether a body is chunked is known from its head"
    assert cycle.disconnected is False
    assert seen["scope"], "the request being parsed and the one being answered are one"
    assert seen["same"], "the cycle writes to the transport that it was given"
    assert isinstance(protocol.flow, FlowControl)
    assert protocol.flow.write_paused is False
    assert (protocol.url, protocol.headers[0]) == (b"/x", (b"host", b"localhost"))
    assert protocol.app_state["mark"] == line.scope["state"]["mark"] == "state"
    assert httptools_impl.STATUS_LINE[431].startswith(b"HTTP/1.1 431 ")
    hooks = {"data_received", "on_message_begin", "on_headers_complete", "connection_lost", "resume_writing"}
    for hook in hooks | {"shutdown", "send_400_response"}:
        assert hook in vars(httptools_impl.HttpToolsProtocol), f"uvicorn has no {hook} to build on"


async def lingering(line: Line) -> None:
    """An answer that goes on for a minute."""
    line.wire.join(line.ear)
    await line.start([])
    await asyncio.sleep(60)
    await line.body(b"end")


@pytest.mark.parametrize(
    ("state", "taken", "resumed", "told", "ended"),
    [
        ({"send_timeout": 2.0}, {}, None, "hang up", 3.0),
        ({}, {}, None, "hang up", 31.0),
        ({"send_timeout": 0.0}, {}, None, "", 0.0),
        ({"send_timeout": 2.0}, {}, 2.9, "wake", 0.0),
        ({"send_timeout": 2.0}, {2.5: 90_000, 4.0: 80_000}, None, "hang up", 7.0),
        ({"send_timeout": 2.0}, {2.5: 90_000, 4.0: 80_000}, 6.9, "wake", 0.0),
    ],
)
async def test_a_client_that_takes_nothing_of_what_waits_for_it_is_hung_up_on(
    state: dict[str, float], taken: dict[float, int], resumed: float | None, told: str, ended: float
) -> None:
    line = Line(lingering, **state)
    loop = asyncio.get_running_loop()
    line.protocol.data_received(ASK)
    await asyncio.sleep(1)
    line.socket.waiting = 100_000
    line.protocol.pause_writing()
    for when, waiting in taken.items():
        loop.call_at(when, setattr, line.socket, "waiting", waiting)
    if resumed is not None:
        loop.call_at(resumed, line.protocol.resume_writing)
    await asyncio.sleep(49)
    assert (line.ear.told, line.socket.ended) == ([told] if told else [], ended)
    line.protocol.resume_writing()
    await line.say()


async def test_each_pause_is_timed_anew() -> None:
    line = Line(lingering, send_timeout=2.0)
    line.protocol.data_received(ASK)
    for _ in range(5):
        line.protocol.pause_writing()
        await asyncio.sleep(1.5)
        line.protocol.resume_writing()
    await line.say()
    assert not line.socket.closed


async def test_a_client_that_hangs_up_while_it_does_not_read_leaves_no_timer() -> None:
    line = Line(send_timeout=2.0)
    await line.say(ASK)
    line.protocol.pause_writing()
    line.protocol.connection_lost(ConnectionResetError())
    await asyncio.sleep(3)
    assert not line.socket.closed
