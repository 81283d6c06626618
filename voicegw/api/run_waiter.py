"""Waits for a run that is not streamed yet, and cancels it if the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Receive

from voicegw.conversations.dispatcher import Dispatcher
from voicegw.turns.run import Run


class RunWaiter:
    """A `Subscriber` that waits until a condition of a run is true, or until the client disconnects.

    `expire` makes the condition true.
    """

    def __init__(self, run: Run, condition: Callable[[], bool]) -> None:
        # Ends the wait when it is true. It is checked whenever the event log grows or ends.
        self.condition = condition
        # Done when the wait is over.
        self.future: asyncio.Future[None] = run.loop.create_future()

    def wake(self) -> None:
        """End the wait if the condition is true now."""
        if self.condition():
            self.stop()

    def expire(self) -> None:
        """End the wait at its time limit."""
        self.condition = lambda: True
        self.stop()

    def stop(self) -> None:
        """End the wait."""
        if not self.future.done():
            self.future.set_result(None)

    async def watch_disconnect(self, receive: Receive) -> None:
        """End the wait when the client disconnects."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.stop()


async def wait_for_run(
    run: Run,
    condition: Callable[[], bool],
    dispatcher: Dispatcher,
    receive: Receive,
    max_seconds: float | None = None,
) -> None:
    """Start a run and wait until the condition is true, at most `max_seconds`; None for no limit.

    If the client disconnects before, the run loses this subscriber, and is cancelled if it was the last one.
    """
    waiter = RunWaiter(run, condition)
    run.subscribers.append(waiter)
    disconnect_task = run.loop.create_task(waiter.watch_disconnect(receive))
    timer = None if max_seconds is None else run.loop.call_later(max_seconds, waiter.expire)
    run.start()
    waiter.wake()  # a replayed run wakes nobody any more
    try:
        await waiter.future
    finally:
        disconnect_task.cancel()
        if timer is not None:
            timer.cancel()
        if waiter.condition():
            run.subscribers.remove(waiter)
        else:
            dispatcher.unsubscribe(run, waiter)
