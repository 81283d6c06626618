"""An `async for` that knows when it waits."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from voicegw.events import Event


@types.coroutine
def consume(
    events: AsyncIterator[Event], take: Callable[[Event], bool], quiet: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Await every event and give it to `take`, until that says False.

    `quiet` is called when the next one has to be waited for, and at that very moment.
    """
    while True:
        waiting = events.__anext__().__await__()
        try:
            wanted = waiting.send(None)
            while True:
                try:
                    quiet()  # what it raises ends the wait as well: no agent is left asleep
                    got = yield wanted
                except BaseException as error:
                    wanted = waiting.throw(error)
                else:
                    wanted = waiting.send(got)
        except StopIteration as done:
            if not take(done.value):
                return
        except StopAsyncIteration:
            return
