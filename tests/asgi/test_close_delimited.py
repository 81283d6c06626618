"""Clients of HTTP/1.0 get no chunks."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.test_http_protocol import ASK, PLAIN, Connection

OLD = ASK.replace(b"HTTP/1.1", b"HTTP/1.0")
OLD_KEEP_ALIVE = OLD.replace(b"\r\nhost", b"\r\nconnection: keep-alive\r\nhost")


@pytest.mark.parametrize("request_", [OLD, OLD_KEEP_ALIVE])
async def test_a_stream_ends_with_the_connection(request_: bytes) -> None:
    async def app(connection: Connection) -> None:
        await connection.start([(b"content-type", b"text/plain")])
        assert connection.scope["extensions"] == {}
        await connection.body(b"One ", more=True)
        await asyncio.sleep(1)
        assert not connection.transport.closed
        await connection.body(b"", more=True)
        await connection.body(b"two.")

    connection = Connection(app)
    await connection.feed(request_)
    assert connection.written == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nOne two."
    )
    assert connection.transport.closed


@pytest.mark.parametrize("name", [b"content-length", b"Content-Length"])
async def test_a_body_of_known_length_keeps_its_length(name: bytes) -> None:
    async def app(connection: Connection) -> None:
        await connection.start([(name, b"2")])
        await connection.body(b"o", more=True)
        await connection.body(b"k")

    connection = Connection(app)
    await connection.feed(OLD_KEEP_ALIVE)
    assert connection.written == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    assert connection.transport.closed


async def test_a_head_request_gets_no_body() -> None:
    connection = Connection()
    await connection.feed(OLD.replace(b"POST", b"HEAD"))
    assert connection.written.endswith(b"\r\n\r\n")
    assert connection.transport.closed


async def test_the_same_stream_has_chunks_for_clients_of_http_1_1() -> None:
    async def app(connection: Connection) -> None:
        await connection.start([])
        await connection.body(b"ok")

    connection = Connection(app)
    await connection.feed(ASK)
    assert connection.written.endswith(b"2\r\nok\r\n0\r\n\r\n")
    assert PLAIN[0][0] not in connection.written
    assert not connection.transport.closed
