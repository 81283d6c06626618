"""Upstreams in the test's loop, and gateways in front of them: one cancels agents, the other leaks them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loadtests.generate.target import Target
from loadtests.servers.upstream import Upstream, UpstreamStats


@asynccontextmanager
async def run_upstream() -> AsyncIterator[tuple[Target, UpstreamStats]]:
    """Run an upstream, and yield its target and its counts."""
    stats, connections = UpstreamStats(), set[Upstream]()

    class RegisteredUpstream(Upstream):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connections.add(self)

    server = await asyncio.get_running_loop().create_server(lambda: RegisteredUpstream(stats), "127.0.0.1", 0)
    async with server:
        yield Target("direct", server.sockets[0].getsockname()[1]), stats
        for connection in connections:
            connection.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def run_relay(agent: Target, *, leaks: bool) -> AsyncIterator[Target]:
    """Run a gateway that passes bytes on; if it leaks, it goes on reading agents whose callers have left."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        agent_reader, agent_writer = await asyncio.open_connection(agent.host, agent.port)
        downstream = asyncio.create_task(pump(agent_reader, writer))
        try:
            await pump(reader, agent_writer)
            await (asyncio.Future[None]() if leaks else asyncio.sleep(0))
        except asyncio.CancelledError:
            pass
        finally:
            downstream.cancel()
            for stream in (agent_writer, writer):
                stream.transport.abort()
            await asyncio.gather(downstream, return_exceptions=True)
            running.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Target("relay", server.sockets[0].getsockname()[1])
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes until the reader's side is closed."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionResetError:
        pass
