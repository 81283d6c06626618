"""The alarm rings once for each time it was set, never before its time, and for the last setting only."""

from __future__ import annotations

import asyncio
import time

import pytest

from loadtests.generate.precise_timer import PreciseTimer

pytestmark = pytest.mark.wire


async def test_it_rings_when_it_was_set_to_and_not_before() -> None:
    rung: asyncio.Queue[float] = asyncio.Queue()
    alarm = PreciseTimer(lambda: rung.put_nowait(time.perf_counter()))
    for wait in (0.0, 0.002, -1.0):
        at = time.perf_counter() + wait
        alarm.schedule(at)
        assert await rung.get() >= at
    alarm.close()
    assert rung.empty()


async def test_setting_it_anew_replaces_what_it_was_set_to() -> None:
    rung: asyncio.Queue[float] = asyncio.Queue()
    alarm = PreciseTimer(lambda: rung.put_nowait(time.perf_counter()))
    alarm.schedule(time.perf_counter() + 3600)
    alarm.schedule(time.perf_counter() + 0.001)
    await rung.get()
    alarm.schedule(time.perf_counter())
    alarm.schedule(time.perf_counter() + 3600)
    alarm.close()
    assert rung.empty()
