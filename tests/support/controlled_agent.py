"""An agent that a test commands while it runs, and a subscriber that reads its stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from math import inf

from tests.support.asgi import chunk_text, parse_chunks
from voicegw.api.chat_response import ChunkEncoder
from voicegw.events import Event, Turn
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream
from voicegw.turns.timings import TurnTimings


class ControlledReply:
    """One reply: it yields or raises its commands, ends at None, and needs `close_seconds` to stop."""

    def __init__(self, turn: Turn, close_seconds: float) -> None:
        self.turn = turn
        self.close_seconds = close_seconds
        self.commands: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.may_close = asyncio.Event()
        self.yielded: list[Event] = []
        self.is_closed = False

    async def close(self) -> None:
        try:
            async with asyncio.timeout(None if self.close_seconds == inf else self.close_seconds):
                await self.may_close.wait()
        except TimeoutError:
            pass
        finally:
            self.is_closed = True


class ControlledAgent:
    """The agent. `on_start` receives each reply when it starts."""

    def __init__(self, on_start: Callable[[ControlledReply], None]) -> None:
        self.on_start = on_start
        self.close_seconds = 0.0

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        reply = ControlledReply(turn, self.close_seconds)
        self.on_start(reply)
        try:
            while (command := await reply.commands.get()) is not None:
                if isinstance(command, Exception):
                    raise command
                reply.yielded.append(command)
                yield command
        finally:
            await reply.close()

    async def warm(self, call: str | None = None) -> None: ...
    async def call_ended(self, call: str) -> None: ...
    async def aclose(self) -> None: ...


class StreamReader:
    """A subscriber of a run that reads its stream as an HTTP response does; it reads nothing while paused."""

    def __init__(self, run: Run, *, is_paused: bool) -> None:
        self.run = run
        self.is_paused = is_paused
        self.stream = ResponseStream(
            run.event_log,
            ChunkEncoder(run.turn.id, "desk", 0),
            AckSchedule("", None),
            TurnTimings(run.now()),
            lambda failure: "Sorry.",
        )
        self.body = self.stream.start(run.now())
        run.subscribers.append(self)

    def wake(self) -> None:
        more = not self.is_paused and not self.stream.is_done
        while more:
            self.body += self.stream.read(self.run.now())
            more = self.stream.has_more

    @property
    def text(self) -> str:
        return "".join(map(chunk_text, parse_chunks(self.body)))
