"""One connection with a fake transport: the response does not depend on how the network cut it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.agents.upstream import chunk, chunked_head, http_response
from voicegw.agents.client.connection import MAX_BUFFERED_BYTES, Connection
from voicegw.errors import AgentProtocolError


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


async def read_body(connection: Connection) -> bytes:
    pieces = []
    while piece := await connection.read_chunk():
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
    assert await connection.read_chunk() == b"abc"


async def test_reader_runs_in_the_loop_iteration_after_the_read() -> None:
    connection, _ = make_connection()
    task = await start_request(connection)
    connection.data_received(chunked_head())
    assert await task
    taking = asyncio.create_task(connection.read_chunk())
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
    assert len(await connection.read_chunk()) == MAX_BUFFERED_BYTES + 2
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
        received += await connection.read_chunk()
    assert received == body
    await asyncio.sleep(0)
    assert wire.reading


async def test_bytes_that_wait_are_parsed_when_the_server_closes() -> None:
    connection, _ = make_connection()
    task = await start_request(connection)
    connection.data_received(http_response(b"a" * 50_000))
    connection.connection_lost(None)
    assert await task
    assert (len(await connection.read_chunk()), connection.done) == (50_000, True)


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
    assert await connection.read_chunk() == b"abc"
    with pytest.raises(AgentProtocolError, match="connection reset"):
        await connection.read_chunk()


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
