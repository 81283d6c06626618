"""The loop that serves: who may end the program."""

from __future__ import annotations

import asyncio
import sys

import pytest

from voicegw.server import ExitProofLoop

pytestmark = pytest.mark.wire


async def exit_when_told() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        sys.exit(5)


def test_a_task_that_exits_does_not_end_what_goes_on() -> None:
    async def serving() -> str:
        task = asyncio.ensure_future(exit_when_told())
        await asyncio.sleep(0)
        task.cancel()
        exits = await asyncio.gather(task, return_exceptions=True)
        return repr(exits)

    with asyncio.Runner(loop_factory=ExitProofLoop) as runner:
        assert runner.run(serving()) == "[SystemExit(5)]"


def test_a_task_that_exits_once_all_is_over_does_not_decide_how_it_ended() -> None:
    async def serving() -> asyncio.Future[None]:
        task = asyncio.ensure_future(exit_when_told())
        await asyncio.sleep(0)
        return task

    with asyncio.Runner(loop_factory=ExitProofLoop) as runner:
        task = runner.run(serving())
    assert isinstance(task.exception(), SystemExit)


def test_what_is_served_may_end_the_program_itself() -> None:
    async def serving() -> None:
        await asyncio.sleep(0)
        sys.exit(3)

    with asyncio.Runner(loop_factory=ExitProofLoop) as runner, pytest.raises(SystemExit, match="3"):
        runner.run(serving())
