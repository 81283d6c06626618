"""The timer calls back once per schedule, never early, and for the last schedule only."""

from __future__ import annotations

import asyncio
import time

import pytest

from loadtests.generate.precise_timer import PreciseTimer

pytestmark = pytest.mark.wire


async def test_the_timer_calls_back_on_time_and_never_early() -> None:
    calls: asyncio.Queue[float] = asyncio.Queue()
    timer = PreciseTimer(lambda: calls.put_nowait(time.perf_counter()))
    for wait in (0.0, 0.002, -1.0):
        at = time.perf_counter() + wait
        timer.schedule(at)
        assert await calls.get() >= at
    timer.close()
    assert calls.empty()


async def test_a_new_schedule_replaces_the_old_one() -> None:
    calls: asyncio.Queue[float] = asyncio.Queue()
    timer = PreciseTimer(lambda: calls.put_nowait(time.perf_counter()))
    timer.schedule(time.perf_counter() + 3600)
    timer.schedule(time.perf_counter() + 0.001)
    await calls.get()
    timer.schedule(time.perf_counter())
    timer.schedule(time.perf_counter() + 3600)
    timer.close()
    assert calls.empty()
