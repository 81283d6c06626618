"""Clients that stop sending get their response, and those that disconnected are still noticed."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.test_http_protocol import ASK, PLAIN, Connection
from tests.asgi.test_http_protocol_abuse import POST, disconnect, feed
from voicegw.asgi.half_close import CONTINUE, FIRST_PROBE_DELAY, MAX_PROBE_DELAY


async def answer_later(connection: Connection) -> None:
    """Answer after 10 seconds, or stop when the client disconnects."""
    while (await connection.receive())["more_body"]:
        pass
    watcher = asyncio.ensure_future(connection.receive())
    await asyncio.wait([watcher], timeout=10)
    if not watcher.done():
        watcher.cancel()
        await connection.start(PLAIN)
        await connection.body(b"ok")


async def stream_later(connection: Connection) -> None:
    """Stream one chunk, and end the stream after 10 seconds."""
    connection.chunk_writer.start(connection.source, b"", b"Well")
    await asyncio.sleep(10)
    connection.chunk_writer.end(b".")


async def test_a_whole_response_reaches_a_client_that_sends_no_more() -> None:
    connection = Connection(answer_later)
    feed(connection, ASK)
    await asyncio.sleep(1)
    assert connection.protocol.eof_received() is True
    await connection.feed()
    assert connection.written.startswith(CONTINUE + CONTINUE)
    assert connection.written.replace(CONTINUE, b"") == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    )
    assert connection.transport.closed


async def test_a_stream_reaches_a_client_that_sends_no_more() -> None:
    connection = Connection(stream_later)
    feed(connection, ASK)
    await asyncio.sleep(1)
    assert connection.protocol.eof_received() is True
    await connection.feed()
    assert set(connection.source.calls) == {"probe"}
    assert CONTINUE not in connection.written
    assert connection.written.endswith(b"4\r\nWell\r\n1\r\n.\r\n0\r\n\r\n")
    assert connection.transport.closed


async def test_probes_are_frequent_at_first_and_end_with_the_connection() -> None:
    connection = Connection(stream_later)
    feed(connection, ASK)
    await asyncio.sleep(1)
    connection.protocol.eof_received()
    counts = [len(connection.source.calls)]
    for seconds in (FIRST_PROBE_DELAY, 0.5, MAX_PROBE_DELAY):
        await asyncio.sleep(seconds)
        counts.append(len(connection.source.calls))
    assert counts == [1, 2, 8, 12]
    await disconnect(connection)
    calls = len(connection.source.calls)
    await asyncio.sleep(60)
    assert connection.source.calls[calls:] == []


async def test_pipelined_requests_are_answered_before_the_connection_closes() -> None:
    connection = Connection(answer_later)
    feed(connection, ASK + ASK)
    await asyncio.sleep(1)
    assert connection.protocol.eof_received() is True
    await asyncio.sleep(30)
    assert connection.written.count(b"HTTP/1.1 200") == 2
    assert connection.transport.closed


@pytest.mark.parametrize(
    "request_",
    [b"", b"POST /x HT", POST % (9, b"1234"), ASK.replace(b"HTTP/1.1", b"HTTP/1.0")],
    ids=["nothing", "half a head", "half a body", "HTTP/1.0"],
)
async def test_a_connection_without_a_complete_request_closes(request_: bytes) -> None:
    connection = Connection(answer_later)
    feed(connection, request_)
    await asyncio.sleep(1)
    assert connection.protocol.eof_received() is False, "the transport closes"
    await disconnect(connection)
    assert connection.written == b""


async def test_an_idle_connection_closes() -> None:
    connection = Connection()
    await connection.feed(ASK)
    assert connection.protocol.eof_received() is False


async def test_a_tls_connection_closes() -> None:
    connection = Connection(answer_later)
    connection.protocol.scheme = "https"
    feed(connection, ASK)
    await asyncio.sleep(1)
    assert connection.protocol.eof_received() is False
    await disconnect(connection)
