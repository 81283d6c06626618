"""The scenarios of the benchmark, and the measurement of one load on one server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

import uvloop

from loadtests.generate import closed_loop
from loadtests.generate.streams import Load, compute_figures, record_streams
from loadtests.report.results import Run
from loadtests.servers.launch import ResourceUsage, Server

MAX_HELD_ADDED = 50.0
"""Milliseconds. In S3, a target holds its streams while the 99th percentile of its added time is below."""
OPEN_RATE = 400.0
"""Scenario "open": streams opened per second."""
SAMPLE_INTERVAL = 0.5
"""Seconds between two samples of a target's resources."""
SETTLE_TIMEOUT = 10.0
"""Seconds that a target may go on working after a load; then the next load starts anyway."""

Row: TypeAlias = dict[str, Any]
"""The figures and the cost of one load on one target in one round."""


@dataclass(frozen=True, slots=True)
class BenchScenario:
    """Callers at a time, all requesting this model; `steps` are the numbers of callers.

    `idle` streams are opened one after another, say nothing for a while and end: their cost is memory. They
    are measured in the first round only, while the servers are fresh.
    """

    model: str
    steps: tuple[int, ...]
    idle: bool = False

    def model_and_seconds(self, callers: int, seconds: float) -> tuple[str, float]:
        """Return the model to request, and the seconds in which new streams begin."""
        opening = callers / OPEN_RATE + 0.5
        return (f"first={opening + 0.5}", opening) if self.idle else (self.model, seconds)


SCENARIOS = {
    "open": BenchScenario("", (100, 500, 1000, 2000), idle=True),
    "S1": BenchScenario("quick", (1,)),
    "S2": BenchScenario("voice", (100,)),
    "S3": BenchScenario("voice", (100, 200, 500, 1000, 2000)),
    "S5": BenchScenario("burst", (64,)),
}


async def sample_during(load: Coroutine[Any, Any, Load], take_sample: Callable[[], None]) -> Load:
    """Run a load, and call `take_sample` every SAMPLE_INTERVAL seconds meanwhile."""

    async def sample_regularly() -> None:
        while True:
            await asyncio.sleep(SAMPLE_INTERVAL)
            take_sample()

    sampling = asyncio.create_task(sample_regularly())
    try:
        return await load
    finally:
        sampling.cancel()


def wait_until_idle(server: Server) -> None:
    """Wait until the server has finished the work of its last load, at most SETTLE_TIMEOUT seconds."""
    until, before = time.monotonic() + SETTLE_TIMEOUT, server.usage().cpu
    while time.monotonic() < until:
        time.sleep(0.2)
        now = server.usage().cpu
        if now - before < 0.02:
            return
        before = now


def count_open(load: Load, at: float) -> int:
    """Return how many streams had brought their first chunk by `at`, and had not ended."""
    return sum(s.at + s.first_chunk <= at for s in load.streams) - sum(
        s.at + s.done <= at for s in load.succeeded
    )


def measure(server: Server, driver: Server, scenario: BenchScenario, callers: int, run: Run) -> Row:
    """Run one load, add its raw times to the run, and return its row.

    Times are in ms, `cpu` in seconds per 1000 streams, memory in MB, `driver` as share of a core.
    `per_stream` is the memory in kB of one of the `open` streams; it is there if nearly all had begun in
    time.
    """
    checkpoints: list[tuple[ResourceUsage, float]] = []
    model, seconds = scenario.model_and_seconds(callers, run.seconds)
    run.seconds, load = seconds, Load()

    def take_sample() -> None:
        if checkpoints:  # all callers are connected
            at = time.perf_counter() - load.started_at if load.started_at else 0.0
            run.samples.append(server.sample(at, load.open_streams))

    def checkpoint() -> None:
        checkpoints.append((server.usage(), driver.usage().cpu + time.process_time()))
        take_sample()

    wait_until_idle(server)
    uvloop.run(
        sample_during(
            closed_loop.run(
                server.port, model, callers, seconds, server.key, checkpoint, server.headers, load
            ),
            take_sample,
        )
    )
    record_streams(run, load)
    row: Row = {**compute_figures(load), "why": run.failed}
    if len(checkpoints) == 3:  # a very short load has no checkpoint in the middle
        (before, busy), (full, _), (after, busier) = checkpoints
        row["driver"] = (busier - busy) / load.seconds
        if server is not driver and after.rss:  # rss is 0 if the server died
            row["cpu"] = (after.cpu - before.cpu) / max(row["streams"], 1) * 1e3
            row |= {"rss_idle": server.idle_usage.rss / 1e6, "rss": full.rss / 1e6}
            if scenario.idle and (count := count_open(load, seconds)) > callers * 0.9:
                row |= {"open": count, "per_stream": (full.rss - server.idle_usage.rss) / 1e3 / count}
    for sample in run.samples:
        sample.cpu -= checkpoints[0][0].cpu
    return row
