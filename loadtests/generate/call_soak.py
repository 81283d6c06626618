"""A soak test of websocket calls: some callers talk, the others are silent; it measures the cost of a turn.

    python -m loadtests.generate.call_soak --idle 500 --talking 50 --seconds 20 [--json calls.json]

It starts the gateway, on a separate core, and its upstream on 127.0.0.1, and stops them at the end. Every
call is a Retell socket, which needs no signature. A talking caller asks, hears the answer to its end,
thinks for a second and asks again. Two latencies are kept apart: the first frame of a turn, and the first
frame with words of the agent minus the wait of the upstream. Ctrl-C prints what was measured.
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
from loadtests.generate.open_loop import raise_file_limit
from loadtests.generate.signals import interrupt_on_termination
from loadtests.report.comparison import format_number
from loadtests.servers.launch import Server, free_port, process_usage, run_server, run_upstream, split_cores
from loadtests.servers.peers import NotReady
from loadtests.servers.upstream import ANSWER_MARK, decode_wait

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
THINK_SECONDS = 1.0
"""Seconds between an answer and the caller's next words."""
CONNECT_BATCH = 50
"""Calls that are opened at the same time."""


@dataclass(slots=True)
class SoakFigures:
    """The measurements of all callers, in seconds."""

    first_frame: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)
    turns: int = 0
    failed: int = 0


async def open_call(stack: AsyncExitStack, port: int, name: str) -> ClientConnection:
    """Open a call, and read the two frames that the gateway sends first.

    Raises OSError or WebSocketException.
    """
    url = f"ws://127.0.0.1:{port}/retell/{name}"
    call = await stack.enter_async_context(connect(url, compression=None, ping_interval=None))
    for _ in range(2):  # the configuration, and the empty first response
        await call.recv()
    return call


async def run_talking_caller(call: ClientConnection, figures: SoakFigures, delay: float) -> None:
    """Ask, hear the answer, think, and ask again, until cancelled. `delay` is in seconds."""
    await asyncio.sleep(delay)
    number = 0
    transcript: list[dict[str, str]] = []
    while True:
        number += 1
        transcript = [*transcript[-8:], {"role": "user", "content": f"Question {number}?"}]
        request = {"interaction_type": "response_required", "response_id": number, "transcript": transcript}
        text = await run_turn(call, figures, orjson.dumps(request).decode())
        transcript.append({"role": "agent", "content": text})
        await asyncio.sleep(THINK_SECONDS)


async def run_turn(call: ClientConnection, figures: SoakFigures, request: str) -> str:
    """Send a request, measure its answer, and return the text of the answer."""
    started = time.perf_counter()
    await call.send(request)
    text, has_first = "", False
    while True:
        frame = orjson.loads(await call.recv())
        now = time.perf_counter()
        if not has_first:
            figures.first_frame.append(now - started)
            has_first = True
        if ANSWER_MARK in frame["content"] and ANSWER_MARK not in text:
            word = frame["content"].partition(ANSWER_MARK)[2].split()[0]
            figures.added.append(now - started - decode_wait(word.encode()))
        text += str(frame["content"])
        if frame["content_complete"]:
            figures.turns += 1
            figures.failed += ANSWER_MARK not in text
            return text


async def run_silent_caller(call: ClientConnection, figures: SoakFigures, delay: float) -> None:
    """Send the platform's ping every two seconds, and nothing else, until cancelled."""
    await asyncio.sleep(delay)
    while True:
        started = time.perf_counter()
        await call.send('{"interaction_type":"ping_pong","timestamp":1}')
        await call.recv()
        figures.pings.append(time.perf_counter() - started)
        await asyncio.sleep(2.0)


