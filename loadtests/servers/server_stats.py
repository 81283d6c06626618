"""The state of a server: from the upstream's counts, the gateway's metrics, and the kernel. Linux only."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import astuple, dataclass
from math import nan

import orjson

from loadtests.generate.target import Target
from loadtests.report.results import Sample
from loadtests.servers.launch import NO_USAGE, count_open_files, process_usage
from loadtests.servers.upstream import CONTENT_LENGTH, UpstreamStats

TIMEOUT = 5.0
"""Seconds within which an answer must come."""
MAX_BODY_BYTES = 10_000_000
"""Bytes; a longer body is ignored."""
GAUGES = ("turns_running", "calls_open", "runs", "tasks")
"""The gauges of the gateway's metrics that are read, without their prefix."""


async def get(target: Target, path: str) -> bytes:
    """Return the body at `path`, over a new connection.

    Return b"" for a status other than 200, and for a body without Content-Length. Raises OSError when the
    server does not answer, not in time, or not to the end.
    """
    async with asyncio.timeout(TIMEOUT):
        try:
            reader, writer = await asyncio.open_connection(target.host, target.port, ssl=target.tls or None)
        except ConnectionError as error:
            raise ConnectionError(f"no server answers at {target.netloc}") from error
        try:
            head = f"GET {path} HTTP/1.1\r\nhost: {target.netloc}\r\n"
            writer.write(f"{head}authorization: Bearer {target.key}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = CONTENT_LENGTH.search(answer)
            if b" 200 " not in answer.partition(b"\r\n")[0] or length is None or len(length[1]) > 15:
                return b""
            return await reader.readexactly(size) if (size := int(length[1])) <= MAX_BODY_BYTES else b""
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ConnectionResetError(f"{target.netloc} broke off its answer to {path}") from error
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def fetch_stats(agent: Target) -> UpstreamStats:
    """Return the upstream's counts, without the connection of this request.

    Raises OSError when the server does not answer, or is not the upstream of the load tests.
    """
    try:
        found = UpstreamStats(**orjson.loads(await get(agent, "/stats")))
        if not all(type(count) is int for count in astuple(found)):
            raise ValueError
    except (TypeError, ValueError):
        raise ConnectionError(
            f"{agent.netloc} is not a loadtests.servers.upstream: /stats has no counts"
        ) from None
    found.connections -= 1
    return found


def parse_gauge(metrics_text: str, name: str) -> float | None:
    """Return the sum of a metric's samples in the text of `/metrics`; None if the metric is not there.

    A value that is not a number gives NaN, which passes no check.
    """
    values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", metrics_text, re.MULTILINE)
    with suppress(ValueError):
        return sum(map(float, values)) if values or f"# TYPE {name} " in metrics_text else None
    return nan


@dataclass(frozen=True, slots=True)
class ServerState:
    """The load that a server holds; None for what is not known.

    `active` and `connections` are the streams and connections that the agent counts, `peak` the most
    streams at a time so far. `turns`, `calls`, `runs` of agents and `tasks` come from the server's metrics.
    `files` (open ones), `rss` in bytes and `cpu` in seconds include its child processes.
    """

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


async def read_state(target: Target, agent: Target, pid: int | None) -> ServerState:
    """Return the state now. `pid` is the process of the target, if it is known. Raises OSError."""
    counted = await fetch_stats(agent)
    metrics = (await get(target, "/metrics")).decode(errors="replace")
    turns, calls, runs, tasks = (parse_gauge(metrics, f"voicegw_{name}") for name in GAUGES)
    files, rss, cpu = read_process(pid)
    files, rss, cpu = read_process(pid)
    return ServerState(
        counted.active, counted.connections, counted.peak, turns, calls, runs, tasks, files, rss, cpu
    )


def read_process(pid: int | None) -> tuple[int | None, int | None, float | None]:
    """Return open files, resident bytes and CPU seconds; None for each that is not known."""
    now = process_usage(pid) if pid else NO_USAGE
    return (count_open_files(pid), now.rss, now.cpu) if pid and now.rss else (None, None, None)


def take_sample(pid: int, at: float, streams: int) -> Sample:
    """Return what the server uses now."""
    now = process_usage(pid)
    return Sample(at, now.cpu, now.rss, count_open_files(pid) or 0, streams)
