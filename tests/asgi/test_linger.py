"""The client of a refused request reads its answer; the rest of the request is dropped."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.test_http_protocol import Connection, FakeTransport
from tests.asgi.test_http_protocol_abuse import CHUNKED, POST, disconnect, echo, feed, respond_early
from voicegw.asgi.linger import LINGER_TIMEOUT, MAX_DROPPED_BYTES


@pytest.mark.parametrize("head", [CHUNKED, POST % (1_000_000, b"")])
async def test_a_refused_body_is_dropped_and_the_client_reads_its_answer(head: bytes) -> None:
    connection = Connection(respond_early)
    connection.transport.client_closes = False
    await connection.feed(head)
    assert connection.written.endswith(b"connection: close\r\n\r\nno")
    for _ in range(MAX_DROPPED_BYTES // 200_000):
        feed(connection, b"1\r\na\r\n" * 33_000)
    assert (connection.protocol.unparsed, connection.transport.closed) == (b"", False)
    assert len(connection.protocol.cycle.body) == 0
    await asyncio.sleep(60)
    assert connection.transport.closed_at == LINGER_TIMEOUT
    await disconnect(connection)


async def test_a_client_that_sends_a_refused_body_on_is_disconnected() -> None:
    connection = Connection(respond_early)
    connection.transport.client_closes = False
    await connection.feed(CHUNKED)
    piece, sent = b"1\r\n \r\n" * 40_000, 0
    while not connection.transport.closed:
        feed(connection, piece)
        sent += len(piece)
    assert MAX_DROPPED_BYTES < sent <= MAX_DROPPED_BYTES + len(piece)
    await disconnect(connection)


async def test_a_response_before_the_end_of_a_body_that_came_in_time_keeps_the_connection() -> None:
    connection = Connection(respond_early)
    await connection.feed(POST % (8, b"12345678"))
    assert b"connection: close" not in connection.written
    await connection.feed(POST % (8, b"12345678"))
    assert connection.written.count(b"HTTP/1.1 200") == 2


async def test_a_body_in_several_packets_keeps_the_connection() -> None:
    connection = Connection(echo)
    for _ in range(2):
        await connection.feed(POST % (9, b"12"), b"345", b"6789")
    assert connection.written.count(b"\r\n\r\n123456789") == 2
    assert b"connection: close" not in connection.written


async def test_a_tls_connection_lingers_without_an_end_of_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTransport, "can_write_eof", lambda transport: False)
    connection = Connection(respond_early)
    await connection.feed(CHUNKED)
    assert not connection.transport.closed
    await asyncio.sleep(60)
    assert connection.transport.closed_at == LINGER_TIMEOUT
    await disconnect(connection)


async def test_lingering_begins_once() -> None:
    connection = Connection(respond_early)
    connection.transport.client_closes = False
    await connection.feed(b"\x00\r\n\r\n")
    await asyncio.sleep(1)
    connection.protocol.linger()
    await asyncio.sleep(60)
    assert connection.transport.closed_at == LINGER_TIMEOUT
    await disconnect(connection)
