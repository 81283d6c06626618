"""Closed runs leave their replay window on time, in steps, and are not kept alive by it."""

from __future__ import annotations

import asyncio
import weakref

from tests.support.fake_agent import fake_agent
from tests.support.gateway import loop_time
from voicegw.conversations.replay_window import MAX_RUNS_PER_STEP, ReplayWindow
from voicegw.events import Message, Turn
from voicegw.turns.run import Run

TURN = Turn("t1", (Message("user", "Hello?"),))


def create_run() -> Run:
    return Run(fake_agent(), TURN, lambda run: None, now=loop_time)


async def test_each_run_leaves_when_its_window_is_over() -> None:
    left: list[tuple[float, Run]] = []
    window = ReplayWindow(10.0, loop_time, lambda run: left.append((loop_time(), run)))
    runs = [create_run() for _ in range(3)]
    for run in runs:
        window.add(run)
        await asyncio.sleep(4.0)
    await asyncio.sleep(60.0)
    window.add(runs[0])
    await asyncio.sleep(20.0)
    assert left == [(10.0, runs[0]), (14.0, runs[1]), (18.0, runs[2]), (82.0, runs[0])]


async def test_a_burst_leaves_in_steps() -> None:
    left: list[Run] = []
    window = ReplayWindow(10.0, loop_time, left.append)
    runs = [create_run() for _ in range(2 * MAX_RUNS_PER_STEP + 50)]
    for run in runs:
        window.add(run)
    counts = []
    await asyncio.sleep(10.0)
    while len(left) < len(runs):
        counts.append(len(left))
        await asyncio.sleep(0)
    assert counts[0] == MAX_RUNS_PER_STEP
    assert set(counts) <= {MAX_RUNS_PER_STEP, 2 * MAX_RUNS_PER_STEP}


async def test_the_window_keeps_no_run_alive() -> None:
    left: list[Run] = []
    window = ReplayWindow(10.0, loop_time, left.append)
    run = create_run()
    reference = weakref.ref(run)
    window.add(run)
    del run
    assert reference() is None
    await asyncio.sleep(20.0)
    assert left == []
