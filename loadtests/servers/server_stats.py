"""What servers hold: by the upstream's counts, the gateway's metrics, and what the kernel knows. Linux."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from dataclasses import astuple, dataclass
from math import nan

import orjson

from loadtests.generate.target import Door
from loadtests.report.results import Sample
from loadtests.servers.launch import NOTHING, family, used
from loadtests.servers.upstream import LENGTH, Stats

PATIENCE = 5.0
"""Seconds that an answer may take."""
MOST = 10_000_000
"""Bytes; no answer that is looked at is longer."""
GAUGES = ("turns_running", "calls_open", "runs", "tasks")
"""What a gateway of ours tells of itself."""


async def get(door: Door, path: str) -> bytes:
    """What is there, over a connection of its own; b"" for anything but 200 and a plain body.

    Raises OSError when nobody answers.
    """
    async with asyncio.timeout(PATIENCE):
        try:
            reader, writer = await asyncio.open_connection(door.host, door.port, ssl=door.tls or None)
        except ConnectionError as error:
            raise ConnectionError(f"nobody answers at {door.place}") from error
        try:
            head = f"GET {path} HTTP/1.1\r\nhost: {door.place}\r\n"
            writer.write(f"{head}authorization: Bearer {door.key}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(answer)
            if b" 200 " not in answer.partition(b"\r\n")[0] or length is None or len(length[1]) > 15:
                return b""
            return await reader.readexactly(size) if (size := int(length[1])) <= MOST else b""
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ConnectionResetError(f"{door.place} gave no whole answer to {path}") from error
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def stats(agent: Door) -> Stats:
    """The upstream's counts. The connection that asks is not among those counted.

    Raises OSError when nobody answers, or somebody else.
    """
    try:
        found = Stats(**orjson.loads(await get(agent, "/stats")))
        if not all(type(count) is int for count in astuple(found)):
            raise ValueError
    except (TypeError, ValueError):
        raise ConnectionError(f"{agent.place} is no loadtests.upstream: it tells no counts") from None
    found.connections -= 1
    return found


def gauge(said: str, name: str) -> float | None:
    """The sum of a metric's samples in what a server tells of itself; None if it tells of none."""
    values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", said, re.MULTILINE)
    with suppress(ValueError):
        return sum(map(float, values)) if values or f"# TYPE {name} " in said else None
    return nan  # which passes no check


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
    files, rss, cpu = kept(pid)
    return Rest(counted.active, counted.connections, counted.peak, *gauges, files, rss, cpu)


def kept(pid: int | None) -> tuple[int | None, int | None, float | None]:
    """Open files, resident bytes and CPU seconds; None for each that nobody tells, as of one that is gone."""
    now = used(pid) if pid else NOTHING
    return (files(pid), now.rss, now.cpu) if pid and now.rss else (None, None, None)


def sample(pid: int, at: float, streams: int) -> Sample:
    """What the server uses now."""
    now = used(pid)
    return Sample(at, now.cpu, now.rss, files(pid) or 0, streams)


def files(pid: int) -> int | None:
    """Open file descriptors of a process and its children; None if another user's are among them."""
    count = 0
    for one in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            try:
                count += len(os.listdir(f"/proc/{one}/fd"))
            except PermissionError:
                return None
    return count
