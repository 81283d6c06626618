"""The HTTP protocol against clients that send too much, too slowly, or what nobody asked for."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.test_http_protocol import ASK, PLAIN, Ear, Line, long
from voicegw.asgi.http_protocol import REQUEST_SECONDS

POST = b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b"
CHUNKED = b"POST /x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
KEEP_ALIVE = 5
"""Seconds, uvicorn's own default."""


async def read(line: Line) -> bytes | None:
    """The body of the request, None when the client hung up instead."""
    body = bytearray()
    while True:
        message = await line.receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def echo(line: Line) -> None:
    body = await read(line)
    if body is not None:
        await line.start([(b"content-length", b"%d" % len(body))])
        await line.body(body)


async def silence(line: Line) -> None:
    """An answer that begins and goes on until the client hangs up."""
    await line.start([])
    while (await line.receive())["type"] != "http.disconnect":
        pass


async def hang_up(line: Line) -> None:
    """The client is gone; the application may finish."""
    line.socket.close()
    line.protocol.connection_lost(None)
    await line.say()


async def flood(line: Line, piece: bytes, most: int = 1_000_000) -> int:
    """Send the same piece for ever; how many bytes until the server hung up."""
    sent = 0
    while not line.socket.closed and sent < most:
        line.protocol.data_received(piece)
        sent += len(piece)
    await hang_up(line)
    return sent


def feed(line: Line, data: bytes) -> None:
    line.protocol.data_received(data)


@pytest.mark.parametrize("piece", [b"x-more: 1234\r\n", b"y"])
async def test_fields_after_the_body_have_an_end(piece: bytes) -> None:
    line = Line(echo, header_bytes=2000)
    feed(line, CHUNKED + b"2\r\nhi\r\n0\r\n" + b"x-field: ")
    assert 1900 < await flood(line, piece) < 2100
    assert line.written == b""


async def test_the_size_of_a_chunk_has_an_end() -> None:
    line = Line(echo, header_bytes=2000)
    feed(line, CHUNKED + b"2;")
    assert await flood(line, b"extension") < 2100


async def test_empty_lines_before_a_request_have_an_end() -> None:
    line = Line(header_bytes=2000)
    assert await flood(line, b"\r\n") < 2100
    assert line.error["code"] == "headers_too_large"


async def test_a_field_after_the_body_is_accepted_and_dropped() -> None:
    line = Line(echo)
    await line.say(CHUNKED + b"2\r\nhi\r\n0\r\nx-checksum: 1\r\n\r\n")
    assert line.written.endswith(b"\r\n\r\nhi")
    assert [name for name, _ in line.scope["headers"]] == [b"host", b"transfer-encoding"]
    await line.say(POST % (5, b"again"))
    assert line.written.endswith(b"\r\n\r\nagain")


@pytest.mark.parametrize("step", [1, 6, 7, 100_000])
async def test_a_body_may_come_in_chunks_of_one_byte(step: int) -> None:
    line = Line(echo, header_bytes=2000)
    request = CHUNKED + b"1\r\na\r\n" * 5000 + b"0\r\n\r\n"
    await line.say(*(request[at : at + step] for at in range(0, len(request), step)))
    assert line.written.endswith(b"\r\n\r\n" + b"a" * 5000)


async def test_a_body_in_the_same_packet_as_its_head_does_not_count_as_head() -> None:
    line = Line(echo, header_bytes=2000)
    for _ in range(3):
        await line.say(POST % (9000, b"a" * 9000))
    await line.say(long(1900))
    assert line.written.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize("whole", [True, False])
async def test_a_hang_up_behind_a_second_request_reaches_the_first(whole: bool) -> None:
    heard: list[bytes | None] = []

    async def talk(line: Line) -> None:
        heard.append(await read(line))
        heard.append(await read(line))

    line = Line(talk)
    packets = [ASK + ASK] if whole else [ASK, ASK]
    for packet in packets:
        feed(line, packet)
        await asyncio.sleep(1)
    assert line.socket.reading, "else the hang-up would be heard of too late"
    await hang_up(line)
    assert heard == [b"", None], "and the second one never begins"


async def test_a_hang_up_reaches_a_stream_that_followed_a_large_body() -> None:
    ear, reading = Ear(), list[bool]()

    async def talk(line: Line) -> None:
        reading.append(line.socket.reading)
        await line.start([])
        line.wire.join(ear)
        reading.append(line.socket.reading)
        while (await line.receive())["type"] != "http.disconnect":
            pass

    line = Line(talk)
    feed(line, POST % (300_000, b"a" * 300_000))
    await asyncio.sleep(1)
    await hang_up(line)
    assert (reading, ear.told) == ([False, True], ["hang up"])


@pytest.mark.parametrize("garbage", [b"\x00\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", long(9000)])
async def test_garbage_in_the_middle_of_an_answer_only_ends_the_connection(garbage: bytes) -> None:
    line = Line(silence, header_bytes=2000)
    feed(line, ASK)
    await asyncio.sleep(1)
    line.wire.write(b"Well")
    feed(line, garbage)
    assert line.socket.closed
    assert line.written.count(b"HTTP/") == 1
    assert line.written.endswith(b"4\r\nWell\r\n")
    await hang_up(line)


