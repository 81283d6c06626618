"""Experiments with clients that flood, smuggle, stall, or break the protocol, beside innocent callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from struct import pack

import orjson

from loadtests.chaos.callers import ask, find_flaw
from loadtests.chaos.gateway import KEYS, Gateway, request
from loadtests.chaos.lab import Lab, during, experiment

FLOOD_SECONDS = 3.0
"""Seconds for which a flood goes on, if the gateway does not close the connection."""
SWITCHED = b" 101 "
MAX_REFUSED_BYTES = 16e6
"""Bytes of a refused body that may be sent: 4 MB that the gateway drops, and the buffers of both sockets."""


def post(body: bytes, path: str = "/v1/chat/completions", **headers: str) -> bytes:
    """Return a request with the attacker's key, after which the connection closes."""
    named = {"authorization": f"Bearer {KEYS['attacker']}", "connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    head = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", *lines]
    return "\r\n".join([*head, f"content-length: {len(body)}", "", ""]).encode() + body


async def flood(gateway: Gateway, start: bytes, blob: bytes, total: int) -> int:
    """Send `start`, then `blob` again and again; return the bytes that the gateway took."""
    sent = 0
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        try:
            writer.write(start)
            if start:
                await reader.read(200)
            async with asyncio.timeout(FLOOD_SECONDS):
                while sent < total:
                    writer.write(blob)
                    await writer.drain()
                    sent += len(blob)
        finally:
            writer.transport.abort()
    return sent


def add_large_body(name: str, content: bytes) -> None:
    @experiment(name)
    async def run(lab: Lab) -> None:
        body = b'{"model":"echo","messages":[{"role":"user","content":%b}]}' % content
        async with lab.gateway(lab.config()) as gateway, lab.innocents(gateway):
            for _ in range(3):
                status, _ = await request(gateway.port, post(body))
                lab.expect(status in (200, 400, 413, 422), f"the body was answered with {status}")


add_large_body("body of 300 000 message parts", b"[" + b'"",' * 300_000 + b'"hi"]')
add_large_body("500 000 backslashes, half an emoji", b'"%b\\ud800"' % (b"\\\\" * 500_000))


@experiment("6 MB of pipelined requests", short=True)
async def run_pipelining(lab: Lab) -> None:
    blob = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
    async with lab.gateway(lab.config()) as gateway, lab.innocents(gateway):
        base = gateway.memory
        flooding = asyncio.ensure_future(flood(gateway, b"", blob, 6 << 20))
        peak = base
        while not flooding.done():
            peak = max(peak, gateway.memory)
            await asyncio.sleep(0.02)
        lab.counts.notes.append(f"peak {(peak - base) / 1e6:+.0f} MB")
        lab.expect(peak - base < lab.counts.limits.growth, f"memory grew by {(peak - base) / 1e6:.0f} MB")


@experiment("refused request whose body goes on")
async def run_refused_body(lab: Lab) -> None:
    start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with lab.gateway(lab.config()) as gateway, lab.innocents(gateway):
        taken = await flood(gateway, start, b"1\r\n \r\n" * 10_000, 1 << 30)
        lab.counts.notes.append(f"{taken / 1e6:.1f} MB taken")
        lab.expect(taken < MAX_REFUSED_BYTES, f"{taken / 1e6:.0f} MB of a refused body were read")


@asynccontextmanager
async def websocket(gateway: Gateway, path: str) -> AsyncIterator[asyncio.StreamWriter]:
    """Open a websocket with the attacker's key, without a library that would refuse to send wrong frames."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    lines = (
        *(f"GET {path} HTTP/1.1", "host: 127.0.0.1", "upgrade: websocket", "connection: upgrade"),
        *("sec-websocket-version: 13", "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="),
        *(f"authorization: Bearer {KEYS['attacker']}", "", ""),
    )
    try:
        writer.write("\r\n".join(lines).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if SWITCHED not in head:
            raise ConnectionError(f"the handshake was refused: {head[:60]!r}")
        yield writer
    finally:
        writer.transport.abort()


def frame(data: bytes, opcode: int = 1, *, is_final: bool = True) -> bytes:
    """Return a masked frame; the mask of zeros changes nothing."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0xFE]) + pack(">H", len(data))
    return bytes([(0x80 if is_final else 0) | opcode]) + size + bytes(4) + data


