"""The gateway in this process without sockets: a client's bytes go in, the bytes for it come out.

The agent is an OpenAI-compatible server whose answers are fed to its connection. `units` measures it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import ServerState

from voicegw.agents.client import http
from voicegw.agents.client.connection import Connection
from voicegw.app.create import create_app
from voicegw.calls import playback
from voicegw.config.load import Config
from voicegw.security.keys import hash_secret
from voicegw.telemetry.writer import TelemetryWriter

TOKENS = 20
"""Tokens of an answer, which arrive in one read."""
KEY = "budget-key-budget-key-budget-key"
SETTINGS = {
    "keys": {"budget": {"hash": f"sha256:{hash_secret(KEY).hex()}"}},
    "agents": {"agent": {"kind": "openai", "url": "http://agent.test/v1", "ack": {"after": 0}}},
    "calls": {"max_calls": 20},  # each new call forgets an old one, as on a server that runs for long
    "twilio": {"tickets": False},
}
PROMPT = "What are your opening hours on Saturday, and do I need an appointment?"


# The bytes of both sides


def encode_chunk(text: str) -> bytes:
    """Return an event of the agent's stream, as one chunk of HTTP/1.1."""
    event = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        b'[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % text.encode()
    )
    return b"%x\r\n%b\r\n" % (len(event), event)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
ANSWER = HEAD + b"".join(encode_chunk(f"word{number} ") for number in range(TOKENS)) + END
HANDSHAKE = (
    b"GET /twilio/relay HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def encode_request(number: int) -> bytes:
    """Return the first request of a new call."""
    messages = [
        {"role": "system", "content": "You are the receptionist of a dental practice. Be brief."},
        {"role": "user", "content": PROMPT},
    ]
    body = json.dumps({"model": "agent", "stream": True, "messages": messages}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\nx-voicegw-call: call-{number:06}\r\n"
        f"content-length: {len(body)}\r\n"
    )
    return head.encode() + b"\r\n" + body


def encode_frame(message: dict[str, Any]) -> bytes:
    """Return a text frame of a websocket client, masked with zeros (RFC 6455, section 5.2)."""
    data = json.dumps(message).encode()
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


# The connections


class LoopbackSocket:
    """Has the addresses and the descriptor of a connection on which nothing arrives."""

    def __init__(self) -> None:
        self.ends = socket.socketpair()

    def fileno(self) -> int:
        return self.ends[0].fileno()

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 5000

    getsockname = getpeername


class MemoryTransport(asyncio.Transport):
    """A connection whose other side is a function: it gets all that is written."""

    def __init__(self, write: Callable[[bytes], None], peer: LoopbackSocket) -> None:
        super().__init__({"socket": peer})
        self.write = write  # type: ignore[method-assign,assignment]  # spares a call that sockets do not have
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class AgentServer:
    """The agent's side: it feeds `answer` to a connection when a request was written to it."""

    def __init__(self, peer: LoopbackSocket) -> None:
        self.peer = peer
        self.answer = ANSWER
        # The connection of the last request.
        self.connection: Connection | None = None

    async def connect(
        self, host: str, port: int, tls: object, open_connections: set[Connection]
    ) -> Connection:
        """Open a connection; it replaces `voicegw.agents.client.connect.connect`."""
        connection = Connection(open_connections)

        def answer(request: bytes) -> None:
            self.connection = connection
            connection.loop.call_soon(connection.data_received, self.answer)

        connection.connection_made(MemoryTransport(answer, self.peer))
        return connection


class Client:
    """The client's side of one connection: it sends bytes, and waits for the end of the answer."""

    def __init__(self, protocol: Any, peer: LoopbackSocket, end: bytes) -> None:
        self.protocol = protocol
        # The bytes with which an answer ends.
        self.end = end
        self.write_count = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        protocol.connection_made(MemoryTransport(self.on_data, peer))

    def on_data(self, data: bytes) -> None:
        self.write_count += 1
        if self.end in data and not self.ended.done():
            self.ended.set_result(None)

    async def wait_for_writes(self, count: int) -> None:
        """Wait until the gateway has written so many times. Raises TimeoutError after 60 seconds."""
        async with asyncio.timeout(60):
            while self.write_count < count:  # noqa: ASYNC110  # an event would be set in what is measured
                await asyncio.sleep(0.001)

    async def ask(self, data: bytes) -> None:
        """Send the bytes and wait for the end of the answer."""
        self.ended = asyncio.get_running_loop().create_future()
        self.protocol.data_received(data)
        await self.ended


class Gateway:
    """The running application, and both of its sides."""

    def __init__(self, config: uvicorn.Config, state: dict[str, Any], agent: AgentServer) -> None:
        self.config = config
        self.state = state
        self.agent = agent
        self.server_state = ServerState()

    def connect(self, protocol: Any, end: bytes) -> Client:
        made = protocol(config=self.config, server_state=self.server_state, app_state=self.state)
        return Client(made, self.agent.peer, end)


class QueueOnlyWriter(TelemetryWriter):
    """Queues jobs as with a running thread, and never runs them: metrics take longer for longer times."""

    def submit(self, kind: str, job: Callable[[], None]) -> None:
        self._queue.append((kind, job))  # type: ignore[arg-type]


@asynccontextmanager
async def run_gateway() -> AsyncIterator[Gateway]:
    """Start the gateway as `voicegw serve` does, but without threads, which run at random moments.

    On websocket calls all words of an answer leave in one frame: by the clock, the number of frames would
    depend on the machine.
    """
    agent = AgentServer(LoopbackSocket())
    http.connect = agent.connect  # type: ignore[attr-defined]
    playback.GATHER_SECONDS = 3600.0
    app = create_app(Config.model_validate(SETTINGS), writer=QueueOnlyWriter(2))
    config = uvicorn.Config(
        app,
        http="voicegw.asgi.http_protocol:GatewayHttpProtocol",
        ws="voicegw.asgi.websocket_protocol:GatewayWebSocketProtocol",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        proxy_headers=False,
        log_config=None,
        lifespan="on",
    )
    config.load()
    lifespan = LifespanOn(config)
    await lifespan.startup()
    yield Gateway(config, lifespan.state, agent)
    await lifespan.shutdown()
