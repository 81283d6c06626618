"""What callers do in a benchmark, and what one such load of one server brings and costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

import uvloop

from loadtests.generate import closed_loop as voice
from loadtests.generate.streams import Load, figures, record
from loadtests.report.results import Run
from loadtests.servers.launch import Server, Used

HELD = 50.0
"""S3: a target holds so many streams while the 99th percentile of what it adds is below (milliseconds)."""
OPENING = 400.0
"""Scenario "open": streams opened per second."""
LOOK = 0.5
"""Seconds between two looks at what a target uses."""
SETTLE = 10.0
"""Seconds that a target may go on working after a load before the next begins all the same."""

Row: TypeAlias = dict[str, Any]
"""One load of one target in one round: its figures and what it cost."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """So many callers at a time, all asking for this model; with several steps, as many as are held.

    `idle` streams are opened one after another, say nothing for a while and end: what they cost is memory.
    They are measured in the first round only, while the servers are fresh.
    """

    model: str
    steps: tuple[int, ...]
    idle: bool = False

    def load(self, callers: int, seconds: float) -> tuple[str, float]:
        """The model to ask for and the seconds in which new streams begin."""
        opening = callers / OPENING + 0.5
        return (f"first={opening + 0.5}", opening) if self.idle else (self.model, seconds)


SCENARIOS = {
    "open": Scenario("", (100, 500, 1000, 2000), idle=True),
    "S1": Scenario("quick", (1,)),
    "S2": Scenario("voice", (100,)),
    "S3": Scenario("voice", (100, 200, 500, 1000, 2000)),
    "S5": Scenario("burst", (64,)),
}


async def watched(load: Coroutine[Any, Any, Load], look: Callable[[], None]) -> Load:
    """The load, with a look twice a second meanwhile."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(LOOK)
            look()

    watching = asyncio.create_task(watch())
    try:
        return await load
    finally:
        watching.cancel()


def settled(server: Server) -> None:
    """Wait until the server is done with what its last load left behind, within bounds."""
    until, before = time.monotonic() + SETTLE, server.used().cpu
    while time.monotonic() < until:
        time.sleep(0.2)
        now = server.used().cpu
        if now - before < 0.02:
            return
        before = now


def opened(load: Load, at: float) -> int:
    """How many streams had brought their first chunk by then, and had not ended."""
    return sum(s.at + s.first_chunk <= at for s in load.streams) - sum(s.at + s.done <= at for s in load.good)


def measure(server: Server, driver: Server, scenario: Scenario, callers: int, run: Run) -> Row:
    """One load, with its raw times added to the run.

    Times in ms, `cpu` in seconds per 1000 streams, memory in MB, `driver` as share of a core;
    `per_stream` is the memory of one open stream in kB, by those `open`, if nearly all had begun in time.
    """
    marks: list[tuple[Used, float]] = []
    model, seconds = scenario.load(callers, run.seconds)
    run.seconds, load = seconds, Load()

    def look() -> None:
        if marks:  # not before all are connected
            at = time.perf_counter() - load.begun if load.begun else 0.0
            run.samples.append(server.sample(at, load.open))

    def meter() -> None:
        marks.append((server.used(), driver.used().cpu + time.process_time()))
        look()

    settled(server)
    uvloop.run(
        watched(
            voice.run(server.port, model, callers, seconds, server.key, meter, server.headers, load), look
        )
    )
    record(run, load)
    row: Row = {**figures(load), "why": run.failed}
    if len(marks) == 3:  # the time may have been too short for a look in the middle
        (before, busy), (full, _), (after, busier) = marks
        row["driver"] = (busier - busy) / load.seconds
        if server is not driver and after.rss:  # it may have died
            row["cpu"] = (after.cpu - before.cpu) / max(row["streams"], 1) * 1e3
            row |= {"rss_idle": server.idle.rss / 1e6, "rss": full.rss / 1e6}
            if scenario.idle and (count := opened(load, seconds)) > callers * 0.9:
                row |= {"open": count, "per_stream": (full.rss - server.idle.rss) / 1e3 / count}
    for sample in run.samples:
        sample.cpu -= marks[0][0].cpu
    return row
