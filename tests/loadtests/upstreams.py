"""Upstreams in the test's own loop, and gateways before them: one lets go of agents, the other does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loadtests.generate.target import Target
from loadtests.servers.upstream import UpstreamStats, Upstream


@asynccontextmanager
async def run_upstream() -> AsyncIterator[tuple[Target, UpstreamStats]]:
    """An upstream and its counts."""
    stats, known = UpstreamStats(), set[Upstream]()

    class Noted(Upstream):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            known.add(self)

    server = await asyncio.get_running_loop().create_server(lambda: Noted(stats), "127.0.0.1", 0)
    async with server:
        yield Target("direct", server.sockets[0].getsockname()[1]), stats
        for one in known:
            one.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def run_relay(agent: Target, *, leaks: bool) -> AsyncIterator[Target]:
    """A gateway that passes bytes on; one that leaks goes on listening to agents whose callers have left."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = asyncio.current_task()
        assert here is not None
        running.add(here)
        theirs, ours = await asyncio.open_connection(agent.host, agent.port)
        down = asyncio.create_task(pump(theirs, writer))
        try:
            await pump(reader, ours)
            await (asyncio.Future[None]() if leaks else asyncio.sleep(0))
        except asyncio.CancelledError:
            pass
        finally:
            down.cancel()
            for end in (ours, writer):
                end.transport.abort()
            await asyncio.gather(down, return_exceptions=True)
            running.discard(here)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Target("relay", server.sockets[0].getsockname()[1])
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the reader's side is closed."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionResetError:
        pass
