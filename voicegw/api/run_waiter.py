"""What comes in: a request's body, up to a limit, and the word that the client hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Receive

from voicegw.conversations.dispatcher import Dispatcher
from voicegw.turns.run import Run


class RunWaiter:
    """A follower that waits for one thing to be true of a run, or for the client to hang up."""

    def __init__(self, run: Run, enough: Callable[[], bool]) -> None:
        self.enough = enough
        self.future: asyncio.Future[None] = run.loop.create_future()

    def wake(self) -> None:
        if self.enough():
            self.stop()

    def stop(self) -> None:
        if not self.future.done():
            self.future.set_result(None)

    async def listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.stop()


async def wait_for_run(
    run: Run, enough: Callable[[], bool], switchboard: Dispatcher, receive: Receive
) -> None:
    """Start a run and wait until there is enough of it; a client that hangs up before cancels it."""
    watch = RunWaiter(run, enough)
    run.subscribers.append(watch)
    ear = run.loop.create_task(watch.listen(receive))
    run.start()
    watch.wake()  # a run that is replayed tells nothing new
    try:
        await watch.future
    finally:
        ear.cancel()
        if enough():
            run.subscribers.remove(watch)
        else:
            switchboard.unsubscribe(run, watch)
