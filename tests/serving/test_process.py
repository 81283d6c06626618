"""The set-up of a process that serves: its event loop, garbage collector and watchdog."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator

import pytest

from tests.support.clock import VirtualLoop
from voicegw.serving.process import GC_THRESHOLDS, ExitProofLoop, tune


async def exit_when_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        sys.exit(5)


def test_system_exit_in_a_task_does_not_end_the_main_coroutine() -> None:
    async def serving() -> str:
        task = asyncio.ensure_future(exit_when_cancelled())
        await asyncio.sleep(0)
        task.cancel()
        exits = await asyncio.gather(task, return_exceptions=True)
        return repr(exits)

    with asyncio.Runner(loop_factory=ExitProofLoop) as runner:
        assert runner.run(serving()) == "[SystemExit(5)]"


def test_system_exit_in_a_task_after_the_end_does_not_change_the_result() -> None:
    async def serving() -> asyncio.Future[None]:
        task = asyncio.ensure_future(exit_when_cancelled())
        await asyncio.sleep(0)
        return task

    with asyncio.Runner(loop_factory=ExitProofLoop) as runner:
        task = runner.run(serving())
    assert isinstance(task.exception(), SystemExit)


def test_system_exit_in_the_main_coroutine_ends_the_program() -> None:
    async def serving() -> None:
        await asyncio.sleep(0)
        sys.exit(3)

    with asyncio.Runner(loop_factory=ExitProofLoop) as runner, pytest.raises(SystemExit, match="3"):
        runner.run(serving())


@pytest.fixture
def restored_gc_thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("restored_gc_thresholds")
async def test_tune_sets_the_garbage_collector_and_logs_a_blocked_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    frozen = gc.get_freeze_count()
    watchdog = tune()
    assert gc.get_threshold() == GC_THRESHOLDS
    assert gc.get_freeze_count() > frozen
    loop.clock.now += 2.0
    await asyncio.sleep(1)
    watchdog.stop()
    loop.clock.now += 2.0
    await asyncio.sleep(1)
    blocked = [record for record in caplog.records if '"event":"blocked"' in record.getMessage()]
    assert len(blocked) == 1
