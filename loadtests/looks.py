"""What servers hold: by the upstream's counts, the gateway's metrics, and what the kernel knows. Linux."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from loadtests.doors import Door
from loadtests.results import Sample
from loadtests.targets import used
from loadtests.upstream import LENGTH, Stats

PATIENCE = 5.0
"""Seconds that an answer may take."""
GAUGES = ("turns_running", "calls_open", "runs", "tasks")
"""What a gateway of ours tells of itself."""


async def get(door: Door, path: str) -> bytes:
    """What is there, over a connection of its own; b"" for anything but 200 and a plain body.

    Raises OSError when nobody answers.
    """
    async with asyncio.timeout(PATIENCE):
        try:
            reader, writer = await asyncio.open_connection(door.host, door.port, ssl=door.tls or None)
        except OSError as error:
            raise ConnectionError(f"nobody answers at {door.host}:{door.port}: {error}") from error
        try:
            head = f"GET {path} HTTP/1.1\r\nhost: {door.host}:{door.port}\r\n"
            writer.write(f"{head}authorization: Bearer {door.key}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(answer)
            if b" 200 " not in answer.partition(b"\r\n")[0] or length is None:
                return b""
            return await reader.readexactly(int(length[1]))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"{path} was cut") from error
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def stats(agent: Door) -> Stats:
    """The upstream's counts. The connection that asks is not among those counted."""
    found = Stats(**orjson.loads(await get(agent, "/stats")))
    found.connections -= 1
    return found


def gauge(said: str, name: str) -> float | None:
    """The sum of a metric's samples in what a server tells of itself; None if it tells of none."""
    values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", said, re.MULTILINE)
    return sum(map(float, values)) if values or f"# TYPE {name} " in said else None


@dataclass(frozen=True, slots=True)
class Rest:
    """What a server holds: streams and connections at the agent's (`peak`: the most streams so far), turns,
    calls, runs of agents and tasks by its own metrics, open files and resident bytes with its children, CPU
    seconds so far. None is what nobody tells."""

    active: int
    connections: int
    peak: int = 0
    turns: float | None = None
    calls: float | None = None
    runs: float | None = None
    tasks: float | None = None
    files: int | None = None
    rss: int | None = None
    cpu: float | None = None


async def look(door: Door, agent: Door, pid: int | None) -> Rest:
    counted = await stats(agent)
    said = (await get(door, "/metrics")).decode(errors="replace")
    gauges = [gauge(said, f"voicegw_{name}") for name in GAUGES]
    rest = (files(pid), *reversed(used(pid))) if pid else (None, None, None)
    return Rest(counted.active, counted.connections, counted.peak, *gauges, *rest)


def sample(pid: int, at: float, streams: int) -> Sample:
    """What the server uses now."""
    now = used(pid)
    return Sample(at, now.cpu, now.rss, files(pid), streams)


def files(pid: int) -> int:
    """Open file descriptors of a process and its children; 0 of one that is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = " ".join((task / "children").read_text() for task in tasks).split()
        return len(os.listdir(f"/proc/{pid}/fd")) + sum(files(int(child)) for child in children)
    return 0
