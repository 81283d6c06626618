"""A blocking function as an agent: `def reply(turn): return "Hello"`, or one with `yield` in it.

Each turn has its own thread, so that no caller waits for the work of another. A thread cannot be stopped from
outside. A barge-in closes a generator at its next `yield`; a plain function runs until it returns, and its
result is dropped. The reply closes only then, so the gateway counts the turn as running until it really ends.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from voicegw.events import Turn

EXHAUSTED = object()
"""Stands for the end of the generator: `StopIteration` cannot be raised into a future."""


def run_in_thread(function: Callable[[Turn], Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """Return an async generator function that yields what `function` returns or yields, from a thread.

    Raises what the function raises; a `StopIteration` or `GeneratorExit` of it arrives as `RuntimeError`.
    """

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        values = iterate(function, turn)
        thread = WorkerThread()
        try:
            while (
                value := await asyncio.shield(thread.submit(lambda: next(values, EXHAUSTED)))
            ) is not EXHAUSTED:
                yield value
        finally:
            closed = thread.submit(values.close)  # runs after the job before it
            thread.shutdown()
            await closed

    return reply


def iterate(function: Callable[[Turn], Any], turn: Turn) -> Generator[Any, None, None]:
    """Yield the value that the function returns, or the values that it yields."""
    result = function(turn)
    if inspect.isgenerator(result):
        yield from result
    else:
        yield result


class WorkerThread:
    """A daemon thread that runs one job after another: a job that never ends does not keep the process alive.

    It runs in a copy of the context of the task that creates it. Needs a running event loop.
    """

    def __init__(self) -> None:
        # The loop in which the futures of the jobs are resolved.
        self.loop = asyncio.get_running_loop()
        # Functions to run, each with its future; None ends the thread.
        self.jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        run = copy_context().run
        threading.Thread(target=run, args=(self._work,), name="voicegw-blocking", daemon=True).start()

    def submit(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run `job` after the jobs before it, and return the future of its result or exception."""
        future: asyncio.Future[Any] = self.loop.create_future()
        self.jobs.put((job, future))
        return future

    def shutdown(self) -> None:
        """End the thread after the jobs that were submitted. Does not wait."""
        self.jobs.put(None)

    def _work(self) -> None:
        while (task := self.jobs.get()) is not None:
            job, future = task
            try:
                outcome: tuple[Callable[[Any], None], Any] = (future.set_result, job())
            except GeneratorExit as error:  # where it is awaited, it would look like a close of the reply
                outcome = (future.set_exception, RuntimeError(repr(error)))
            except BaseException as error:
                outcome = (future.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: nothing awaits the future
                self.loop.call_soon_threadsafe(resolve, future, *outcome)
            del task, job, future, outcome  # a waiting thread must not keep these alive


def resolve(future: asyncio.Future[Any], set_outcome: Callable[[Any], None], value: Any) -> None:
    """Set the result or exception of a future, unless it is cancelled."""
    if not future.done():
        set_outcome(value)
