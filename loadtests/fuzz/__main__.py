"""Fuzz a gateway that this command starts, with three fuzzers one after the other.

    python -m loadtests.fuzz --seed 1 --seconds 60
    python -m loadtests.fuzz --seed 1 --replay http:1234

Each input is drawn from the seed, the name of its fuzzer and its number, so `--replay` sends one input again.
The exit code is 0 when no input showed a flaw, 1 if one did, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

import uvloop

from loadtests.fuzz.agent_streams import AgentFuzzer
from loadtests.fuzz.http_requests import HttpFuzzer
from loadtests.fuzz.websocket_frames import WebSocketFuzzer
from loadtests.generate.cli_types import SECONDS, SEED, count
from loadtests.generate.open_loop import raise_file_limit
from loadtests.generate.signals import interrupt_on_termination, print_lines
from loadtests.generate.target import Target
from loadtests.report.comparison import align
from loadtests.servers.launch import free_port, process_usage, run_server, split_cores
from loadtests.servers.peers import NotReady
from loadtests.servers.server_stats import get, parse_gauge

CONFIG = """\
[server]
port = {port}
[twilio]
[telnyx]
[retell]
[elevenlabs]
[agents.receptionist]
kind = "scripted"
options = {{ first = 0, every = 0 }}
ack.after = "off"
[agents.openai]
kind = "openai"
url = "http://127.0.0.1:{agent}/v1"
{limits}
[agents.anthropic]
kind = "anthropic"
url = "http://127.0.0.1:{agent}"
model = "m"
{limits}
[agents.bedrock]
kind = "bedrock"
url = "http://127.0.0.1:{agent}"
model = "m"
region = "eu-west-1"
key_env = "VOICEGW_FUZZ_KEY"
{limits}
[agents.docker]
kind = "docker-agent"
mode = "api"
url = "http://127.0.0.1:{agent}"
{limits}
"""
LIMITS = 'first_token = 0.5\nidle = 0.5\ntotal = 5\nack.after = "off"'
"""Short timeouts, so that a stalled stream of an agent ends soon."""
MAX_REPORTED = 20
"""Flaws of a fuzzer that are printed; further ones are counted."""
SETTLE_SECONDS = 5.0
"""Seconds in which the gateway must have ended every turn and run after the last input."""
START_TIMEOUT = 60.0
"""Seconds in which the gateway must listen, on a machine that is busy, too."""
FAULT_MARKS = ("Traceback", "never awaited", "never retrieved")
"""Texts in the gateway's log that report a fault of its code."""
ARGV = [sys.executable, "-m", "voicegw", "serve", "--config"]


class Fuzzer(Protocol):
    """Sends inputs to the gateway; `try_input` returns what the gateway did wrong, "" if nothing."""

    name: str

    async def try_input(self, random: Random) -> str: ...


@dataclass(slots=True)
class FuzzRun:
    """The inputs of one fuzzer: how many in how many seconds, and the flaws that they showed.

    `growth` is the growth of the gateway's resident memory in bytes.
    """

    name: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    growth: int = 0
    flaws: list[str] = field(default_factory=list)

    def cells(self) -> list[str]:
        growth = f"{self.growth / 1e6:.0f}"
        return [
            self.name,
            str(self.seed),
            str(self.inputs),
            f"{self.seconds:.0f}",
            growth,
            str(len(self.flaws)),
        ]


