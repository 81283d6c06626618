"""One connection with a fake transport: the response does not depend on how the network cut it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.agents.upstream import chunk, chunked_head, http_response
from voicegw.agents.client.connection import MAX_BUFFERED_BYTES, Connection
from voicegw.agents.client.response import HttpResponse
from voicegw.errors import AgentBusy, AgentProtocolError


class FakeTransport(asyncio.Transport):
    """A transport that records the calls of its methods."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.written: list[bytes] = []
        self.unsent = 0
        self.closed = False
        self.reading = True
        connection.connection_made(self)

    def write(self, data: Any) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self.connection.connection_lost(None)


def make_connection() -> tuple[Connection, FakeTransport]:
    connection = Connection(set())
    return connection, FakeTransport(connection)


async def start_request(connection: Connection) -> asyncio.Task[bool]:
    task = asyncio.create_task(connection.send_request(b"?"))
    await asyncio.sleep(0)
    return task


async def read_piece(body: Connection | HttpResponse) -> bytes:
    """Wait for the body and return all that has arrived of it, b"" at its end."""
    pieces: list[bytes] = []

    def feed(data: bytes) -> bool:
        pieces.append(data)
        return False

    await body.pump(feed)
    return b"".join(pieces)


async def read_body(connection: Connection) -> bytes:
    pieces = []
    while piece := await read_piece(connection):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize(
    "reply",
    [
        http_response(b"hello", "x: y"),
        chunked_head("x: y") + chunk(b"hel") + chunk(b"lo") + b"0\r\nlate: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + http_response(b"hello", "x: y"),
    ],
)
async def test_every_cut_gives_the_same_response(reply: bytes) -> None:
    for cut in range(1, len(reply)):
        connection, _ = make_connection()
        task = await start_request(connection)
        connection.data_received(reply[:cut])
        await asyncio.sleep(0)
        assert not connection.done
        connection.data_received(reply[cut:])
        assert await task
        assert (connection.status, connection.headers["x"]) == (200, "y")
        assert "late" not in connection.headers
        assert await read_body(connection) == b"hello"
        assert connection.is_reusable


async def test_one_wake_up_returns_all_chunks_of_one_read() -> None:
    connection, _ = make_connection()
    task = await start_request(connection)
    connection.data_received(chunked_head() + chunk(b"a"))
    assert await task
    connection.data_received(chunk(b"b") + chunk(b"c"))
    assert await read_piece(connection) == b"abc"


async def test_reader_runs_in_the_loop_iteration_after_the_read() -> None:
    connection, _ = make_connection()
    task = await start_request(connection)
    connection.data_received(chunked_head())
    assert await task
    taking = asyncio.create_task(read_piece(connection))
    await asyncio.sleep(0)
    connection.data_received(chunk(b"a"))
    await asyncio.sleep(0)
    assert taking.done()
    assert await taking == b"a"


