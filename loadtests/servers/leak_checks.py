"""After a run: whether the server gave back all that it had taken. What nobody can tell is not checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from loadtests.generate.target import Door
from loadtests.report.results import Check
from loadtests.servers.server_stats import Rest, look, stats

KEPT = 60.0
"""Seconds after which the gateway has closed connections to the agent that rest: it keeps them for 50."""
FILES = 8
"""Open files that may come and go, connections to the agent apart."""
MEMORY, STREAM = 48e6, 20e3
"""Bytes by which resident memory may have grown since the base: for a thousand calls that are remembered,
and, for each of the most streams at a time, for what the allocator does not give back."""
IDLE = 0.05
"""The share of a core that a server without callers may use, being looked at."""
STEP = 0.5
"""Seconds between two looks."""


def checks(base: Rest, before: Rest, now: Rest, seconds: float, *, kept: bool = True) -> list[Check]:
    """What must be so at rest, against the base; `before` was that long before `now`.

    `kept`: connections to the agent may still be kept to be used again, as many as there were streams at a
    time. Pure.
    """
    return [*_streams(base, now, kept), *_process(base, before, now, seconds)]


def _streams(base: Rest, now: Rest, kept: bool) -> Iterator[Check]:
    yield _most("agent runs still alive", now.active, 0)
    allowed = max(base.connections, now.peak) if kept else base.connections
    yield _most("connections to the agent", now.connections, allowed)
    if told(base.turns, now.turns):
        yield _most("turns, by the metrics", now.turns, 0)
    if told(base.calls, now.calls):
        yield _most("calls on websockets, by the metrics", now.calls, base.calls or 0)
    if told(base.runs, now.runs):
        yield _most("runs not closed, by the metrics", now.runs, 0)
    if base.tasks is not None:
        yield _most("tasks, by the metrics", now.tasks, base.tasks)


def _process(base: Rest, before: Rest, now: Rest, seconds: float) -> Iterator[Check]:
    if base.files is not None:
        others = base.files - base.connections
        found = None if now.files is None else now.files - now.connections
        yield _most("open files but those", found, others + FILES)
    if base.rss is not None:
        allowed = (base.rss + MEMORY + STREAM * now.peak) / 1e6
        yield _most("resident memory, MB", now.rss and round(now.rss / 1e6), round(allowed))
    if base.cpu is not None:
        share = (now.cpu - before.cpu) / seconds if now.cpu is not None and before.cpu is not None else None
        yield _most("CPU at rest, % of a core", share and round(share * 100, 1), IDLE * 100)


def told(*figures: float | None) -> bool:
    """Whether a figure was known at all: one that is not told any more fails its check."""
    return any(figure is not None for figure in figures)


def _most(name: str, found: float | None, most: float) -> Check:
    wanted = f"at most {most:g}" if most else "0"
    return Check(
        name, found is not None and found <= most, "not told" if found is None else f"{found:g}", wanted
    )


async def settle(door: Door, agent: Door, pid: int | None, base: Rest, wait: float) -> list[Check]:
    """Look until everything is as it should be, for so many seconds at most; the last that was found.

    With more than KEPT seconds, connections to the agent must be given back, too.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    before = await look(door, agent, pid)
    while True:
        looked = loop.time()
        await asyncio.sleep(STEP)
        now = await look(door, agent, pid)
        found = checks(base, before, now, loop.time() - looked, kept=wait <= KEPT)
        if all(check.ok for check in found) or loop.time() >= until:
            return found
        before = now


async def cancelled(agent: Door, wait: float) -> Check:
    """Whether no run of the agent's outlives its callers by more than so many seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait
    name = f"agent runs alive {wait:g} s after every caller had left"
    while True:
        active = (await stats(agent)).active
        if not active or loop.time() >= until:
            return _most(name, active, 0)
        await asyncio.sleep(0.05)