class Gateway:
    """The running gateway: its port, its process and its log."""

    def __init__(self, port: int, pid: int, log: Path) -> None:
        self.port, self.pid, self.log = port, pid, log
        self.read_bytes = 0  # of the log

    def new_faults(self) -> list[str]:
        """Return the lines that report faults of the gateway, since the last call."""
        with self.log.open("rb") as file:
            file.seek(self.read_bytes)
            text = file.read()
        self.read_bytes += len(text)
        lines = text.decode(errors="replace").splitlines()
        return [line for line in lines if any(mark in line for mark in FAULT_MARKS)]

    async def unfinished(self) -> str:
        """Return the turns and runs that do not end, "" for none. Raises OSError when it does not answer."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            metrics = (await get(Target("", self.port), "/metrics")).decode()
            open_counts = {
                name: parse_gauge(metrics, f"voicegw_{name}")
                for name in ("turns_running", "runs", "calls_open")
            }
            if not any(open_counts.values()):
                return ""
            if time.monotonic() > deadline:
                return f"still open after the last input: {open_counts}"
            await asyncio.sleep(0.1)


async def run_fuzzer(fuzzer: Fuzzer, gateway: Gateway, seed: int, seconds: float, callers: int) -> FuzzRun:
    """Send inputs for `seconds` from `callers` at a time, and check the gateway after each."""
    run, began, base = FuzzRun(fuzzer.name, seed), time.monotonic(), process_usage(gateway.pid).rss

    async def send_inputs() -> None:
        while time.monotonic() - began < seconds:
            number, run.inputs = run.inputs, run.inputs + 1
            await try_one(fuzzer, gateway, run, number)

    await asyncio.gather(*(send_inputs() for _ in range(callers)))
    try:
        if flaw := await gateway.unfinished():
            run.flaws.append(flaw)
    except OSError as error:
        run.flaws.append(f"the gateway does not answer: {error}")
    run.seconds, run.growth = time.monotonic() - began, process_usage(gateway.pid).rss - base
    return run


async def try_one(fuzzer: Fuzzer, gateway: Gateway, run: FuzzRun, number: int) -> None:
    """Send one input, and add what the gateway did wrong to the run."""
    name = f"{run.name}:{number}"
    try:
        flaw = await fuzzer.try_input(Random(f"{run.seed}/{name}"))
    except OSError as error:
        flaw = f"the gateway does not accept connections: {error}"
    faults = [f"in the log at about that time: {line[:200]}" for line in gateway.new_faults()]
    run.flaws += [f"{name}: {each}" for each in [flaw, *faults] if each]


async def run_all(args: argparse.Namespace, gateway: Gateway, agent_port: int, runs: list[FuzzRun]) -> None:
    agent = AgentFuzzer(gateway.port)
    await agent.start(agent_port)
    fuzzers: list[Fuzzer] = [HttpFuzzer(gateway.port), WebSocketFuzzer(gateway.port), agent]
    if args.replay:
        wanted, _, number = args.replay.partition(":")
        runs.append(FuzzRun(wanted, args.seed, 1))
        await try_one({fuzzer.name: fuzzer for fuzzer in fuzzers}[wanted], gateway, runs[0], int(number))
        return
    for fuzzer in fuzzers:
        if args.only in ("", fuzzer.name):
            runs.append(await run_fuzzer(fuzzer, gateway, args.seed, args.seconds, args.callers))
            print_lines(format_runs(runs[-1:]))


def with_gateway(use: Callable[[Gateway, int], Awaitable[None]]) -> None:
    """Run `use` with a new gateway and the port of its agents. Raises NotReady when it does not start."""
    with tempfile.TemporaryDirectory(prefix="voicegw-fuzz-") as name:
        folder, port, agent = Path(name), free_port(), free_port()
        config = folder / "voicegw.toml"
        config.write_text(CONFIG.format(port=port, agent=agent, limits=LIMITS))
        log, env = folder / "voicegw.log", {**os.environ, "VOICEGW_FUZZ_KEY": "k"}
        with run_server([*ARGV, str(config)], port, split_cores()[0], log, env, START_TIMEOUT) as pid:

            async def main() -> None:
                await use(Gateway(port, pid, log), agent)

            uvloop.run(main())


def format_runs(runs: list[FuzzRun]) -> str:
    """Return a table of the runs, and the first flaws of each."""
    lines = [["fuzzer", "seed", "inputs", "seconds", "memory +MB", "flaws"], *(run.cells() for run in runs)]
    flaws = [flaw for run in runs for flaw in run.flaws[:MAX_REPORTED]]
    return "\n".join([*align(lines), *flaws])


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtests.fuzz", description="Fuzz a gateway that this command starts.")
    parser.add_argument("--seed", type=SEED, default=1, help="seed of every input (default: 1)")
    parser.add_argument("--seconds", type=SECONDS, default=60.0, help="seconds for each fuzzer (default: 60)")
    parser.add_argument("--callers", type=count(1, 100), default=4, help="inputs at a time (default: 4)")
    parser.add_argument("--only", choices=("http", "websocket", "agent"), default="", help="run one fuzzer")
    parser.add_argument("--replay", metavar="FUZZER:NUMBER", help="send one input again")
    args = parser.parse_args(arguments)
    name, _, number = (args.replay or "http:0").partition(":")
    if name not in ("http", "websocket", "agent") or not number.isdecimal():
        parser.error(f"--replay {args.replay}: give a fuzzer and a number, such as http:12")
    return args


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when no input showed a flaw, 1 if one did or nothing ran, 130 after Ctrl-C."""
    args = parse_options(arguments)
    interrupt_on_termination()
    raise_file_limit()
    runs: list[FuzzRun] = []
    try:
        with_gateway(lambda gateway, agent: run_all(args, gateway, agent, runs))
    except KeyboardInterrupt:
        return 130
    except NotReady as error:
        print(error, file=sys.stderr)
        return 1
    if args.replay:
        print_lines(*runs[0].flaws or ["no flaw"])
    return int(not runs or any(run.flaws for run in runs))


if __name__ == "__main__":
    sys.exit(main())
