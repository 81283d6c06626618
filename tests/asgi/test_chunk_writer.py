"""A stream writes its chunks itself, and learns at once that the client disconnected or reads again."""

from __future__ import annotations

from tests.asgi.test_http_protocol import ASK, PLAIN, Connection, FakeChunkSource
from voicegw.asgi.chunk_writer import ChunkWriter


async def test_a_chunk_writer_is_open_after_the_head_of_a_chunked_response() -> None:
    is_open: list[bool] = []

    async def app(connection: Connection) -> None:
        is_open.append(connection.chunk_writer.is_open)
        await connection.start([])
        is_open.append(connection.chunk_writer.is_open)
        connection.chunk_writer.write(b"0123456789abcdef")
        await connection.body(b"end")

    connection = Connection(app)
    await connection.feed(ASK)
    assert is_open == [False, True]
    assert connection.transport.writes[1:] == [b"10\r\n0123456789abcdef\r\n", b"3\r\nend\r\n0\r\n\r\n"]


async def test_a_chunk_writer_is_not_open_for_a_response_of_known_length() -> None:
    is_open: list[bool] = []

    async def app(connection: Connection) -> None:
        await connection.start(PLAIN)
        is_open.append(connection.chunk_writer.is_open)
        await connection.body(b"ok")

    await Connection(app).feed(ASK)
    assert is_open == [False]


async def test_corked_writes_leave_in_one_write() -> None:
    async def app(connection: Connection) -> None:
        with connection.chunk_writer.cork():
            await connection.start([])
            await connection.body(b"first", more=True)
            assert connection.transport.writes == []
        await connection.body(b"last")

    connection = Connection(app)
    await connection.feed(ASK)
    assert len(connection.transport.writes) == 2
    assert connection.transport.writes[0].endswith(b"\r\n\r\n5\r\nfirst\r\n")


async def test_a_lost_connection_closes_the_chunk_writer_and_calls_its_source_once() -> None:
    source, is_open = FakeChunkSource(), list[bool]()

    async def app(connection: Connection) -> None:
        await connection.start([])
        connection.chunk_writer.attach(source)
        connection.transport.close()
        connection.protocol.connection_lost(None)
        is_open.append(connection.chunk_writer.is_open)

    await Connection(app).feed(ASK)
    assert (source.calls, is_open) == (["disconnect"], [False])


async def test_the_source_is_woken_when_the_client_reads_again() -> None:
    source, paused = FakeChunkSource(), list[bool]()

    async def app(connection: Connection) -> None:
        await connection.start([])
        connection.chunk_writer.attach(source)
        for change in (connection.protocol.pause_writing, connection.protocol.resume_writing):
            change()
            paused.append(connection.chunk_writer.is_paused)
        await connection.body(b"end")

    await Connection(app).feed(ASK)
    assert (source.calls, paused) == (["wake"], [True, False])


async def test_a_detached_source_is_not_called() -> None:
    source = FakeChunkSource()

    async def app(connection: Connection) -> None:
        await connection.start([])
        connection.chunk_writer.attach(source)
        connection.chunk_writer.attach(None)
        await connection.body(b"end")

    connection = Connection(app)
    await connection.feed(ASK)
    connection.protocol.resume_writing()
    connection.protocol.connection_lost(ConnectionResetError())
    assert source.calls == []


async def test_each_pipelined_request_has_its_own_chunk_writer() -> None:
    writers: list[ChunkWriter] = []

    async def app(connection: Connection) -> None:
        writers.append(connection.chunk_writer)
        await connection.start([])
        connection.chunk_writer.write(b"%d" % len(writers))
        await connection.body(b"")

    connection = Connection(app)
    await connection.feed(ASK + ASK)
    assert len({id(writer.cycle) for writer in writers}) == 2
    assert [write for write in connection.transport.writes if write[:2] == b"1\r"] == [
        b"1\r\n1\r\n",
        b"1\r\n2\r\n",
    ]
