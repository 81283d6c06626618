"""Websocket calls: wrong messages within right frames, and wrong frames, on every platform."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from struct import pack

import orjson
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from loadtests.fuzz.mutations import cut, mutate_bytes, mutate_json
from loadtests.fuzz.wire import ANSWER_TIMEOUT, Connection, closing
from voicegw.simulate.platform import Frame as Message
from voicegw.simulate.platform import SimulationSetup, WebSocketEntry
from voicegw.simulate.platforms.registry import PLATFORMS
from voicegw.simulate.script import CallScript

URLS = {
    "twilio": "/twilio/relay",
    "telnyx": "/telnyx/relay",
    "retell": "/retell",
    "speech-engine": "/elevenlabs/speech-engine",
    "realtime": "/v1/realtime",
}
"""The path of each platform's calls at a gateway with default paths."""
SCRIPT = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
INTERNAL_ERROR = 1011
"""The close code of a server that failed (RFC 6455, section 7.4.1)."""
PING_DATA = b"still there"


def platform_messages(name: str) -> tuple[str, dict[str, str], Sequence[Message]]:
    """Return the URL, the headers and the messages of one short call on a platform."""
    entry = PLATFORMS[name]
    assert isinstance(entry, WebSocketEntry)
    platform = entry.make(SCRIPT, SimulationSetup(), time.time())
    url = platform.build_url(f"ws://127.0.0.1{URLS[name]}")
    headers = dict(platform.build_headers(url))
    start, question = platform.start(reconnecting=False), platform.ask("Hello?")
    return (
        url,
        headers,
        [*start, *question, *platform.interrupt("You"), *platform.encode_malformed(), *platform.ping()],
    )


def encode_frame(random: Random, data: bytes) -> bytes:
    """Return one masked frame whose opcode, flags or length may be wrong."""
    opcode = random.choice((0, 1, 1, 1, 2, 3, 7, 8, 8, 9, 10, 11, 15))
    flags = random.choice((0x80, 0x80, 0x80, 0x00, 0xC0, 0xF0))
    length = max(0, len(data) + random.choice((0, 0, 0, 1, -1, 200)))
    size = bytes([0x80 | length]) if length < 126 else bytes([0xFE]) + pack(">H", length & 0xFFFF)
    if random.random() < 0.05:
        size = bytes([0xFF]) + pack(">Q", random.choice((0, 5, 2**31, 2**63)))
    if random.random() < 0.05:
        return bytes([flags | opcode]) + bytes([size[0] & 0x7F]) + size[1:] + data  # not masked
    return bytes([flags | opcode]) + size + bytes(4) + data  # a mask of zeros changes nothing


class WebSocketFuzzer:
    """Opens one call after the other."""

    name = "websocket"

    def __init__(self, port: int) -> None:
        self.port = port

    async def try_input(self, random: Random) -> str:
        """Send the input that the random source draws; return what the gateway did wrong, "" if nothing."""
        url, headers, messages = platform_messages(random.choice(sorted(URLS)))
        protocol = ClientProtocol(parse_uri(url))
        with closing(await Connection.open(self.port)) as connection:
            request = protocol.connect()
            request.headers.update(headers)
            protocol.send_request(request)
            await connection.send(protocol.data_to_send())
            if not await self._read_until(
                connection, protocol, lambda: protocol.state is not State.CONNECTING
            ):
                return "the handshake was not answered"
            if protocol.state is not State.OPEN:
                return f"the handshake was refused: {protocol.handshake_exc}"
            if random.random() < 0.6:
                return await self._try_messages(random, connection, protocol, messages)
            return await self._try_frames(random, connection, protocol, messages)

    async def _try_messages(
        self, random: Random, connection: Connection, protocol: ClientProtocol, messages: Sequence[Message]
    ) -> str:
        """Send wrong messages; then a ping must be answered, or the call closed."""
        for message in messages[: random.randint(1, len(messages))]:
            data = message.encode() if isinstance(message, str) else message
            protocol.send_text(
                mutate_message(random, data)
            ) if random.random() < 0.95 else protocol.send_binary(data)
        protocol.send_ping(PING_DATA)
        await connection.send(cut(random, b"".join(protocol.data_to_send())))
        pongs: list[Frame] = []

        def is_answered() -> bool:
            pongs.extend(
                e for e in protocol.events_received() if isinstance(e, Frame) and e.opcode is Opcode.PONG
            )
            return bool(pongs) or protocol.state is not State.OPEN

        if not await self._read_until(connection, protocol, is_answered):
            return "neither a pong nor a close frame came"
        return judge_close(protocol)

    async def _try_frames(
        self, random: Random, connection: Connection, protocol: ClientProtocol, messages: Sequence[Message]
    ) -> str:
        """Send wrong frames and close this side; the gateway must close the other."""
        sent = messages[: random.randint(1, len(messages))]
        data = b"".join(
            encode_frame(random, message.encode() if isinstance(message, str) else message)
            for message in sent
        )
        if random.random() < 0.3:
            data = mutate_bytes(random, data)
        await connection.send(cut(random, data * random.choice((1, 1, 1, 50))))
        connection.half_close()
        if not await self._read_until(connection, protocol, lambda: connection.is_closed):
            return f"the connection was still open {ANSWER_TIMEOUT:g} s after this side had closed it"
        return judge_close(protocol)

    async def _read_until(
        self, connection: Connection, protocol: ClientProtocol, is_done: Callable[[], bool]
    ) -> bool:
        """Read until `is_done`; return False when that takes longer than the timeout."""
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while not is_done():
            if connection.is_closed or time.monotonic() > deadline:
                return connection.is_closed
            try:
                data = await connection.read(max(0.001, deadline - time.monotonic()))
            except TimeoutError:
                return False
            with suppress(Exception):  # after an error the protocol has failed, and its state says so
                protocol.receive_data(data) if data else protocol.receive_eof()
            if protocol.state is State.OPEN:
                await connection.send(protocol.data_to_send())
        return True


def judge_close(protocol: ClientProtocol) -> str:
    """Return the flaw in how the call was closed, "" for none. Pure."""
    if protocol.close_rcvd is not None and protocol.close_rcvd.code == INTERNAL_ERROR:
        return f"closed with {INTERNAL_ERROR}: {protocol.close_rcvd.reason}"
    if protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
        return f"the gateway's frames cannot be read: {protocol.parser_exc}"
    return ""


def mutate_message(random: Random, data: bytes) -> bytes:
    """Return a message with changes: most keep the JSON whole, so that the codec behind it is reached."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data if random.random() < 0.5 else mutate_bytes(random, data)
    if random.random() < 0.3:
        return data
    return mutate_json(random, value) if random.random() < 0.85 else mutate_bytes(random, data)
