"""An `async for` that calls back at the moment at which it has to wait. It starts no task and no timer."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from voicegw.events import Event


@types.coroutine
def consume(
    events: AsyncIterator[Event], on_event: Callable[[Event], bool], on_idle: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Await every event and pass it to `on_event`, until that returns False or the events end.

    `on_idle` is called before each wait, when the next event is not there yet. Events that arrive
    together therefore share one call, within one iteration of the event loop.

    Raise the exceptions of `events`, `on_event` and `on_idle`.
    """
    while True:
        step = events.__anext__().__await__()
        try:
            future = step.send(None)
            while True:
                try:
                    on_idle()  # an exception here also reaches the agent, which would wait for ever otherwise
                    result = yield future
                except BaseException as error:
                    future = step.throw(error)
                else:
                    future = step.send(result)
        except StopIteration as stop:
            if not on_event(stop.value):
                return
        except StopAsyncIteration:
            return
