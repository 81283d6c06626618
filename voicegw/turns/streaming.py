"""How an agent's events reach a run, for every kind of agent.

A `StreamingAgent` passes its events on in the callback in which they arrive: no task, future or generator
stands between the agent's socket and the caller's. The reply of any other agent is an async generator, which
`consume` drives.
"""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable
from contextlib import aclosing
from typing import Any, Protocol

from voicegw.events import Agent, Event, Turn

MAX_TEXT_CHARACTERS = 1024
"""Characters of a text that are passed on at once: to make one speakable takes up to 4 microseconds."""
MAX_EVENTS = 256
"""Events that are passed on at once, from an agent that has them all and never waits."""


class EventSink(Protocol):
    """Takes the events of one reply."""

    def push(self, event: Event) -> bool:
        """Take the next event. Return False to take no more: then the reply ends."""
        ...

    def flush(self) -> None:
        """Pass the events on: no further one is ready now."""
        ...


class StreamingAgent:
    """The base of agents that stream their events into a sink. `reply` gives the same events."""

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Answer one turn: push its events into `sink`, and flush after those that arrived together.

        Return at the end of the answer, or when `sink` takes no more. A cancellation closes the reply: the
        remote side is told to stop. Raise `voicegw.errors.AgentError` when the agent cannot answer.
        """
        raise NotImplementedError

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Answer one turn. Yield its events, and raise the exceptions of `stream`."""
        queue = EventQueue()
        task = asyncio.get_running_loop().create_task(self.stream(turn, queue))
        task.add_done_callback(queue.end)
        try:
            while await queue.has_event():
                yield queue.events.popleft()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        task.result()


class EventQueue:
    """An `EventSink` from which one reader takes the events."""

    def __init__(self) -> None:
        # The events that were not read yet.
        self.events: deque[Event] = deque()
        # Whether the stream of events has ended.
        self.has_ended = False
        self._changed = asyncio.Event()

    def push(self, event: Event) -> bool:
        """Add an event to the queue."""
        self.events.append(event)
        return True

    def flush(self) -> None:
        """Wake the reader."""
        self._changed.set()

    def end(self, task: asyncio.Task[None]) -> None:
        """Wake the reader: the task that pushes events is done."""
        self.has_ended = True
        self._changed.set()

    async def has_event(self) -> bool:
        """Wait for an event and return True; False at the end."""
        while not self.events and not self.has_ended:
            self._changed.clear()
            await self._changed.wait()
        return bool(self.events)


class SteppedSink:
    """Passes events on to `sink` at once, but a text of more than `MAX_TEXT_CHARACTERS` in steps.

    Between two steps the event loop serves everything else. Events behind such a text wait for it.
    """

    __slots__ = ("_done", "_sink", "_takes_more", "_waiting")

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        # The events that wait, and a future for the time when none waits any more.
        self._waiting: deque[Event] = deque()
        self._done: asyncio.Future[None] | None = None
        # False once `sink` takes no more.
        self._takes_more = True

    def push(self, event: Event) -> bool:
        """Pass an event on, or let it wait. Return False if `sink` takes no more."""
        if self._waiting:
            self._waiting.append(event)
            return self._takes_more
        if type(event) is str and len(event) > MAX_TEXT_CHARACTERS:
            self._waiting.append(event)
            self._step()
            return self._takes_more
        return self._sink.push(event)

    def flush(self) -> None:
        """Pass the events on: no further one is ready now."""
        self._sink.flush()

    async def finish(self) -> None:
        """Wait until no event waits any more."""
        if self._waiting:
            self._done = asyncio.get_running_loop().create_future()
            await self._done

    def _step(self) -> None:
        """Pass on the first event that waits, or a piece of it."""
        event = self._waiting.popleft()
        if type(event) is str and len(event) > MAX_TEXT_CHARACTERS:
            self._waiting.appendleft(event[MAX_TEXT_CHARACTERS:])
            event = event[:MAX_TEXT_CHARACTERS]
        self._takes_more = self._sink.push(event)
        self._sink.flush()
        if not self._takes_more:
            self._waiting.clear()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._step)
        elif self._done is not None and not self._done.done():
            self._done.set_result(None)


def push_rest(events: Iterable[Event], sink: EventSink) -> None:
    """Push the last events of a reply, until the sink takes no more."""
    for event in events:
        if not sink.push(event):
            return


async def stream_events(agent: Agent, turn: Turn, sink: EventSink) -> None:
    """Stream the agent's events for `turn` into `sink`, until they end or the sink takes no more.

    Raise the exceptions of the agent and of the sink.
    """
    if isinstance(agent, StreamingAgent):
        steps = SteppedSink(sink)
        try:
            await agent.stream(turn, steps)
        except Exception:
            await steps.finish()
            raise
        return await steps.finish()
    async with aclosing(agent.reply(turn)) as events:
        await consume(events, sink.push, sink.flush)


@types.coroutine
def consume(
    events: AsyncIterator[Event], on_event: Callable[[Event], bool], on_idle: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Await every event and pass it to `on_event`, until that returns False or the events end.

    `on_idle` is called before each wait, when the next event is not there yet. Events that arrive
    together therefore share one call, within one iteration of the event loop. A text of more than
    `MAX_TEXT_CHARACTERS` is passed in pieces. Between them, and after `MAX_EVENTS` without a wait, the event
    loop serves everything else.

    Raise the exceptions of `events`, `on_event` and `on_idle`.
    """
    events_left = MAX_EVENTS
    while True:
        step = events.__anext__().__await__()
        try:
            future = step.send(None)
            events_left = MAX_EVENTS
            while True:
                try:
                    on_idle()  # an exception here also reaches the agent, which would wait for ever otherwise
                    result = yield future
                except BaseException as error:
                    future = step.throw(error)
                else:
                    future = step.send(result)
        except StopIteration as stop:
            event = stop.value
            while type(event) is str and len(event) > MAX_TEXT_CHARACTERS:
                if not on_event(event[:MAX_TEXT_CHARACTERS]):
                    return
                event, events_left = event[MAX_TEXT_CHARACTERS:], MAX_EVENTS
                on_idle()
                yield
            if not on_event(event):
                return
            events_left -= 1
            if not events_left:
                events_left = MAX_EVENTS
                on_idle()
                yield
        except StopAsyncIteration:
            return
