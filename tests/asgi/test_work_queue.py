"""Long work takes turns with everything else on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from voicegw.asgi.work_queue import MAX_SECONDS_PER_TURN, WorkQueue


def make_job(
    queue: WorkQueue, name: str, steps: int, done: list[str], seconds: float = 0.0
) -> Callable[[], None]:
    def step() -> None:
        nonlocal steps
        steps -= 1
        done.append(name)
        time.sleep(seconds)
        if steps:
            queue.add(step)

    return step


async def test_jobs_take_turns_and_a_short_one_does_not_wait_for_a_long_one() -> None:
    queue, done = WorkQueue(asyncio.get_running_loop()), list[str]()
    queue.add(make_job(queue, "long", 5, done))
    queue.add(make_job(queue, "short", 2, done))
    for _ in range(10):
        await asyncio.sleep(0)
    assert done == ["long", "short", "long", "short", "long", "long", "long"]


async def test_steps_that_take_long_leave_the_rest_to_a_later_turn() -> None:
    queue, done = WorkQueue(asyncio.get_running_loop()), list[str]()
    for name in "abc":
        queue.add(make_job(queue, name, 1, done, seconds=MAX_SECONDS_PER_TURN))
    counts = []
    for _ in range(5):
        await asyncio.sleep(0)
        counts.append(len(done))
    assert counts == [1, 2, 3, 3, 3]


async def test_a_step_that_fails_does_not_stop_the_others() -> None:
    loop = asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda loop, context: failures.append(context["exception"]))
    queue, done = WorkQueue(loop), list[str]()

    def fail() -> None:
        raise ValueError("broken")

    queue.add(fail)
    queue.add(make_job(queue, "next", 1, done))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == ["next"]
    assert [str(failure) for failure in failures] == ["broken"]
