"""The memory of remembered calls: kB per call while its answer may be replayed, later, and when forgotten.

    python -m loadtests.micro.memory [--calls 2000] [--turns 2] [--tools 60]

It runs the whole application in this process, called as a server would call it, without sockets. Each turn
has a system prompt, the conversation so far and metadata; each answer has WORDS deltas after an
acknowledgement. Every second line has tools in each request. "traced" are Python's own allocations, "counted"
is what the gateway counts towards `calls.max_memory`, "resident" is the growth of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import resource
import tracemalloc
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import uvloop

from loadtests.generate.cli_types import count
from loadtests.micro.turns import http_scope, run_app
from voicegw.events import Event, Turn

WORDS = 40
STATES: Mapping[str, tuple[float, int]] = {
    "replayable": (1000.0, 1_000_000),
    "remembered": (0.0, 1_000_000),
    "forgotten": (0.0, 1),
}
"""The measured states of a call, by the replay window in seconds and the limit of remembered calls."""
PROMPT = "You are the receptionist of a dental practice. Be brief, and never promise an appointment. " * 8
ANSWER = "".join(f"word{index} " for index in range(WORDS))


class Agent:
    """Sends its words at once."""

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        for number in range(WORDS):
            yield f"word{number} "

    async def warm(self, call: str | None = None) -> None: ...
    async def call_ended(self, call: str) -> None: ...
    async def aclose(self) -> None: ...


class Client:
    """One request on a plain ASGI server. `sent` is the body of the answer; a stream's is discarded."""

    def __init__(self, body: bytes) -> None:
        self.body: bytes | None = body
        self.sent = b""
        self.disconnected: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def receive(self) -> dict[str, Any]:
        if self.body is None:
            return await self.disconnected
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        self.sent = message.get("body", b"")


def make_tool(number: int) -> dict[str, Any]:
    """Return a tool of the usual size: about 700 bytes of JSON."""
    properties = {
        f"field_{index}": {"type": "string", "description": f"What the caller said about part {index}."}
        for index in range(5)
    }
    function = {
        "name": f"tool_{number}",
        "description": f"Book, change or look up an appointment of kind {number} for the caller.",
        "parameters": {"type": "object", "properties": properties, "required": list(properties)},
    }
    return {"type": "function", "function": function}


async def play_call(app: Any, call: str, turns: int, tools: list[Any]) -> None:
    messages: list[dict[str, str]] = [{"role": "system", "content": PROMPT}]
    for number in range(turns):
        messages.append({"role": "user", "content": f"This is question number {number} of the call {call}."})
        body: dict[str, Any] = {"model": "test", "stream": True, "messages": messages}
        body |= {"tools": tools} if tools else {}
        body["metadata"] = {f"key_{index}": f"{call} {index}" for index in range(10)}
        await send(app, call, "/v1/chat/completions", json.dumps(body).encode())
        messages.append({"role": "assistant", "content": ANSWER})


async def send(app: Any, call: str, path: str, body: bytes = b"") -> bytes:
    client = Client(body)
    scope = http_scope(client, call, ()) | {"extensions": {}, "path": path}  # type: ignore[arg-type]
    await app(scope | {"method": "POST" if body else "GET"}, client.receive, client.send)
    return client.sent


async def counted_bytes(app: Any) -> float:
    metrics = (await send(app, "", "/metrics")).decode()
    found = re.search(r"^voicegw_calls_memory_bytes (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def measure(state: str, calls: int, turns: int, tools: list[Any]) -> tuple[float, float, float]:
    """Return the kB per call: traced, counted by the gateway, and resident."""
    window, max_calls = STATES[state]
    settings = {
        "agents": {"test": {"kind": "scripted", "ack": {"after": 0.0}}},
        "trace": {"log": False},
        "turns": {"replay_window": window},
        "calls": {"max_calls": max_calls, "max_memory": 100_000_000_000},
    }
    async with run_app(Agent(), settings) as app:
        for number in range(20):
            await play_call(app, f"warm-up-{number}", turns, tools)
        await counted_bytes(app)
        traced, counted, resident = traced_bytes(), await counted_bytes(app), resident_bytes()
        for number in range(calls):
            await play_call(app, f"call-{number}", turns, tools)
        await asyncio.sleep(0.1)
        traced, counted = traced_bytes() - traced, await counted_bytes(app) - counted
        resident = resident_bytes() - resident
    return traced / calls / 1000, counted / calls / 1000, resident / calls / 1000


async def main(calls: int, turns: int, tools: int) -> None:
    print(f"{'kB per call':12} {'tools':>5} {'traced':>8} {'counted':>8} {'resident':>8}")
    for state in STATES:
        for number in (0, tools):
            figures = await measure(state, calls, turns, [make_tool(index) for index in range(number)])
            print(f"{state:12} {number:5}", *(f"{figure:8.1f}" for figure in figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=count(10, 1_000_000), default=2000, help="calls that are played")
    parser.add_argument("--turns", type=count(1, 100), default=2, help="turns of each call")
    parser.add_argument("--tools", type=count(1, 1000), default=60, help="tools in every second line")
    options = parser.parse_args()
    tracemalloc.start()
    uvloop.run(main(options.calls, options.turns, options.tools))
