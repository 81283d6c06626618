"""Connections to one of several addresses."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvloop

from tests.agents.upstream import Upstream, wait_until
from voicegw.agents.client import connect as connect_module
from voicegw.agents.client.connect import connect
from voicegw.agents.client.connection import Connection

pytestmark = pytest.mark.wire


@pytest.fixture
def addresses_of_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of every name; the test fills the list."""
    addresses: list[str] = []

    async def found(*_: object) -> list[str]:
        return addresses

    monkeypatch.setattr(connect_module, "_resolve", found)
    return addresses


@pytest.fixture
def silent() -> Any:
    """An address whose connections neither succeed nor fail: its backlog is full."""
    with socket.create_server(("127.0.0.2", 0), backlog=0) as server:
        full = [socket.socket() for _ in range(4)]
        for each in full:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for each in full:
            each.close()


async def test_resolved_addresses_alternate_between_families(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(self: object, host: str, port: int, **_: object) -> list[Any]:
        addresses = ["::1", "::2", "127.0.0.1", "127.0.0.2", "::3"]
        return [(10 if ":" in address else 2, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", getaddrinfo)
    assert await connect_module._resolve("name", 1) == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]


async def test_ip_address_is_not_resolved() -> None:
    assert await connect_module._resolve("::1", 1) == ["::1"]


async def test_refusal_starts_the_next_address_at_once(addresses_of_names: list[str]) -> None:
    addresses_of_names += ["127.0.0.3", "127.0.0.1"]
    open_connections: set[Connection] = set()
    async with Upstream() as upstream:
        async with asyncio.timeout(connect_module.ATTEMPT_DELAY / 2):
            connection = await connect("name", upstream.port, None, open_connections)
        assert open_connections == {connection}
        connection.abort()
        await connection.closed


async def test_silent_address_loses_to_the_next_one(
    addresses_of_names: list[str], silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect_module, "ATTEMPT_DELAY", 0.02)
    addresses_of_names += ["127.0.0.2", "127.0.0.1"]
    open_connections: set[Connection] = set()
    with socket.create_server(("127.0.0.1", silent)):
        connection = await connect("name", silent, None, open_connections)
        assert connection.is_open
        assert open_connections == {connection}
        connection.abort()
        await connection.closed


async def test_error_of_the_first_address_is_raised_when_all_refuse(addresses_of_names: list[str]) -> None:
    addresses_of_names += ["127.0.0.1", "127.0.0.2"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        await connect("name", port, None, set())


async def test_cancelled_connect_leaves_no_connection(addresses_of_names: list[str], silent: int) -> None:
    addresses_of_names += ["127.0.0.2", "127.0.0.2"]
    open_connections: set[Connection] = set()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connect("name", silent, None, open_connections)
    assert open_connections == set()


async def test_second_of_two_simultaneous_connections_is_closed(
    addresses_of_names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses_of_names += ["127.0.0.1", "127.0.0.1"]
    both, real = asyncio.Event(), connect_module._connect_to_address
    asyncio.get_running_loop().call_later(0.05, both.set)

    async def wait_for_both(*place: Any) -> Connection:
        connection = await real(*place)
        await both.wait()
        return connection

    monkeypatch.setattr(connect_module, "_connect_to_address", wait_for_both)
    monkeypatch.setattr(connect_module, "ATTEMPT_DELAY", 0.01)
    open_connections: set[Connection] = set()
    async with Upstream() as upstream:
        connection = await connect("name", upstream.port, None, open_connections)
        await wait_until(lambda: open_connections == {connection})
        assert upstream.connections == 2
        connection.abort()
        await connection.closed


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2", "127.0.0.3"]])
@pytest.mark.parametrize("steps", range(10))
def test_cancellation_at_any_step_leaves_no_connection(
    addresses_of_names: list[str],
    monkeypatch: pytest.MonkeyPatch,
    loop: Any,
    addresses: list[str],
    steps: int,
) -> None:
    monkeypatch.setattr(connect_module, "ATTEMPT_DELAY", 0.0)
    addresses_of_names += addresses

    async def connect_and_cancel(port: int, *, twice: bool) -> None:
        open_connections: set[Connection] = set()
        task = asyncio.create_task(connect("name", port, None, open_connections))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        if twice:
            await asyncio.sleep(0)
            task.cancel()
        found = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(found, Connection):
            found.abort()
        await wait_until(lambda: not open_connections and len(asyncio.all_tasks()) == 1)

    with socket.create_server(("", 0)) as server, asyncio.Runner(loop_factory=loop) as runner:
        for twice in (False, True):
            runner.run(connect_and_cancel(server.getsockname()[1], twice=twice))
