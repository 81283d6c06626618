"""Requests are read one at a time, in small steps; a refused request is not read to its end."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tests.asgi.test_http_protocol import Connection
from tests.asgi.test_http_protocol_abuse import (
    CHUNKED,
    disconnect,
    echo,
    feed,
    read_body,
    respond_early,
)
from voicegw.asgi.request_reader import MAX_HEADER_FIELDS, MAX_STEP_BYTES, MAX_WAITING_BYTES

GET = b"GET /%d HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def wait_then_echo_path(connection: Connection) -> None:
    scope, send = connection.scope, connection.send
    await asyncio.sleep(1)
    body = scope["raw_path"]
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def test_pipelined_requests_wait_as_bytes_and_are_answered_in_order() -> None:
    connection = Connection(wait_then_echo_path)
    feed(connection, b"".join(GET % number for number in range(50)))
    await asyncio.sleep(0.5)
    assert connection.scope["raw_path"] == b"/0"
    assert connection.protocol.unparsed == b"".join(GET % number for number in range(1, 50))
    await asyncio.sleep(60)
    answers = [part.rpartition(b"/")[2] for part in connection.written.split(b"HTTP/1.1 200")[1:]]
    assert answers == [b"%d" % number for number in range(50)]
    await disconnect(connection)


async def test_the_connection_is_read_no_more_while_many_requests_wait() -> None:
    async def app(connection: Connection) -> None:
        await read_body(connection)
        reading.append(connection.transport.reading_enabled)
        await respond_early(connection)

    reading: list[bool] = []
    connection = Connection(app)
    flood = (GET % 1) * (MAX_WAITING_BYTES // 20)
    feed(connection, flood)
    assert not connection.transport.reading_enabled
    await asyncio.sleep(1)
    assert reading[0] is False, "although the application reads"
    assert connection.transport.reading_enabled, "all are answered"
    assert connection.written.count(b"HTTP/1.1 200") == len(reading) == MAX_WAITING_BYTES // 20
    await disconnect(connection)


@pytest.mark.parametrize(
    "parts", [b"1\r\na\r\n" * 40_000, b"1;x=\r\n\r\r\n" * 30_000, b"2\r\n\r\n\r\n" * 30_000]
)
async def test_a_body_in_tiny_chunks_is_parsed_in_steps(parts: bytes) -> None:
    connection = Connection(read_body_and_stop, max_header_bytes=1_000_000)
    sizes = [0]
    feed(connection, CHUNKED + parts)
    while connection.protocol.is_step_queued:
        sizes.append(len(connection.protocol.unparsed))
        assert not connection.transport.reading_enabled
        await asyncio.sleep(0)
    steps = [before - after for before, after in pairwise(sizes[1:])]
    assert len(steps) >= len(parts) // MAX_STEP_BYTES - 1
    assert max(steps) <= MAX_STEP_BYTES + 10
    assert connection.transport.reading_enabled
    await disconnect(connection)


async def read_body_and_stop(connection: Connection) -> None:
    await read_body(connection)


REFUSED_FRAMING = [
    b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
    b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, chunked\r\n\r\n",
    b"POST /x HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
    b"GET /x HTTP/2.0\r\nhost: x\r\n\r\n",
    b"GET /x\r\n",
    b"GET /x\r\n\r\n",
    b"GET /x\r\nhost: x\r\n\r\n",
]


@pytest.mark.parametrize("request_", REFUSED_FRAMING)
@pytest.mark.parametrize("step", [1, 1000])
async def test_a_body_that_two_parsers_might_delimit_differently_is_refused(
    request_: bytes, step: int
) -> None:
    connection = Connection(echo)
    request_ += b"2\r\nhi\r\n0\r\n\r\n" if b"chunked" in request_ else b""
    await connection.feed(*(request_[at : at + step] for at in range(0, len(request_), step)))
    assert (connection.status, connection.error["type"]) == (400, "invalid_request_error")
    assert (connection.transport.closed, connection.scope) == (True, {})


async def test_a_broken_chunk_is_refused_unless_the_response_has_begun() -> None:
    connection = Connection(echo)
    await connection.feed(CHUNKED + b"2\r\nhi\r\n", b"zz\r\n")
    assert (connection.status, connection.transport.closed) == (400, True)


@pytest.mark.parametrize(("fields", "status"), [(MAX_HEADER_FIELDS, 200), (MAX_HEADER_FIELDS + 1, 431)])
async def test_the_number_of_header_fields_is_limited(fields: int, status: int) -> None:
    connection = Connection()
    await connection.feed(b"GET /x HTTP/1.1\r\n" + b"a:\r\n" * fields + b"\r\n")
    assert connection.status == status


async def test_a_client_that_stops_sending_within_a_second_request_gets_the_first_answer() -> None:
    connection = Connection(wait_then_echo_path)
    feed(connection, GET % 1 + b"GET /2 HT")
    await asyncio.sleep(0.5)
    assert connection.protocol.eof_received() is True
    await asyncio.sleep(1)
    assert connection.written.endswith(b"\r\n\r\n/1")
    assert connection.transport.closed


async def test_steps_of_a_lost_connection_are_dropped() -> None:
    connection = Connection(read_body_and_stop)
    feed(connection, CHUNKED + b"1\r\na\r\n" * 20_000)
    assert connection.protocol.is_step_queued
    await disconnect(connection)
    assert connection.protocol.unparsed == b""


async def test_a_broken_chunk_during_the_response_only_closes_the_connection() -> None:
    async def app(connection: Connection) -> None:
        await connection.start([])
        await connection.body(b"Well", more=True)
        await read_body(connection)

    connection = Connection(app)
    feed(connection, CHUNKED)
    await asyncio.sleep(1)
    feed(connection, b"zz\r\n")
    assert connection.transport.closed
    assert connection.written.count(b"HTTP/") == 1
    await disconnect(connection)