async def test_transport_pauses_above_the_limit_and_resumes_after_reading() -> None:
    connection, wire = make_connection()
    task = await start_request(connection)
    connection.data_received(chunked_head())
    for _ in range(16):
        connection.data_received(chunk(b"x" * (MAX_BUFFERED_BYTES // 16)))
    assert await task
    assert wire.reading
    connection.data_received(chunk(b"x"))
    assert not wire.reading
    connection.data_received(chunk(b"x"))
    assert len(await read_piece(connection)) == MAX_BUFFERED_BYTES + 2
    assert wire.reading


async def test_flood_of_tiny_chunks_is_parsed_in_steps_and_arrives_whole() -> None:
    connection, wire = make_connection()
    task = await start_request(connection)
    body = b"abcdefgh" * 1000
    connection.data_received(chunked_head() + b"".join(chunk(bytes([byte])) for byte in body))
    assert (wire.reading, connection.is_reusable) == (False, False)
    assert await task
    received = b""
    while len(received) < len(body):
        received += await read_piece(connection)
    assert received == body
    await asyncio.sleep(0)
    assert wire.reading


async def test_bytes_that_wait_are_parsed_when_the_server_closes() -> None:
    connection, _ = make_connection()
    task = await start_request(connection)
    connection.data_received(http_response(b"a" * 50_000))
    connection.connection_lost(None)
    assert await task
    assert (len(await read_piece(connection)), connection.done) == (50_000, True)


async def test_connection_with_unsent_bytes_is_not_reused() -> None:
    connection, wire = make_connection()
    task = await start_request(connection)
    connection.data_received(http_response(b""))
    assert await task
    wire.unsent = 1
    assert not connection.is_reusable


async def test_response_without_a_request_closes_the_connection() -> None:
    connection, wire = make_connection()
    connection.data_received(b"HTTP/1.1 408 Timeout\r\n\r\n")
    assert wire.closed
    assert not await connection.send_request(b"?")
    assert wire.written == []


async def test_reset_does_not_end_a_body_without_length() -> None:
    connection, _ = make_connection()
    task = await start_request(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert await task
    connection.connection_lost(ConnectionResetError())
    assert await read_piece(connection) == b"abc"
    with pytest.raises(AgentProtocolError, match="connection reset"):
        await read_piece(connection)


async def test_next_response_has_nothing_of_the_last_one() -> None:
    connection, _ = make_connection()
    task = await start_request(connection)
    connection.data_received(http_response(b"unread", "a: 1"))
    assert await task
    task = await start_request(connection)
    connection.data_received(http_response(b"new", "b: 2"))
    assert await task
    assert connection.headers == {"content-length": "3", "b": "2"}
    assert await read_body(connection) == b"new"


async def test_draining_ends_with_the_body_or_its_timeout() -> None:
    drained: list[Connection] = []
    for last, ready in ((chunk(b""), 1), (chunk(b"more"), 0)):
        connection, wire = make_connection()
        task = await start_request(connection)
        connection.data_received(chunked_head() + chunk(b"a"))
        assert await task
        connection.drain(0.1, drained.append)
        connection.data_received(last)
        assert len(drained) == ready
        await asyncio.sleep(0.1)
        assert wire.closed is not bool(ready)
        drained.clear()


async def test_open_connections_contain_only_open_ones() -> None:
    open_connections: set[Connection] = set()
    connection = Connection(open_connections)
    assert not connection.is_open
    wire = FakeTransport(connection)
    assert open_connections == {connection}
    wire.abort()
    assert open_connections == set()
    assert connection.closed.done()


# Pumping


class Body:
    """Takes the pieces of a body until it has `count`; then it fails with `failure`, if there is one."""

    def __init__(self, count: int = 1000, failure: BaseException | None = None) -> None:
        self.count, self.failure = count, failure
        self.pieces: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        self.pieces.append(data)
        if len(self.pieces) < self.count:
            return True
        if self.failure is not None:
            raise self.failure
        return False


async def start_pump(body: Body, *before: bytes) -> tuple[Connection, FakeTransport, asyncio.Task[bool]]:
    """Return a connection whose body is pumped, with these chunks in its buffer."""
    connection, wire = make_connection()
    task = await start_request(connection)
    connection.data_received(chunked_head() + b"".join(map(chunk, before)))
    assert await task
    pumping = asyncio.create_task(connection.pump(body.feed))
    await asyncio.sleep(0)
    return connection, wire, pumping


async def test_pump_passes_the_buffered_body_on_and_then_each_read_in_its_callback() -> None:
    body = Body()
    connection, _, pumping = await start_pump(body, b"a", b"b")
    assert body.pieces == [b"ab"]
    connection.data_received(chunk(b"c") + chunk(b"d"))
    assert body.pieces == [b"ab", b"cd"]
    connection.data_received(chunk(b"e") + chunk(b""))
    assert body.pieces == [b"ab", b"cd", b"e"]
    assert await pumping is True
    assert connection.is_reusable


async def test_pump_of_a_body_that_has_arrived_whole_does_not_wait() -> None:
    body = Body()
    _, _, pumping = await start_pump(body, b"a", b"")
    assert pumping.done()
    assert (await pumping, body.pieces) == (True, [b"a"])


@pytest.mark.parametrize("before", [(b"a",), ()])
async def test_pump_stops_when_its_function_wants_no_more(before: tuple[bytes, ...]) -> None:
    body = Body(1)
    connection, wire, pumping = await start_pump(body, *before)
    if not before:
        connection.data_received(chunk(b"a"))
    connection.data_received(chunk(b"b"))
    assert await pumping is False
    assert body.pieces == [b"a"]
    assert not wire.closed
    assert await connection.peek(1) == b"b"


@pytest.mark.parametrize("before", [(b"a",), ()])
async def test_pump_raises_the_exception_of_its_function(before: tuple[bytes, ...]) -> None:
    body = Body(1, AgentBusy("enough"))
    connection, _, pumping = await start_pump(body, *before)
    if not before:
        connection.data_received(chunk(b"a"))
    connection.data_received(chunk(b"b"))
    with pytest.raises(AgentBusy, match="enough"):
        await pumping
    assert body.pieces == [b"a"]


async def test_pump_raises_a_failure_that_comes_together_with_the_end_of_its_time() -> None:
    body = Body(1, AgentBusy("enough"))
    connection, _, pumping = await start_pump(body)
    connection._expire_rest()
    connection.data_received(chunk(b"a"))
    with pytest.raises(AgentBusy, match="enough"):
        await pumping


@pytest.mark.parametrize("has_text", [True, False])
async def test_pump_raises_when_the_body_breaks_off_after_the_bytes_before(has_text: bool) -> None:
    body = Body()
    connection, wire, pumping = await start_pump(body)
    connection.data_received((chunk(b"a") if has_text else b"") + b"no chunk")
    assert wire.closed
    with pytest.raises(AgentProtocolError, match=r"no HTTP .* in the middle of an answer"):
        await pumping
    assert body.pieces == ([b"a"] if has_text else [])


async def test_pump_raises_when_the_connection_closes() -> None:
    body = Body()
    connection, wire, pumping = await start_pump(body, b"a")
    wire.abort()
    with pytest.raises(AgentProtocolError, match="connection closed in the middle of an answer"):
        await pumping
    with pytest.raises(AgentProtocolError, match="connection closed in the middle of an answer"):
        await connection.pump(body.feed)
    assert body.pieces == [b"a"]


async def test_pump_ends_with_the_time_of_the_rest() -> None:
    body = Body()
    connection, _, pumping = await start_pump(body, b"a")
    connection.limit_rest(0.01, restart=False)
    async with asyncio.timeout(2):
        assert await pumping is True
    assert await connection.pump(body.feed) is True
    assert (body.pieces, connection.done) == ([b"a"], False)


async def test_cancelled_pump_leaves_later_bytes_in_the_buffer() -> None:
    body = Body()
    connection, _, pumping = await start_pump(body, b"a")
    pumping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pumping
    connection.data_received(chunk(b"b"))
    assert body.pieces == [b"a"]
    assert await connection.peek(1) == b"b"


async def test_pump_never_pauses_and_resumes_a_paused_transport() -> None:
    connection, wire = make_connection()
    task = await start_request(connection)
    connection.data_received(chunked_head())
    assert await task
    piece = chunk(b"x" * (MAX_BUFFERED_BYTES // 16))
    for _ in range(17):
        connection.data_received(piece)
    assert not wire.reading
    body = Body()
    pumping = asyncio.create_task(connection.pump(body.feed))
    await asyncio.sleep(0)
    assert wire.reading
    for _ in range(34):
        connection.data_received(piece)
        assert wire.reading
    connection.data_received(chunk(b""))
    assert await pumping
    assert sum(map(len, body.pieces)) == 51 * (MAX_BUFFERED_BYTES // 16)