async def run_calls(port: int, idle: int, talking: int, seconds: float, figures: SoakFigures) -> None:
    """Open all calls and run their callers for `seconds`. Raises the first error of a caller."""
    async with AsyncExitStack() as stack:
        calls: list[ClientConnection] = []
        while len(calls) < idle + talking:
            names = [
                f"call{number}"
                for number in range(len(calls), min(len(calls) + CONNECT_BATCH, idle + talking))
            ]
            calls += await asyncio.gather(*(open_call(stack, port, name) for name in names))
        callers = [
            asyncio.ensure_future(
                (run_talking_caller if number < talking else run_silent_caller)(
                    call, figures, number % 100 / 50
                )
            )
            for number, call in enumerate(calls)
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
    """Return a measured value in ms; NaN if there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


def format_row(name: str, values: list[float]) -> str:
    cells = [format_number(percentile(values, share)) for share in (0.5, 0.95, 0.99, 1.0)]
    return f"{name:<34}{len(values):>8}" + "".join(f"{cell:>10}" for cell in cells)


def print_report(
    figures: SoakFigures, server: Server, seconds: float, idle: int, talking: int
) -> dict[str, Any]:
    """Print the figures, and return them as raw values for JSON."""
    print(f"{idle} silent and {talking} talking calls for {seconds:.1f} s; latencies in ms")
    print(f"{'':<34}{'n':>8}" + "".join(f"{title:>10}" for title in ("p50", "p95", "p99", "max")))
    print(format_row("question to first frame", figures.first_frame))
    print(format_row("added to the agent's first words", figures.added))
    print(format_row("ping to pong", figures.pings))
    now = process_usage(server.pid)
    cpu, memory = now.cpu - server.idle_usage.cpu, (now.rss - server.idle_usage.rss) / 1e6
    per_call = memory * 1000 / max(1, idle + talking)
    print(f"turns {figures.turns}, failed {figures.failed}; CPU {cpu / seconds:.2f} of a core")
    print(f"memory {now.rss / 1e6:.0f} MB, {per_call:.0f} kB for each call")
    latencies = {"first": figures.first_frame, "added": figures.added, "pings": figures.pings}
    return {**latencies, "turns": figures.turns, "failed": figures.failed, "cpu": cpu, "rss": now.rss}


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when all turns succeeded, 1 if one failed or none ended, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        "loadtests.generate.call_soak", description="Soak the gateway with websocket calls."
    )
    parser.add_argument("--idle", type=count(0, 50_000), default=500, help="silent calls (default: 500)")
    parser.add_argument("--talking", type=count(1, 50_000), default=50, help="talking calls (default: 50)")
    parser.add_argument("--seconds", type=SECONDS, default=20.0, help="length of the test (default: 20)")
    parser.add_argument("--json", type=writable, metavar="FILE", help="write the raw values here")
    options = parser.parse_args(arguments)
    interrupt_on_termination()
    raise_file_limit()
    figures, stopped = SoakFigures(), False
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        try:
            with run_upstream(folder) as agent:
                config = folder / "voicegw.toml"
                calls = 2 * (options.idle + options.talking)
                config.write_text(CONFIG.format(port=port, upstream=agent.port, calls=calls))
                argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config)]
                with run_server(
                    argv, port, split_cores()[0], folder / "gateway.log", dict(os.environ)
                ) as pid:
                    server = Server("voicegw", port, pid, idle_usage=process_usage(pid))
                    os.sched_setaffinity(0, split_cores()[1])
                    began = time.perf_counter()
                    try:
                        uvloop.run(run_calls(port, options.idle, options.talking, options.seconds, figures))
                    except KeyboardInterrupt:
                        stopped = True
                    except (OSError, WebSocketException) as error:
                        print(f"stopped: {error or type(error).__name__}", file=sys.stderr)
                        figures.failed += 1
                    seconds = time.perf_counter() - began
                    raw = print_report(figures, server, seconds, options.idle, options.talking)
        except NotReady as error:
            print(error, file=sys.stderr)
            return 1
    if options.json:
        options.json.write_bytes(orjson.dumps(raw))
    return 130 if stopped else int(figures.failed > 0 or not figures.turns)


if __name__ == "__main__":
    sys.exit(main())
