"""A gateway that is served on a socket of this process, and who calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from uvicorn.server import ServerState

from tests.e2e.server import LAST, PATIENCE, asking
from tests.support.asgi import chunk_text, parse_chunks, run_lifespan
from tests.support.gateway import make_config
from voicegw.app.create import create_app
from voicegw.asgi.http_protocol import GatewayHttpProtocol
from voicegw.server import _uvicorn


class Answer:
    """A streamed answer while it comes."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.raw = b""

    @property
    def text(self) -> str:
        """What was said so far."""
        whole = self.raw[: self.raw.rfind(b"\n\n") + 2]
        return "".join(map(chunk_text, parse_chunks(whole)))

    async def until(self, words: str) -> None:
        """Listen until they are said."""
        while words not in self.text:
            await self._more()

    async def end(self) -> str:
        """Listen to the end, which must be a proper one; all that was said."""
        while not self.raw.endswith(LAST):
            await self._more()
        assert b"data: [DONE]\n\n" in self.raw
        return self.text

    async def _more(self) -> None:
        data = await self.reader.read(65_536)
        assert data, f"the gateway hung up after {self.raw!r}"
        self.raw += data


class Gateway:
    """The port of a gateway."""

    def __init__(self, port: int) -> None:
        self.port = port

    @asynccontextmanager
    async def ask(self, *said: tuple[str, str], call: str = "c") -> AsyncIterator[Answer]:
        """One turn of a call: who said what so far. Leaving hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        messages = [{"role": role, "content": text} for role, text in said]
        try:
            writer.write(asking({"messages": messages}, x_voicegw_call=call))
            yield Answer(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async def say(self, *said: tuple[str, str], call: str = "c") -> str:
        """The whole answer to a turn."""
        async with self.ask(*said, call=call) as answer:
            return await answer.end()


@asynccontextmanager
async def served(target: str, options: dict[str, Any], **ack: Any) -> AsyncIterator[Gateway]:
    """A gateway whose one agent is at `target`; `ack` is what it says while the agent is silent.

    Raises `TimeoutError` when the test takes too long.
    """
    table = {"kind": "python", "target": target, "options": options, "ack": {"after": "off", **ack}}
    config = make_config(agent_section=table)
    app = create_app(config)
    how, server, loop = _uvicorn(config, app), ServerState(), asyncio.get_running_loop()
    how.load()
    async with run_lifespan(app) as state:
        listener = await loop.create_server(
            lambda: GatewayHttpProtocol(how, server, state, loop), "127.0.0.1", 0
        )
        try:
            async with asyncio.timeout(PATIENCE):
                yield Gateway(listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
            for connection in list(server.connections):
                connection.shutdown()
            if server.tasks:
                await asyncio.wait(server.tasks)
