"""An agent that does what it is told while it runs, and one who listens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from math import inf

from tests.support.asgi import chunks, content
from voicegw.api.chat_response import ChunkEncoder
from voicegw.events import Event, Turn
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream
from voicegw.turns.timings import TurnTimings


class Part:
    """One reply of the agent, which does what it is told, and takes `closing` seconds to stop."""

    def __init__(self, turn: Turn, closing: float) -> None:
        self.turn = turn
        self.closing = closing
        self.cues: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.released = asyncio.Event()
        self.said: list[Event] = []
        self.closed = False

    async def close(self) -> None:
        try:
            async with asyncio.timeout(None if self.closing == inf else self.closing):
                await self.released.wait()
        except TimeoutError:
            pass
        finally:
            self.closed = True


class Actor:
    """The agent. `on_start` is told of each reply."""

    def __init__(self, on_start: Callable[[Part], None]) -> None:
        self.on_start = on_start
        self.closing = 0.0

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        part = Part(turn, self.closing)
        self.on_start(part)
        try:
            while (cue := await part.cues.get()) is not None:
                if isinstance(cue, Exception):
                    raise cue
                part.said.append(cue)
                yield cue
        finally:
            await part.close()

    async def warm(self, call: str | None = None) -> None: ...
    async def call_ended(self, call: str) -> None: ...
    async def aclose(self) -> None: ...


class Ear:
    """One request that follows a run with a real listener, as a stream does; nothing while `paused`."""

    def __init__(self, run: Run, *, paused: bool) -> None:
        self.run = run
        self.paused = paused
        self.listener = ResponseStream(
            run.event_log,
            ChunkEncoder(run.turn.id, "desk", 0),
            AckSchedule("", None),
            TurnTimings(run.now()),
            lambda failure: "Sorry.",
        )
        self.body = self.listener.start(run.now())
        run.subscribers.append(self)

    def wake(self) -> None:
        more = not self.paused and not self.listener.done
        while more:
            self.body += self.listener.read(self.run.now())
            more = self.listener.has_more

    @property
    def text(self) -> str:
        return "".join(map(content, chunks(self.body)))