async def test_garbage_after_an_answer_is_refused() -> None:
    line = Line()
    await line.say(ASK)
    await line.say(b"\x00\xff\r\n\r\n")
    assert [answer[:3] for answer in line.written.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]
    assert line.socket.closed


OFFER = (
    b"POST /x HTTP/1.1\r\nhost: localhost\r\n%b: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    b"connection: Upgrade, HTTP2-Settings\r\ncontent-length: 26\r\n\r\n\r\nUpgrade: h2c is my body."
)


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
async def test_a_request_that_offers_http_2_is_answered_as_usual(name: bytes) -> None:
    line = Line(echo)
    for _ in range(2):
        await line.say(OFFER % name)
    assert line.written.count(b"HTTP/1.1 200 OK") == 2
    assert line.written.endswith(b"\r\n\r\n\r\nUpgrade: h2c is my body.")


SLOW = [
    b"GET /x HT",
    POST % (9, b"12345678"),
    CHUNKED + b"2\r\nhi\r\n",
    CHUNKED + b"2\r\nhi\r\n0\r\nx-field: ",
]


@pytest.mark.parametrize("begun", SLOW)
@pytest.mark.parametrize("later", [False, True])
async def test_a_request_that_does_not_come_in_time_is_hung_up_on(begun: bytes, later: bool) -> None:
    line = Line(echo)
    if later:
        await line.say(POST % (2, b"hi"))
        await asyncio.sleep(KEEP_ALIVE - 1)
    start = asyncio.get_running_loop().time()
    feed(line, begun)
    await asyncio.sleep(100)
    assert line.socket.ended == start + REQUEST_SECONDS
    await hang_up(line)


async def test_a_request_that_trickles_gets_no_longer() -> None:
    line = Line(echo)
    feed(line, b"GET /x HTTP/1.1\r\nx-slow: ")
    while not line.socket.closed:
        feed(line, b"a")
        await asyncio.sleep(1)
    assert line.socket.ended == REQUEST_SECONDS
    await hang_up(line)


@pytest.mark.parametrize("idle", [(), (b"\r\n",), (b"\r\n", b"\r\n")])
async def test_a_fresh_connection_without_a_request_is_hung_up_on(idle: tuple[bytes, ...]) -> None:
    line = Line()
    for data in idle:
        await asyncio.sleep(1)
        feed(line, data)
    await asyncio.sleep(100)
    assert line.socket.ended == KEEP_ALIVE
    await hang_up(line)


async def early(line: Line) -> None:
    """An answer that does not wait for the request's body."""
    await line.start(PLAIN)
    await line.body(b"no")


@pytest.mark.parametrize("rest", [b"\r\n", b"12345678"])
async def test_a_connection_that_rests_is_hung_up_on_whatever_came_after_the_answer(rest: bytes) -> None:
    line = Line(early)
    request = POST % (len(rest), b"") if rest.strip() else ASK
    await line.say(request)
    await asyncio.sleep(1)
    feed(line, rest)
    await asyncio.sleep(100)
    assert line.socket.ended == 1 + KEEP_ALIVE
    await hang_up(line)


@pytest.mark.parametrize("asking", [ASK, POST % (300_000, b"a" * 300_000)])
async def test_a_slow_answer_is_waited_for(asking: bytes) -> None:
    async def talk(line: Line) -> None:
        await read(line)
        await asyncio.sleep(600)
        await line.start(PLAIN)
        await line.body(b"ok")

    line = Line(talk)
    await line.say(asking)
    assert line.written.endswith(b"ok")
    assert not line.socket.closed
    await asyncio.sleep(100)
    assert line.socket.ended == 600 + KEEP_ALIVE


async def test_a_connection_that_became_a_websocket_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    await line.say(ASK)
    upgraded: list[bytes] = []

    def upgrade() -> None:
        line.protocol.connections.discard(line.protocol)
        upgraded.append(line.protocol.url)

    monkeypatch.setattr(line.protocol, "handle_websocket_upgrade", upgrade)
    feed(line, b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    await asyncio.sleep(100)
    assert (upgraded, line.socket.closed) == ([b"/ws"], False)


async def test_at_shutdown_nobody_waits_for_the_rest_of_a_request() -> None:
    told: list[str] = []
    line = Line(echo, drain=lambda: told.append("drain"))
    feed(line, POST % (9, b"1234"))
    await asyncio.sleep(1)
    line.protocol.shutdown()
    assert (line.socket.closed, told) == (True, ["drain"])
    await hang_up(line)


async def test_at_shutdown_a_second_request_does_not_end_the_answer_to_the_first() -> None:
    async def talk(line: Line) -> None:
        await read(line)
        await asyncio.sleep(3)
        await line.start(PLAIN)
        await line.body(b"ok")

    line = Line(talk)
    feed(line, ASK + POST % (9, b"1234"))
    await asyncio.sleep(1)
    line.protocol.shutdown()
    await line.say()
    assert line.written.endswith(b"connection: close\r\n\r\nok")
    assert line.socket.ended == 3.0
