"""Clients that stop reading are disconnected after the send timeout, over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from tests.asgi.test_http_protocol import ASK, Connection


async def slow_response(connection: Connection) -> None:
    """A response that takes a minute."""
    connection.chunk_writer.start(connection.source, b"", b"Well")
    await asyncio.sleep(60)
    connection.chunk_writer.end(b"end")


@pytest.mark.parametrize(
    ("state", "unsent", "resumed", "calls", "closed_at"),
    [
        ({"send_timeout": 2.0}, {}, None, "disconnect", 3.0),
        ({}, {}, None, "disconnect", 31.0),
        ({"send_timeout": 0.0}, {}, None, "", 0.0),
        ({"send_timeout": 2.0}, {}, 2.9, "wake", 0.0),
        ({"send_timeout": 2.0}, {2.5: 90_000, 4.0: 80_000}, None, "disconnect", 7.0),
        ({"send_timeout": 2.0}, {2.5: 90_000, 4.0: 80_000}, 6.9, "wake", 0.0),
    ],
)
async def test_a_client_that_reads_nothing_is_disconnected(
    state: dict[str, float], unsent: dict[float, int], resumed: float | None, calls: str, closed_at: float
) -> None:
    connection = Connection(slow_response, **state)
    loop = asyncio.get_running_loop()
    connection.protocol.data_received(ASK)
    await asyncio.sleep(1)
    connection.transport.unsent_bytes = 100_000
    connection.protocol.pause_writing()
    for when, waiting in unsent.items():
        loop.call_at(when, setattr, connection.transport, "unsent_bytes", waiting)
    if resumed is not None:
        loop.call_at(resumed, connection.protocol.resume_writing)
    await asyncio.sleep(49)
    assert (connection.source.calls, connection.transport.closed_at) == ([calls] if calls else [], closed_at)
    connection.protocol.resume_writing()
    await connection.feed()


async def test_the_send_timeout_starts_anew_with_each_pause() -> None:
    connection = Connection(slow_response, send_timeout=2.0)
    connection.protocol.data_received(ASK)
    for _ in range(5):
        connection.protocol.pause_writing()
        await asyncio.sleep(1.5)
        connection.protocol.resume_writing()
    await connection.feed()
    assert not connection.transport.closed


async def test_a_paused_client_that_disconnects_leaves_no_timer() -> None:
    connection = Connection(send_timeout=2.0)
    await connection.feed(ASK)
    connection.protocol.pause_writing()
    connection.protocol.connection_lost(ConnectionResetError())
    await asyncio.sleep(3)
    assert not connection.transport.closed
