"""A stream writes its response itself, and learns at once that the client disconnected or reads again."""

from __future__ import annotations

import pytest

from tests.asgi.test_http_protocol import ASK, Connection, FakeChunkSource
from voicegw.asgi.chunk_writer import ChunkWriter


async def stream(connection: Connection) -> None:
    writer = connection.chunk_writer
    writer.start(connection.source, b"x-test: 1\r\n", b"first")
    writer.write(b"0123456789abcdef")
    writer.end(b"end")


async def test_head_and_first_chunk_leave_in_one_write_and_so_do_last_chunk_and_end() -> None:
    connection = Connection(stream)
    connection.protocol.server_state.default_headers = [(b"date", b"today")]
    await connection.feed(ASK)
    first, middle, last = connection.transport.writes
    lines = [b"date: today", b"x-test: 1", b"transfer-encoding: chunked"]
    assert first == b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b"5", b"first", b""])
    assert (middle, last) == (b"10\r\n0123456789abcdef\r\n", b"3\r\nend\r\n0\r\n\r\n")


async def test_new_default_headers_replace_the_old_ones() -> None:
    connection = Connection(stream)
    for date in (b"today", b"tomorrow"):
        connection.protocol.server_state.default_headers = [(b"date", date)]
        await connection.feed(ASK)
    assert [write.split(b"\r\n")[1] for write in connection.transport.writes[::3]] == [
        b"date: today",
        b"date: tomorrow",
    ]


@pytest.mark.parametrize("closes", [True, False])
async def test_connection_stays_open_unless_the_client_says_otherwise(closes: bool) -> None:
    connection = Connection(stream)
    await connection.feed(ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") if closes else ASK)
    assert connection.transport.closed is closes
    assert (b"connection: close\r\n" in connection.transport.writes[0]) is closes


async def test_a_lost_connection_closes_the_chunk_writer_and_calls_its_source_once() -> None:
    source, is_open = FakeChunkSource(), list[bool]()

    async def app(connection: Connection) -> None:
        is_open.append(connection.chunk_writer.is_open)
        connection.chunk_writer.start(source, b"", b"Well")
        connection.transport.close()
        connection.protocol.connection_lost(None)
        is_open.append(connection.chunk_writer.is_open)

    await Connection(app).feed(ASK)
    assert (source.calls, is_open) == (["disconnect"], [True, False])


async def test_the_source_is_woken_when_the_client_reads_again() -> None:
    source, paused = FakeChunkSource(), list[bool]()

    async def app(connection: Connection) -> None:
        connection.chunk_writer.start(source, b"", b"Well")
        for change in (connection.protocol.pause_writing, connection.protocol.resume_writing):
            change()
            paused.append(connection.chunk_writer.is_paused)
        connection.chunk_writer.end(b"end")

    await Connection(app).feed(ASK)
    assert (source.calls, paused) == (["wake"], [True, False])


@pytest.mark.parametrize("ends", [True, False])
async def test_the_source_is_not_called_after_its_end(ends: bool) -> None:
    source = FakeChunkSource()

    async def app(connection: Connection) -> None:
        connection.chunk_writer.start(source, b"", b"Well")
        if ends:
            connection.chunk_writer.end(b"end")
        else:
            connection.chunk_writer.release()
            connection.transport.close()
            connection.protocol.connection_lost(None)

    connection = Connection(app)
    await connection.feed(ASK)
    connection.protocol.resume_writing()
    assert source.calls == []


async def test_each_pipelined_request_has_its_own_chunk_writer() -> None:
    writers: list[ChunkWriter] = []

    async def app(connection: Connection) -> None:
        writers.append(connection.chunk_writer)
        connection.chunk_writer.start(connection.source, b"", b"Well")
        connection.chunk_writer.end(b"%d" % len(writers))

    connection = Connection(app)
    await connection.feed(ASK + ASK)
    assert len({id(writer.cycle) for writer in writers}) == 2
    assert connection.transport.writes[1::2] == [b"1\r\n1\r\n0\r\n\r\n", b"1\r\n2\r\n0\r\n\r\n"]
