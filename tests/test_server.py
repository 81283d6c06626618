"""The event loop of the server: `SystemExit` in a task does not end the process."""

from __future__ import annotations

import asyncio
import sys

import pytest

from voicegw.server import ExitProofLoop

pytestmark = pytest.mark.wire


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
