"""Idle connections are closed when descriptors run low, the longest waiting first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.asgi.test_http_protocol import ASK, Connection
from tests.asgi.test_http_protocol_abuse import disconnect
from voicegw.asgi.idle_connections import MAX_RESERVE, MIN_RESERVE, IdleConnections


class Process:
    """A process with a limit of open files. Its files other than connections have the lowest descriptors."""

    def __init__(self, max_files: int, other_files: int = 10) -> None:
        self.calls: list[str] = []
        self.guard = IdleConnections(
            max_files, lambda: self.calls.append("refused"), lambda: self.calls.append("closed")
        )
        self.free = list(range(other_files, max_files))
        self.open: dict[FakeConnection, int] = {}

    def accept(self) -> FakeConnection:
        connection = FakeConnection(self)
        self.open[connection] = descriptor = self.free.pop(0)
        self.guard.admit(connection, descriptor, len(self.open))
        return connection

    def close_aborted(self) -> None:
        """Close the aborted connections, as the event loop does in its next turn."""
        for connection in [connection for connection in self.open if connection.is_aborted]:
            self.guard.lose(connection)
            self.free = sorted([*self.free, self.open.pop(connection)])


class FakeConnection:
    """A connection that is its own transport."""

    def __init__(self, process: Process) -> None:
        self.transport = self
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize("burst", [1, 5, MIN_RESERVE])
def test_idle_connections_never_use_up_the_files(burst: int) -> None:
    process = Process(120)
    for number in range(400):
        newest = process.accept()
        if not number % burst:
            process.close_aborted()
    process.close_aborted()
    assert len(process.open) <= 120 - MIN_RESERVE - 10
    assert newest in process.open
    assert set(process.calls) == {"closed"}


def test_connections_without_a_request_go_before_those_that_had_one() -> None:
    process = Process(120)
    kept, new = process.accept(), process.accept()
    process.guard.remove(kept)
    process.guard.keep(kept)
    while not process.calls:
        process.accept()
    assert (kept.is_aborted, new.is_aborted) == (False, True)


def test_a_new_connection_is_refused_when_all_others_are_busy_and_accepted_afterwards() -> None:
    process = Process(120)
    busy = []
    while not process.calls:
        busy.append(process.accept())
        process.guard.remove(busy[-1])
    assert process.calls == ["refused"]
    assert [connection.is_aborted for connection in busy] == [False] * (len(busy) - 1) + [True]
    for connection in busy[: len(busy) // 2]:
        connection.abort()
    process.close_aborted()
    process.accept()
    assert (process.calls, process.guard.max_open) == (["refused"], float("inf"))


def test_the_reserve_is_bounded() -> None:
    assert Process(1_000_000).guard.max_descriptor == 1_000_000 - MAX_RESERVE


async def test_a_connection_waits_until_its_request_is_complete_and_again_after_the_answer() -> None:
    def ignore() -> None: ...

    guard = IdleConnections(1000, ignore, ignore)
    states: list[tuple[int, int]] = []

    async def app(connection: Connection) -> None:
        states.append((len(guard.new), len(guard.kept)))
        await connection.start([(b"content-length", b"0")])
        await connection.body(b"")

    connection = Connection(app, idle_connections=guard)
    for part in (b"", ASK[:9], ASK[9:], ASK):
        states.append((len(guard.new), len(guard.kept)))
        await connection.feed(part)
    assert states == [(1, 0), (1, 0), (1, 0), (0, 0), (0, 1), (0, 0)]
    await disconnect(connection)
    assert (guard.new, guard.kept) == ({}, {})


async def test_a_refused_connection_is_aborted() -> None:
    class FullGuard(IdleConnections):
        def admit(self, connection: Any, descriptor: int, open_count: int) -> None:
            assert (descriptor, open_count) == (77, 1)
            self._abort(connection)

    connection = Connection(idle_connections=FullGuard(100, list, list))
    assert connection.transport.closed
    await disconnect(connection)
