"""The wait for the first word of a call, with and without `warm`: the prompt is read ahead or not.

    python -m loadtests.micro.prefix [--calls 20] [--cold 0.4] [--json FILE]

A simulated model server takes `--cold` seconds longer for a prompt whose prefix it has not read before, and
forgets an unfinished prefix when the gateway hangs up. Every call uses the Realtime protocol and another
agent with different instructions. The gateway starts first, so that nothing is read at its start. The
caller speaks some time after the call has opened. The second turn of a call shows the wait with a known
prefix.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from loadtests.generate.cli_types import count, number, writable
from loadtests.generate.signals import interrupt_on_termination
from loadtests.report.results import quantile
from loadtests.servers.launch import free_port, run_server, split_cores

FIRST_TOKEN_SECONDS = 0.05
"""Seconds that the model takes for its first word in any case."""
AGENT_CONFIG = """
[agents.agent{number}]
kind = "openai"
url = "http://127.0.0.1:{model}/v1"
model = "m"
instructions = "You are number {number}. Be brief."
warm = {warm}
ack.after = "off"
"""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Hello."},"finish_reason":null}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@dataclass(frozen=True, slots=True)
class Scenario:
    """Calls whose callers speak `pause` seconds after the start, to agents that are `warm` or not."""

    name: str
    warm: bool
    pause: float


SCENARIOS = (
    Scenario("cold", False, 1.0),
    Scenario("warm, spoken to after 1 s", True, 1.0),
    Scenario("warm, spoken to after 0.1 s", True, 0.1),
)


class PrefixModel:
    """Reads the prefix of a prompt, in `cold` seconds unless it is known, and sends a word."""

    def __init__(self, cold: float) -> None:
        self.cold = cold
        self.known_prefixes: set[bytes] = set()
        self.request_count = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; the prefix is known only if the client waits to the end."""
        try:
            prefix = prompt_prefix(await read_request(reader))
            self.request_count += 1
            wait = FIRST_TOKEN_SECONDS + (0.0 if prefix in self.known_prefixes else self.cold)
            if await is_still_connected(reader, wait):
                self.known_prefixes.add(prefix)
                writer.write(HEAD + WORD + END)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a connection that was opened ahead, and not used
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Any:
    """Return the JSON body of a request. Raises IncompleteReadError when the client hangs up."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
    return orjson.loads(await reader.readexactly(length))


def prompt_prefix(body: Any) -> bytes:
    """Return the prefix of a prompt: tools and instructions."""
    return orjson.dumps([body.get("tools"), [m for m in body["messages"] if m["role"] == "system"]])


async def is_still_connected(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Whether the gateway keeps the connection for `seconds`; it sends nothing meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


@asynccontextmanager
async def run_gateway(model: PrefixModel, calls: int, warm: bool, folder: Path) -> AsyncIterator[int]:
    """Run a gateway with an agent for each call, started before the model, and yield its port."""
    model_port, port = free_port(), free_port()
    agents = "".join(
        AGENT_CONFIG.format(number=n, model=model_port, warm=str(warm).lower()) for n in range(calls)
    )
    config = folder / "voicegw.toml"
    config.write_text(f"[server]\nport = {port}\n{agents}", "utf-8")
    argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config)]
    with run_server(argv, port, split_cores()[0], folder / "log", dict(os.environ)):
        async with connect(f"ws://127.0.0.1:{port}/v1/realtime?model=agent0") as first:
            await first.recv()  # now the start is complete
        server = await asyncio.start_server(model.answer, "127.0.0.1", model_port)
        async with server:
            yield port


async def run_call(port: int, pause: float, number: int) -> tuple[float, float]:
    """Return the seconds until the first word of the first turn, and of the second."""
    await asyncio.sleep(number * 0.05)  # callers do not come at the same moment
    async with connect(f"ws://127.0.0.1:{port}/v1/realtime?model=agent{number}") as connection:
        await asyncio.sleep(pause)
        return await run_turn(connection), await run_turn(connection)


async def run_turn(connection: ClientConnection) -> float:
    """Return the seconds until the first word of one turn."""
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}
    await connection.send(orjson.dumps({"type": "conversation.item.create", "item": message}).decode())
    started_at, first = time.perf_counter(), 0.0
    await connection.send('{"type":"response.create"}')
    async for frame in connection:
        event = orjson.loads(frame)
        if event["type"] == "response.output_text.delta" and not first:
            first = time.perf_counter() - started_at
        if event["type"] == "response.done":
            break
    assert first, "the answer had no words"
    return first


async def measure(calls: int, cold: float) -> dict[str, dict[str, Any]]:
    """Return by scenario the waits of first and second turns in seconds, and the requests to the model."""
    found: dict[str, dict[str, Any]] = {}
    for scenario in SCENARIOS:
        model = PrefixModel(cold)
        with tempfile.TemporaryDirectory() as folder:
            async with run_gateway(model, calls, scenario.warm, Path(folder)) as port:
                waits = await asyncio.gather(*map(partial(run_call, port, scenario.pause), range(calls)))
        first, second = zip(*waits, strict=True)
        found[scenario.name] = {"first": first, "second": second, "asked": model.request_count}
    return found


def print_waits(found: dict[str, dict[str, Any]]) -> None:
    print(f"{'ms to the first word':30} {'median':>7} {'p95':>7} {'2nd turn':>9} {'requests per call':>18}")
    for name, waits in found.items():
        first, second = waits["first"], waits["second"]
        times = (quantile(first, 0.5), quantile(first, 0.95), quantile(second, 0.5))
        median, late, second_turn = (1000 * seconds for seconds in times)
        print(f"{name:30} {median:7.0f} {late:7.0f} {second_turn:9.0f} {waits['asked'] / len(first):18.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=count(1, 1000), default=20, help="calls of each kind (default: 20)")
    parser.add_argument(
        "--cold", type=number(0, 60), default=0.4, help="seconds for an unknown prefix (default: 0.4)"
    )
    parser.add_argument("--json", type=writable, help="write every time to this file")
    options = parser.parse_args()
    interrupt_on_termination()
    found = asyncio.run(measure(options.calls, options.cold))
    print_waits(found)
    if options.json:
        options.json.write_bytes(orjson.dumps(found))


if __name__ == "__main__":
    main()
