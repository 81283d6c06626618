"""A soak of websocket calls: some talk, the others are silent, and what a turn costs is measured.

    python -m loadtests.generate.call_soak --idle 500 --talking 50 --seconds 20 [--json phones.json]

Starts the gateway and its upstream itself, on 127.0.0.1, and stops them again; the gateway has a core of
its own. Every call is a Retell socket, which needs no signature. A talking caller asks, hears the answer to
its end, thinks for a second and asks again. Two latencies are told apart: the first frame of a turn, and the
first one with words of the agent's, less what the upstream really waited. Ctrl-C prints what was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from loadtests.generate.cli_types import SECONDS, count, writable
from loadtests.generate.open_loop import many_files
from loadtests.generate.signals import heed
from loadtests.report.comparison import number
from loadtests.servers.launch import Server, cores, free_port, started, upstream, used
from loadtests.servers.peers import NotReady
from loadtests.servers.upstream import MARK, waited

CONFIG = """\
[server]
port = {port}
[limits]
concurrent_calls = {calls}
concurrent_turns = {calls}
[retell]
[agents.upstream]
kind = "openai"
url = "http://127.0.0.1:{upstream}/v1"
model = "first=0.3,every=0.02,tokens=40"
ack.after = 0
"""
THINK = 1.0
"""Seconds between an answer and the caller's next words."""
AT_ONCE = 50
"""Calls that are opened at the same time."""


@dataclass(slots=True)
class Heard:
    """What the callers measured, in seconds."""

    first: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)
    turns: int = 0
    failed: int = 0


async def dial(stack: AsyncExitStack, port: int, name: str) -> ClientConnection:
    """Open a call, and take what the gateway says first."""
    url = f"ws://127.0.0.1:{port}/retell/{name}"
    phone = await stack.enter_async_context(connect(url, compression=None, ping_interval=None))
    for _ in range(2):  # the configuration, and that the caller speaks first
        await phone.recv()
    return phone


async def talk(phone: ClientConnection, heard: Heard, delay: float) -> None:
    """One caller: ask, hear, think, ask again."""
    await asyncio.sleep(delay)
    number, transcript = 0, []
    while True:
        number += 1
        transcript = [*transcript[-8:], {"role": "user", "content": f"Question {number}?"}]
        asked = {"interaction_type": "response_required", "response_id": number, "transcript": transcript}
        said = await turn(phone, heard, orjson.dumps(asked).decode())
        transcript.append({"role": "agent", "content": said})
        await asyncio.sleep(THINK)


async def turn(phone: ClientConnection, heard: Heard, asked: str) -> str:
    """One turn, from the question to the frame that says it is complete."""
    started = time.perf_counter()
    await phone.send(asked)
    said, first = "", False
    while True:
        frame = orjson.loads(await phone.recv())
        now = time.perf_counter()
        if not first:
            heard.first.append(now - started)
            first = True
        if MARK in frame["content"] and MARK not in said:
            word = frame["content"].partition(MARK)[2].split()[0]
            heard.added.append(now - started - waited(word.encode()))
        said += frame["content"]
        if frame["content_complete"]:
            heard.turns += 1
            heard.failed += MARK not in said
            return said


async def wait(phone: ClientConnection, heard: Heard, delay: float) -> None:
    """One silent call: the platform's ping every two seconds, and no more."""
    await asyncio.sleep(delay)
    while True:
        started = time.perf_counter()
        await phone.send('{"interaction_type":"ping_pong","timestamp":1}')
        await phone.recv()
        heard.pings.append(time.perf_counter() - started)
        await asyncio.sleep(2.0)


async def soak(port: int, idle: int, talking: int, seconds: float, heard: Heard) -> None:
    """All calls, for so long."""
    async with AsyncExitStack() as stack:
        phones: list[ClientConnection] = []
        while len(phones) < idle + talking:
            names = [
                f"call{number}" for number in range(len(phones), min(len(phones) + AT_ONCE, idle + talking))
            ]
            phones += await asyncio.gather(*(dial(stack, port, name) for name in names))
        callers = [
            asyncio.ensure_future((talk if number < talking else wait)(phone, heard, number % 100 / 50))
            for number, phone in enumerate(phones)
        ]
        try:
            done, _ = await asyncio.wait(callers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        finally:  # also at Ctrl-C
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
        for caller in done:
            caller.result()


def percentile(values: list[float], share: float) -> float:
    """A value that occurred, in ms; not a number if none did."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


def row(name: str, values: list[float]) -> str:
    cells = [number(percentile(values, share)) for share in (0.5, 0.95, 0.99, 1.0)]
    return f"{name:<34}{len(values):>8}" + "".join(f"{cell:>10}" for cell in cells)


def report(heard: Heard, server: Server, seconds: float, idle: int, talking: int) -> dict[str, Any]:
    print(f"{idle} silent and {talking} talking calls for {seconds:.1f} s; latencies in ms")
    print(f"{'':<34}{'n':>8}" + "".join(f"{title:>10}" for title in ("p50", "p95", "p99", "max")))
    print(row("question to first frame", heard.first))
    print(row("added to the agent's first words", heard.added))
    print(row("ping to pong", heard.pings))
    now = used(server.pid)
    cpu, memory = now.cpu - server.idle.cpu, (now.rss - server.idle.rss) / 1e6
    each = memory * 1000 / max(1, idle + talking)
    print(f"turns {heard.turns}, failed {heard.failed}; CPU {cpu / seconds:.2f} of a core")
    print(f"memory {now.rss / 1e6:.0f} MB, {each:.0f} kB for each call")
    latencies = {"first": heard.first, "added": heard.added, "pings": heard.pings}
    return {**latencies, "turns": heard.turns, "failed": heard.failed, "cpu": cpu, "rss": now.rss}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "loadtests.generate.call_soak", description="Soak the gateway with websocket calls."
    )
    parser.add_argument("--idle", type=count(0, 50_000), default=500, help="silent calls (default: 500)")
    parser.add_argument("--talking", type=count(1, 50_000), default=50, help="talking calls (default: 50)")
    parser.add_argument("--seconds", type=SECONDS, default=20.0, help="how long (default: 20)")
    parser.add_argument("--json", type=writable, metavar="FILE", help="write the raw values here")
    options = parser.parse_args(arguments)
    heed()
    many_files()
    heard, stopped = Heard(), False
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        try:
            with upstream(folder) as agent:
                config = folder / "voicegw.toml"
                calls = 2 * (options.idle + options.talking)
                config.write_text(CONFIG.format(port=port, upstream=agent.port, calls=calls))
                argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config)]
                with started(argv, port, cores()[0], folder / "gateway.log", dict(os.environ)) as pid:
                    server = Server("voicegw", port, pid, idle=used(pid))
                    os.sched_setaffinity(0, cores()[1])
                    began = time.perf_counter()
                    try:
                        uvloop.run(soak(port, options.idle, options.talking, options.seconds, heard))
                    except KeyboardInterrupt:
                        stopped = True
                    except (OSError, WebSocketException) as error:
                        print(f"stopped: {error or type(error).__name__}", file=sys.stderr)
                        heard.failed += 1
                    seconds = time.perf_counter() - began
                    raw = report(heard, server, seconds, options.idle, options.talking)
        except NotReady as error:
            print(error, file=sys.stderr)
            return 1
    if options.json:
        options.json.write_bytes(orjson.dumps(raw))
    return 130 if stopped else int(heard.failed > 0 or not heard.turns)


if __name__ == "__main__":
    sys.exit(main())
