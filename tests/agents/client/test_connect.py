"""Which address gets the connection."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvloop

from tests.agents.upstream import Upstream, wait_until
from voicegw.agents.client import connect as dial
from voicegw.agents.client.connect import connect
from voicegw.agents.client.connection import Connection

pytestmark = pytest.mark.wire


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that every name stands for, to be filled by the test."""
    addresses: list[str] = []

    async def found(*_: object) -> list[str]:
        return addresses

    monkeypatch.setattr(dial, "_resolve", found)
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


async def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(self: object, host: str, port: int, **_: object) -> list[Any]:
        addresses = ["::1", "::2", "127.0.0.1", "127.0.0.2", "::3"]
        return [(10 if ":" in address else 2, 1, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", getaddrinfo)
    assert await dial._resolve("name", 1) == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]


async def test_an_address_is_not_looked_up() -> None:
    assert await dial._resolve("::1", 1) == ["::1"]


async def test_a_refusing_address_costs_no_time(resolved: list[str]) -> None:
    resolved += ["127.0.0.3", "127.0.0.1"]
    crowd: set[Connection] = set()
    async with Upstream() as upstream:
        async with asyncio.timeout(dial.ATTEMPT_DELAY / 2):
            connection = await connect("name", upstream.port, None, crowd)
        assert crowd == {connection}
        connection.abort()
        await connection.closed


async def test_a_silent_address_loses_to_the_next_one(
    resolved: list[str], silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.02)
    resolved += ["127.0.0.2", "127.0.0.1"]
    crowd: set[Connection] = set()
    with socket.create_server(("127.0.0.1", silent)):
        connection = await connect("name", silent, None, crowd)
        assert connection.is_open
        assert crowd == {connection}
        connection.abort()
        await connection.closed


async def test_when_all_refuse_the_first_reason_is_told(resolved: list[str]) -> None:
    resolved += ["127.0.0.1", "127.0.0.2"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        await connect("name", port, None, set())


async def test_giving_up_leaves_no_connection(resolved: list[str], silent: int) -> None:
    resolved += ["127.0.0.2", "127.0.0.2"]
    crowd: set[Connection] = set()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connect("name", silent, None, crowd)
    assert crowd == set()


async def test_of_two_that_answer_together_one_is_hung_up_on(
    resolved: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved += ["127.0.0.1", "127.0.0.1"]
    both, real = asyncio.Event(), dial._connect_to_address
    asyncio.get_running_loop().call_later(0.05, both.set)

    async def together(*place: Any) -> Connection:
        connection = await real(*place)
        await both.wait()
        return connection

    monkeypatch.setattr(dial, "_connect_to_address", together)
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.01)
    crowd: set[Connection] = set()
    async with Upstream() as upstream:
        connection = await connect("name", upstream.port, None, crowd)
        await wait_until(lambda: crowd == {connection})
        assert upstream.connections == 2
        connection.abort()
        await connection.closed


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2", "127.0.0.3"]])
@pytest.mark.parametrize("steps", range(10))
def test_whoever_is_called_off_at_any_step_leaves_no_connection_behind(
    resolved: list[str], monkeypatch: pytest.MonkeyPatch, loop: Any, addresses: list[str], steps: int
) -> None:
    monkeypatch.setattr(dial, "ATTEMPT_DELAY", 0.0)
    resolved += addresses

    async def called_off(port: int, *, twice: bool) -> None:
        crowd: set[Connection] = set()
        task = asyncio.create_task(connect("name", port, None, crowd))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        if twice:
            await asyncio.sleep(0)
            task.cancel()
        found = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(found, Connection):
            found.abort()
        await wait_until(lambda: not crowd and len(asyncio.all_tasks()) == 1)

    with socket.create_server(("", 0)) as server, asyncio.Runner(loop_factory=loop) as runner:
        for twice in (False, True):
            runner.run(called_off(server.getsockname()[1], twice=twice))
