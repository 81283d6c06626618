"""The cost of a streaming request in HTTP clients: CPU microseconds per request and per further chunk.

    python -m loadtests.micro.clients [--rounds 5] [--requests 300] [--at-once 16] [--gap 0.002]

A bare server in a separate process answers with the requested number of chunks, `gap` seconds apart, so
that every chunk is a separate read. Each client reads the text of a short answer and of a long one; the
difference is the cost of a chunk. Rounds are interleaved and medians shown, because only ratios within one
run are comparable on a shared machine. Clients that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

import uvloop

from voicegw.agents.client.http import HttpClient
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.decoder import ChatChunkDecoder
from voicegw.events import Message, Turn
from voicegw.wire.sse import SseParser

SHORT, LONG = 10, 60
"""Tokens of a short and of a long answer."""

Ask = Callable[[int], Awaitable[int]]
"""Requests an answer with a number of tokens, and returns the number of characters that came."""


def body(tokens: int) -> dict[str, Any]:
    return {
        "model": "m",
        "max_tokens": tokens,
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
    }


# The server


def _event(delta: str, finish: str) -> bytes:
    data = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        b'[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n' % (delta.encode(), finish.encode())
    )
    return b"%x\r\n%b\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ROLE = _event('{"role":"assistant","content":""}', "null")
TOKEN = _event('{"content":"word "}', "null")
END = _event("{}", '"stop"') + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Server(asyncio.Protocol):
    """One connection of the bare server."""

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, request = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if end and len(request) >= int(length):
            self.received = b""
            self.transport.write(HEAD + ROLE)
            self.loop.call_later(self.gap, self.send_token, json.loads(request)["max_tokens"])

    def send_token(self, tokens_left: int) -> None:
        if not self.transport.is_closing():
            self.transport.write(TOKEN if tokens_left else END)
            if tokens_left:
                self.loop.call_later(self.gap, self.send_token, tokens_left - 1)


async def _serve(pipe: Pipe, gap: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Server(gap), "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve(pipe: Pipe, gap: float) -> None:
    uvloop.run(_serve(pipe, gap))


# The clients


@asynccontextmanager
async def voicegw_client(url: str) -> AsyncIterator[Ask]:
    client = HttpClient(url)

    async def ask(tokens: int) -> int:
        parser, decoder, chars = SseParser(), ChatChunkDecoder(), 0

        def feed(data: bytes) -> bool:
            nonlocal chars
            chars += sum(len(str(e)) for sse in parser.feed(data) for e in decoder.feed(sse))
            return not decoder.done

        request = json.dumps(body(tokens)).encode()
        async with client.post(
            "/v1/chat/completions", {"content-type": "application/json"}, request
        ) as response:
            await response.pump(feed)
            response.discard_rest()
        return chars

    yield ask
    await client.aclose()


@asynccontextmanager
async def openai_agent(url: str) -> AsyncIterator[Ask]:
    agent = OpenAIAgent(f"{url}/v1", key="x")
    messages = (Message("user", "Hi"),)

    async def ask(tokens: int) -> int:
        async with aclosing(agent.reply(Turn("t", messages, "m", options={"max_tokens": tokens}))) as reply:
            return sum([len(event) async for event in reply if isinstance(event, str)])

    yield ask
    await agent.aclose()


def _content_length(line: str) -> int:
    if not line.startswith("data: ") or line == "data: [DONE]":
        return 0
    return len(json.loads(line[6:])["choices"][0]["delta"].get("content") or "")


@asynccontextmanager
async def with_httpx(name: str, url: str) -> AsyncIterator[Ask]:
    async with importlib.import_module(name).AsyncClient() as client:

        async def ask(tokens: int) -> int:
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body(tokens)) as response:
                return sum([_content_length(line) async for line in response.aiter_lines()])

        yield ask


@asynccontextmanager
async def with_aiohttp(url: str) -> AsyncIterator[Ask]:
    async with importlib.import_module("aiohttp").ClientSession() as session:

        async def ask(tokens: int) -> int:
            async with session.post(f"{url}/v1/chat/completions", json=body(tokens)) as response:
                return sum([_content_length(line.decode().rstrip("\n")) async for line in response.content])

        yield ask


@asynccontextmanager
async def with_sdk(url: str) -> AsyncIterator[Ask]:
    async with importlib.import_module("openai").AsyncOpenAI(base_url=f"{url}/v1", api_key="x") as client:

        async def ask(tokens: int) -> int:
            stream = await client.chat.completions.create(**body(tokens))
            return sum([len(chunk.choices[0].delta.content or "") async for chunk in stream])

        yield ask


CLIENTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "voicegw Client+Decoder": ("voicegw", voicegw_client),
    "voicegw OpenAI agent": ("voicegw", openai_agent),
    "aiohttp": ("aiohttp", with_aiohttp),
    "httpx2": ("httpx2", partial(with_httpx, "httpx2")),
    "httpx": ("httpx", partial(with_httpx, "httpx")),
    "openai SDK": ("openai", with_sdk),
}


# The measurement


async def _measure_request(ask: Ask, tokens: int, requests: int, at_once: int) -> float:
    """Return CPU microseconds per request."""

    async def send_share() -> None:
        for _ in range(requests // at_once):
            chars = await ask(tokens)
            assert chars == tokens * len("word "), chars

    before = time.process_time()
    await asyncio.gather(*(send_share() for _ in range(at_once)))
    return (time.process_time() - before) / (requests // at_once * at_once) * 1e6


async def _measure(url: str, options: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Return the costs of a short and of a long answer, per client and round."""
    costs: dict[str, list[tuple[float, float]]] = {}
    async with AsyncExitStack() as stack:
        clients: dict[str, Ask] = {}
        for name, (package, client) in CLIENTS.items():
            if importlib.util.find_spec(package) is None:
                print(f"{name}: not installed, left out")
            else:
                clients[name] = await stack.enter_async_context(client(url))
        for number in range(options.rounds + 1):
            for name, ask in clients.items():
                short = await _measure_request(ask, SHORT, options.requests, options.at_once)
                long = await _measure_request(ask, LONG, options.requests // 3, options.at_once)
                if number:  # the first round warms up
                    costs.setdefault(name, []).append((short, long))
    return costs


def _print_costs(costs: dict[str, list[tuple[float, float]]]) -> None:
    first: tuple[float, float] | None = None
    print(f"{'client':24} {'us per 10 tokens':>17} {'ratio':>6} {'us per chunk':>13} {'ratio':>6}")
    for name, rounds in costs.items():
        request = statistics.median(short for short, _ in rounds)
        chunk = statistics.median((long - short) / (LONG - SHORT) for short, long in rounds)
        first = first or (request, chunk)
        print(f"{name:24} {request:17.0f} {request / first[0]:6.1f} {chunk:13.1f} {chunk / first[1]:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds; figures are medians over them")
    parser.add_argument("--requests", type=int, default=300, help="short answers per client and round")
    parser.add_argument("--at-once", type=int, default=16, help="requests at a time")
    parser.add_argument("--gap", type=float, default=0.002, help="seconds between two chunks")
    options = parser.parse_args()
    pipe, child_pipe = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(child_pipe, options.gap), daemon=True
    )
    server.start()
    try:
        _print_costs(uvloop.run(_measure(f"http://127.0.0.1:{pipe.recv()}", options)))
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
