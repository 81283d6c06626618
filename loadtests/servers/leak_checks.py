"""Checks after a run that the server gave everything back. A figure that is not known is not checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from loadtests.generate.target import Target
from loadtests.report.results import Check
from loadtests.servers.server_stats import ServerState, fetch_stats, read_process, read_state

IDLE_CONNECTION_TIMEOUT = 60.0
"""Seconds after which the gateway has closed idle connections to the agent: it keeps them for 50."""
FILE_TOLERANCE = 8
"""Open files that may come and go, connections to the agent not counted."""
MEMORY_TOLERANCE, MEMORY_PER_STREAM = 48e6, 20e3
"""Bytes by which resident memory may have grown since the base: for a thousand calls that are remembered,
and, per stream at the peak, for memory that the allocator keeps.
"""
MAX_IDLE_RATIO = 5.0
"""The multiple of the CPU of an idle uvicorn that a server without callers may use.

The gateway uses 2.6 times as much, for its telemetry thread and its watchdog; the rest is for single timers.
"""
CHECK_INTERVAL = 0.5
"""Seconds between two readings of the state, in which the CPU at rest is measured."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The process of the server, and that of an idle uvicorn beside it; None if it is not known."""

    server: int | None = None
    idle: int | None = None


@dataclass(frozen=True, slots=True)
class IdleCpu:
    """The CPU seconds of both processes in the same window; None for one that has ended or is not known."""

    server: float | None = None
    idle: float | None = None


def compare_states(
    base: ServerState,
    now: ServerState,
    cpu: IdleCpu,
    *,
    allow_idle_connections: bool = True,
) -> list[Check]:
    """Return the checks of the state at rest, compared with the base. Pure.

    `cpu` is from a window without requests. `allow_idle_connections`: the gateway may still keep as many
    connections to the agent as there were streams at the peak.
    """
    return [*_check_streams(base, now, allow_idle_connections), *_check_process(base, now, cpu)]


def _check_streams(base: ServerState, now: ServerState, allow_idle_connections: bool) -> Iterator[Check]:
    yield _check_at_most("agent runs still alive", now.active, 0)
    allowed = max(base.connections, now.peak) if allow_idle_connections else base.connections
    yield _check_at_most("connections to the agent", now.connections, allowed)
    if is_known(base.turns, now.turns):
        yield _check_at_most("turns, by the metrics", now.turns, 0)
    if is_known(base.calls, now.calls):
        yield _check_at_most("calls on websockets, by the metrics", now.calls, base.calls or 0)
    if is_known(base.runs, now.runs):
        yield _check_at_most("agent runs not closed, by the metrics", now.runs, 0)
    if base.tasks is not None:
        yield _check_at_most("tasks, by the metrics", now.tasks, base.tasks)


def _check_process(base: ServerState, now: ServerState, cpu: IdleCpu) -> Iterator[Check]:
    if base.files is not None:
        base_files = base.files - base.connections
        found = None if now.files is None else now.files - now.connections
        yield _check_at_most("open files except those", found, base_files + FILE_TOLERANCE)
    if base.rss is not None:
        allowed = (base.rss + MEMORY_TOLERANCE + MEMORY_PER_STREAM * now.peak) / 1e6
        yield _check_at_most("resident memory, MB", now.rss and round(now.rss / 1e6), round(allowed))
    if base.cpu is not None:
        ratio = cpu.server / cpu.idle if cpu.server is not None and cpu.idle else None
        yield _check_at_most("CPU at rest, x idle uvicorn", ratio and round(ratio, 1), MAX_IDLE_RATIO)


def is_known(*figures: float | None) -> bool:
    """Whether a figure was known once: if it is not known any more, its check fails."""
    return any(figure is not None for figure in figures)


def _check_at_most(name: str, found: float | None, maximum: float) -> Check:
    wanted = f"at most {maximum:g}" if maximum else "0"
    return Check(
        name, found is not None and found <= maximum, "not known" if found is None else f"{found:g}", wanted
    )


async def wait_for_rest(
    target: Target, agent: Target, processes: Processes, base: ServerState, max_wait: float
) -> list[Check]:
    """Read the state until every check passes, for at most `max_wait` seconds; return the last checks.

    With a `max_wait` above IDLE_CONNECTION_TIMEOUT, the connections to the agent must be back at the base.

    Raises OSError when the server or the agent does not answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max_wait
    while True:
        cpu = await measure_idle_cpu(processes)
        found = compare_states(
            base,
            await read_state(target, agent, processes.server),
            cpu,
            allow_idle_connections=max_wait <= IDLE_CONNECTION_TIMEOUT,
        )
        if all(check.ok for check in found) or loop.time() >= deadline:
            return found


async def measure_idle_cpu(processes: Processes) -> IdleCpu:
    """Return the CPU that both processes use within CHECK_INTERVAL, while nobody asks them anything."""
    pids = (processes.server, processes.idle)
    before = [read_process(pid)[2] for pid in pids]
    await asyncio.sleep(CHECK_INTERVAL)
    now = [read_process(pid)[2] for pid in pids]
    return IdleCpu(*(None if a is None or b is None else b - a for a, b in zip(before, now, strict=True)))


async def check_cancelled(agent: Target, max_wait: float) -> Check:
    """Check that no run of the agent outlives its callers by more than `max_wait` seconds. Raises OSError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max_wait
    name = f"agent runs alive {max_wait:g} s after every caller had left"
    while True:
        active = (await fetch_stats(agent)).active
        if not active or loop.time() >= deadline:
            return _check_at_most(name, active, 0)
        await asyncio.sleep(0.05)
