"""A blocking function as an agent: `def reply(turn): return "Hello"`, or one with `yield` in it.

Each turn has a thread of its own, so that no caller waits for another one's work. A thread cannot be
stopped from outside: on a barge-in a generator is closed at its next `yield`, and a call is left until it
returns, its result dropped. The reply is closed only then: whoever asks sees that it still works.
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

END = object()


def run_in_thread(function: Callable[[Turn], Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """The function as an async generator function: what it returns or yields, without blocking the loop."""

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        words = told(function, turn)
        thread = WorkerThread()
        try:
            while (word := await asyncio.shield(thread.do(lambda: next(words, END)))) is not END:
                yield word
        finally:
            closing = thread.do(words.close)  # its turn comes when the step before it is done
            thread.end()
            await closing

    return reply


def told(function: Callable[[Turn], Any], turn: Turn) -> Generator[Any, None, None]:
    result = function(turn)
    if inspect.isgenerator(result):
        yield from result
    else:
        yield result


class WorkerThread:
    """Does one job after the other. A daemon: a job that never ends does not keep the gateway alive."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        work = copy_context().run
        threading.Thread(target=work, args=(self._work,), name="voicegw-blocking", daemon=True).start()

    def do(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = self.loop.create_future()
        self.jobs.put((job, answer))
        return answer

    def end(self) -> None:
        """End once the jobs are done."""
        self.jobs.put(None)

    def _work(self) -> None:
        while (task := self.jobs.get()) is not None:
            job, answer = task
            try:
                settling: tuple[Callable[[Any], None], Any] = (answer.set_result, job())
            except GeneratorExit as error:  # where it is awaited, it would look like our own closing
                settling = (answer.set_exception, RuntimeError(repr(error)))
            except BaseException as error:
                settling = (answer.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(settle, answer, *settling)
            del task, job, answer, settling  # a thread that waits keeps nothing alive


def settle(answer: asyncio.Future[Any], how: Callable[[Any], None], value: Any) -> None:
    if not answer.done():
        how(value)