FLOODS = {
    "4 MB of websocket pings": frame(b"", 9) * 700_000,
    "4 MB of empty websocket fragments": frame(b"", is_final=False) + frame(b"", 0, is_final=False) * 700_000,
}


def add_websocket_flood(name: str, blob: bytes) -> None:
    @experiment(name, short="pings" in name)
    async def run(lab: Lab) -> None:
        async with lab.gateway(lab.config()) as gateway, lab.innocents(gateway):
            with suppress(OSError):
                async with (
                    websocket(gateway, "/v1/realtime?model=echo") as writer,
                    asyncio.timeout(FLOOD_SECONDS),
                ):
                    writer.write(blob)
                    await writer.drain()
            await during(1)


for flood_name, flood_blob in FLOODS.items():
    add_websocket_flood(flood_name, flood_blob)


@experiment("15 websockets with one wrong frame each")
async def run_wrong_frames(lab: Lab) -> None:
    wrong = (
        ("/v1/realtime?model=echo", frame(b"\xff\xfe")),
        ("/retell/call_1", frame(b"{}", 3)),
        ("/v1/realtime?model=echo", frame(b'{"type":"nonsense"}') + frame(b"\xff")),
    )
    async with lab.gateway(lab.config()) as gateway, lab.innocents(gateway):
        for _ in range(5):
            for path, data in wrong:
                async with websocket(gateway, path) as writer:
                    writer.write(data)
                    await asyncio.sleep(0.05)
    lab.expect("Traceback" not in gateway.log, "a client's mistake is logged with a traceback")


@experiment("200 idle connections, 120 file descriptors")
async def run_no_files(lab: Lab) -> None:
    lab.counts.limits.silence = 5.0
    async with lab.gateway(lab.config(), max_files=120) as gateway, lab.innocents(gateway):
        size = len(gateway.log)
        opened = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(200))
        )
        await during(2)
        status, answer = await ask(gateway.target, "echo")
        lab.expect(
            not find_flaw(status, answer) or gateway.log[size:].strip(),
            "callers are not answered, and the log does not say why",
        )
        for _, writer in opened:
            writer.transport.abort()
        await during(1)
        lab.expect(await gateway.status("/readyz") == 200, "the gateway is not ready again after the flood")


@experiment("one Idempotency-Key, different questions")
async def run_idempotency(lab: Lab) -> None:
    async with lab.gateway(lab.config()) as gateway, lab.innocents(gateway):
        first = asyncio.ensure_future(ask(gateway.attacker, "steady", "my bill", idempotency_key="one"))
        await during(0.3)
        others = await asyncio.gather(
            ask(gateway.attacker, "steady", "my mother's results", idempotency_key="one"),
            request(
                gateway.port,
                post(
                    orjson.dumps({"model": "steady", "input": "a third"}),
                    "/v1/responses",
                    idempotency_key="one",
                ),
            ),
        )
        await first
        lab.expect(
            [status for status, _ in others] == [422, 422], f"answered with {[s for s, _ in others]}, not 422"
        )


@experiment("HTTP/1.0 through a proxy, gateway without keys")
async def run_keyless(lab: Lab) -> None:
    body = b'{"model":"echo","messages":[{"role":"user","content":"let me in"}]}'
    head = b"POST /v1/chat/completions HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
    async with lab.gateway(lab.config(keys=False)) as gateway, lab.innocents(gateway):
        status, _ = await request(gateway.port, head % len(body) + body)
        lab.expect(status == 403, f"answered with {status}, not 403")
