"""The HTTP protocol against clients that send too much, too slowly, or garbage."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.test_http_protocol import ASK, PLAIN, Connection, FakeChunkSource, request_with_header_size
from voicegw.asgi.request_reader import REQUEST_TIMEOUT

POST = b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b"
CHUNKED = b"POST /x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
KEEP_ALIVE = 5
"""Seconds. The default of uvicorn."""


async def read_body(connection: Connection) -> bytes | None:
    """Return the body of the request; None if the client disconnects before its end."""
    body = bytearray()
    while True:
        message = await connection.receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def echo(connection: Connection) -> None:
    body = await read_body(connection)
    if body is not None:
        await connection.start([(b"content-length", b"%d" % len(body))])
        await connection.body(body)


async def stream_until_disconnect(connection: Connection) -> None:
    """Begin a response that goes on until the client disconnects."""
    await connection.start([])
    while (await connection.receive())["type"] != "http.disconnect":
        pass


async def disconnect(connection: Connection) -> None:
    """Disconnect the client and let the application finish."""
    connection.transport.close()
    connection.protocol.connection_lost(None)
    await connection.feed()


async def flood(connection: Connection, piece: bytes, max_bytes: int = 1_000_000) -> int:
    """Send the same piece until the server disconnects; return how many bytes that took."""
    sent = 0
    while not connection.transport.closed and sent < max_bytes:
        connection.protocol.data_received(piece)
        sent += len(piece)
    await disconnect(connection)
    return sent


def feed(connection: Connection, data: bytes) -> None:
    connection.protocol.data_received(data)


@pytest.mark.parametrize("piece", [b"x-more: 1234\r\n", b"y"])
async def test_trailers_are_limited(piece: bytes) -> None:
    connection = Connection(echo, max_header_bytes=2000)
    feed(connection, CHUNKED + b"2\r\nhi\r\n0\r\n" + b"x-field: ")
    assert 1900 < await flood(connection, piece) < 2100
    assert connection.error["code"] == "headers_too_large"


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize(
    ("version", "field", "status"),
    [(b"1.1", b"x: " + b"y" * 3000, 431), (b"1.0", b"transfer-encoding: chunked", 400)],
)
async def test_refused_head_with_an_upgrade_is_answered_once(
    method: bytes, version: bytes, field: bytes, status: int
) -> None:
    connection = Connection(echo, max_header_bytes=2000)
    head = (method + b" /x HTTP/" + version, b"host: localhost", field, b"upgrade: websocket")
    feed(connection, b"\r\n".join([*head, b"connection: upgrade", b"", b""]))
    await connection.feed()
    assert connection.status == status
    assert connection.written.count(b"HTTP/1.1 ") == 1


async def test_chunk_sizes_are_limited() -> None:
    connection = Connection(echo, max_header_bytes=2000)
    feed(connection, CHUNKED + b"2;")
    assert await flood(connection, b"extension") < 2100


async def test_empty_lines_before_a_request_are_limited() -> None:
    connection = Connection(max_header_bytes=2000)
    assert await flood(connection, b"\r\n") < 2100
    assert connection.error["code"] == "headers_too_large"


async def test_a_trailer_is_accepted_and_dropped() -> None:
    connection = Connection(echo)
    await connection.feed(CHUNKED + b"2\r\nhi\r\n0\r\nx-checksum: 1\r\n\r\n")
    assert connection.written.endswith(b"\r\n\r\nhi")
    assert [name for name, _ in connection.scope["headers"]] == [b"host", b"transfer-encoding"]
    await connection.feed(POST % (5, b"again"))
    assert connection.written.endswith(b"\r\n\r\nagain")


@pytest.mark.parametrize("step", [1, 6, 7, 100_000])
async def test_a_body_may_come_in_chunks_of_one_byte(step: int) -> None:
    connection = Connection(echo, max_header_bytes=2000)
    request = CHUNKED + b"1\r\na\r\n" * 5000 + b"0\r\n\r\n"
    await connection.feed(*(request[at : at + step] for at in range(0, len(request), step)))
    assert connection.written.endswith(b"\r\n\r\n" + b"a" * 5000)


async def test_a_body_in_the_same_packet_does_not_count_as_headers() -> None:
    connection = Connection(echo, max_header_bytes=2000)
    for _ in range(3):
        await connection.feed(POST % (9000, b"a" * 9000))
    await connection.feed(request_with_header_size(1900))
    assert connection.written.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize("whole", [True, False])
async def test_a_disconnect_behind_a_second_request_reaches_the_first(whole: bool) -> None:
    bodies: list[bytes | None] = []

    async def app(connection: Connection) -> None:
        bodies.append(await read_body(connection))
        bodies.append(await read_body(connection))

    connection = Connection(app)
    packets = [ASK + ASK] if whole else [ASK, ASK]
    for packet in packets:
        feed(connection, packet)
        await asyncio.sleep(1)
    assert connection.transport.reading_enabled, "else the disconnect would be noticed too late"
    await disconnect(connection)
    assert bodies == [b"", None], "and the second one never begins"


async def test_a_disconnect_reaches_a_stream_that_followed_a_large_body() -> None:
    source, reading = FakeChunkSource(), list[bool]()

    async def app(connection: Connection) -> None:
        reading.append(connection.transport.reading_enabled)
        connection.chunk_writer.start(source, b"", b"Well")
        reading.append(connection.transport.reading_enabled)
        while (await connection.receive())["type"] != "http.disconnect":
            pass

    connection = Connection(app)
    feed(connection, POST % (300_000, b"a" * 300_000))
    await asyncio.sleep(1)
    await disconnect(connection)
    assert (reading, source.calls) == ([False, True], ["disconnect"])


@pytest.mark.parametrize(
    ("garbage", "status"),
    [(b"\x00\xff\r\n\r\n", 400), (b"GET / HTTP/9.9\r\n\r\n", 400), (request_with_header_size(9000), 431)],
)
async def test_garbage_behind_a_request_is_rejected_after_its_response(garbage: bytes, status: int) -> None:
    async def app(connection: Connection) -> None:
        connection.chunk_writer.start(connection.source, b"", b"Well")
        await asyncio.sleep(2)
        connection.chunk_writer.end(b".")

    connection = Connection(app, max_header_bytes=2000)
    feed(connection, ASK)
    await asyncio.sleep(1)
    await connection.feed(garbage)
    assert b"1\r\n.\r\n0\r\n\r\nHTTP/1.1 %d " % status in connection.written
    assert connection.transport.closed


async def test_garbage_after_a_response_is_rejected() -> None:
    connection = Connection()
    await connection.feed(ASK)
    await connection.feed(b"\x00\xff\r\n\r\n")
    assert [answer[:3] for answer in connection.written.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]
    assert connection.transport.closed


H2C_REQUEST = (
    b"POST /x HTTP/1.1\r\nhost: localhost\r\n%b: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    b"connection: Upgrade, HTTP2-Settings\r\ncontent-length: 26\r\n\r\n\r\nUpgrade: h2c is my body."
)


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
async def test_a_request_that_offers_http_2_is_answered_with_http_1(name: bytes) -> None:
    connection = Connection(echo)
    for _ in range(2):
        await connection.feed(H2C_REQUEST % name)
    assert connection.written.count(b"HTTP/1.1 200 OK") == 2
    assert connection.written.endswith(b"\r\n\r\n\r\nUpgrade: h2c is my body.")


@pytest.mark.parametrize("cut", range(1, len(H2C_REQUEST % b"Upgrade")))
async def test_an_offer_of_http_2_is_removed_wherever_its_packets_are_cut(cut: int) -> None:
    request = H2C_REQUEST % b"Upgrade"
    connection = Connection(echo)
    for _ in range(2):
        await connection.feed(request[:cut], request[cut:])
    assert connection.written.count(b"HTTP/1.1 200 OK") == 2
    assert connection.written.endswith(b"\r\n\r\n\r\nUpgrade: h2c is my body.")


@pytest.mark.parametrize("step", [1, 2, 3, 7])
async def test_an_offer_of_http_2_may_come_in_pieces(step: int) -> None:
    request = H2C_REQUEST % b"uPGRADE"
    connection = Connection(echo)
    await connection.feed(*(request[at : at + step] for at in range(0, len(request), step)))
    assert connection.written.endswith(b"\r\n\r\n\r\nUpgrade: h2c is my body.")


@pytest.mark.parametrize(
    "value", [b"h2c", b"websocket", b"h2c, websocket", b"TLS/1.0", b" " * 100 + b"h2c", b""]
)
async def test_an_offer_that_does_not_apply_is_ignored(value: bytes) -> None:
    request = H2C_REQUEST.replace(b"h2c", value, 1) % b"Upgrade"
    connection = Connection(echo)
    await connection.feed(request)
    assert connection.status == 200
    assert connection.written.endswith(b"\r\n\r\n\r\nUpgrade: h2c is my body.")


@pytest.mark.parametrize("step", [1, 50, 1000])
@pytest.mark.parametrize("first", [ASK, POST % (12, b"upgrade: h2c"), CHUNKED + b"2\r\nhi\r\n0\r\n\r\n"])
async def test_each_pipelined_request_may_offer_a_protocol(first: bytes, step: int) -> None:
    offers = H2C_REQUEST % b"upgrade"
    data = first + offers + offers + first
    connection = Connection(echo)
    await connection.feed(*(data[at : at + step] for at in range(0, len(data), step)))
    assert connection.written.count(b"HTTP/1.1 200 OK") == 4
    assert connection.written.count(b"\r\n\r\n\r\nUpgrade: h2c is my body.") == 2


async def test_bytes_behind_a_websocket_handshake_are_not_parsed_as_http(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = Connection()

    def upgrade() -> None:
        connection.protocol.connections.discard(connection.protocol)

    monkeypatch.setattr(connection.protocol, "handle_websocket_upgrade", upgrade)
    handshake = b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    await connection.feed(handshake + b"\x81\x00\nupgrade: h2c\n\n")
    assert (connection.written, connection.transport.closed) == (b"", False)


INCOMPLETE_REQUESTS = [
    b"GET /x HT",
    POST % (9, b"12345678"),
    CHUNKED + b"2\r\nhi\r\n",
    CHUNKED + b"2\r\nhi\r\n0\r\nx-field: ",
]


@pytest.mark.parametrize("start_of_request", INCOMPLETE_REQUESTS)
@pytest.mark.parametrize("later", [False, True])
async def test_a_request_that_is_not_complete_in_time_is_disconnected(
    start_of_request: bytes, later: bool
) -> None:
    connection = Connection(echo)
    if later:
        await connection.feed(POST % (2, b"hi"))
        await asyncio.sleep(KEEP_ALIVE - 1)
    start = asyncio.get_running_loop().time()
    feed(connection, start_of_request)
    await asyncio.sleep(100)
    assert connection.transport.closed_at == start + REQUEST_TIMEOUT
    await disconnect(connection)


async def test_a_trickling_request_gets_no_more_time() -> None:
    connection = Connection(echo)
    feed(connection, b"GET /x HTTP/1.1\r\nx-slow: ")
    while not connection.transport.closed:
        feed(connection, b"a")
        await asyncio.sleep(1)
    assert connection.transport.closed_at == REQUEST_TIMEOUT
    await disconnect(connection)


@pytest.mark.parametrize("idle", [(), (b"\r\n",), (b"\r\n", b"\r\n")])
async def test_a_new_connection_without_a_request_is_disconnected(idle: tuple[bytes, ...]) -> None:
    connection = Connection()
    for data in idle:
        await asyncio.sleep(1)
        feed(connection, data)
    await asyncio.sleep(100)
    assert connection.transport.closed_at == KEEP_ALIVE
    await disconnect(connection)


async def respond_early(connection: Connection) -> None:
    """Respond before the body of the request is complete."""
    await connection.start(PLAIN)
    await connection.body(b"no")


async def test_empty_lines_behind_a_response_gain_no_time() -> None:
    connection = Connection(respond_early)
    await connection.feed(ASK)
    await asyncio.sleep(1)
    feed(connection, b"\r\n")
    await asyncio.sleep(100)
    assert connection.transport.closed_at == KEEP_ALIVE
    await disconnect(connection)


@pytest.mark.parametrize("whole_request", [ASK, POST % (300_000, b"a" * 300_000)])
async def test_a_slow_response_is_not_timed_out(whole_request: bytes) -> None:
    async def app(connection: Connection) -> None:
        await read_body(connection)
        await asyncio.sleep(600)
        await connection.start(PLAIN)
        await connection.body(b"ok")

    connection = Connection(app)
    await connection.feed(whole_request)
    assert connection.written.endswith(b"ok")
    assert not connection.transport.closed
    await asyncio.sleep(100)
    assert connection.transport.closed_at == 600 + KEEP_ALIVE


async def test_an_upgraded_connection_has_no_http_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection()
    await connection.feed(ASK)
    upgraded: list[bytes] = []

    def upgrade() -> None:
        connection.protocol.connections.discard(connection.protocol)
        upgraded.append(connection.protocol.url)

    monkeypatch.setattr(connection.protocol, "handle_websocket_upgrade", upgrade)
    feed(
        connection,
        b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    )
    await asyncio.sleep(100)
    assert (upgraded, connection.transport.closed) == ([b"/ws"], False)


async def test_shutdown_closes_a_connection_with_an_incomplete_request() -> None:
    calls: list[str] = []
    connection = Connection(echo, drain=lambda: calls.append("drain"))
    feed(connection, POST % (9, b"1234"))
    await asyncio.sleep(1)
    connection.protocol.shutdown()
    assert (connection.transport.closed, calls) == (True, ["drain"])
    await disconnect(connection)


async def test_shutdown_lets_the_first_of_two_responses_end() -> None:
    async def app(connection: Connection) -> None:
        await read_body(connection)
        await asyncio.sleep(3)
        await connection.start(PLAIN)
        await connection.body(b"ok")

    connection = Connection(app)
    feed(connection, ASK + POST % (9, b"1234"))
    await asyncio.sleep(1)
    connection.protocol.shutdown()
    await connection.feed()
    assert connection.written.endswith(b"connection: close\r\n\r\nok")
    assert connection.transport.closed_at == 3.0
