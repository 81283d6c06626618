"""A gateway on a socket of this process, and a client for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from uvicorn.server import ServerState

from tests.e2e.server import LAST_CHUNK, TIMEOUT, chat_request
from tests.support.asgi import chunk_text, parse_chunks, run_lifespan
from tests.support.gateway import make_config
from voicegw.app.create import create_app
from voicegw.asgi.http_protocol import GatewayHttpProtocol
from voicegw.serving.http_server import make_uvicorn_config


class StreamedAnswer:
    """An answer that is still streaming."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader
        self.raw = b""

    @property
    def text(self) -> str:
        """The text so far."""
        complete = self.raw[: self.raw.rfind(b"\n\n") + 2]
        return "".join(map(chunk_text, parse_chunks(complete)))

    async def until(self, words: str) -> None:
        """Read until the text contains these words."""
        while words not in self.text:
            await self._more()

    async def end(self) -> str:
        """Read to the end, which must be complete. Return the text."""
        while not self.raw.endswith(LAST_CHUNK):
            await self._more()
        assert b"data: [DONE]\n\n" in self.raw
        return self.text

    async def _more(self) -> None:
        data = await self.reader.read(65_536)
        assert data, f"the gateway closed the connection after {self.raw!r}"
        self.raw += data


class LocalGateway:
    """A client of the gateway on `port`."""

    def __init__(self, port: int) -> None:
        self.port = port

    @asynccontextmanager
    async def ask(self, *messages: tuple[str, str], call: str = "c") -> AsyncIterator[StreamedAnswer]:
        """Send one turn of a call: roles and texts so far. Leaving closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = {"messages": [{"role": role, "content": text} for role, text in messages]}
        try:
            writer.write(chat_request(body, x_voicegw_call=call))
            yield StreamedAnswer(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async def say(self, *messages: tuple[str, str], call: str = "c") -> str:
        """Return the complete text of a turn's answer."""
        async with self.ask(*messages, call=call) as answer:
            return await answer.end()


@asynccontextmanager
async def served_gateway(target: str, options: dict[str, Any], **ack: Any) -> AsyncIterator[LocalGateway]:
    """Serve a gateway whose one agent is at `target`; `ack` are settings of its acknowledgements.

    Raises `TimeoutError` when the test takes too long.
    """
    section = {"kind": "python", "target": target, "options": options, "ack": {"after": "off", **ack}}
    config = make_config(agent_section=section)
    app = create_app(config)
    uvicorn_config = make_uvicorn_config(config, app)
    server, loop = ServerState(), asyncio.get_running_loop()
    uvicorn_config.load()
    async with run_lifespan(app) as state:
        listener = await loop.create_server(
            lambda: GatewayHttpProtocol(uvicorn_config, server, state, loop), "127.0.0.1", 0
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                yield LocalGateway(listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
            for connection in list(server.connections):
                connection.shutdown()
            if server.tasks:
                await asyncio.wait(server.tasks)
