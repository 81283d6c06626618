"""Sessions: what an agent keeps for a call on its own side, used by one turn at a time.

A turn that is told to stop may take a moment for it. Its session is not used again before it has, so that
nothing that it still says is taken for the answer to something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from voicegw.errors import AgentBusy, AgentError, AgentTimeout
from voicegw.events import Turn

AHEAD = 10.0
"""Seconds for having a session ready before a turn needs it; a turn has a patience of its own."""

S = TypeVar("S")


@dataclass(slots=True, eq=False)
class SessionSlot(Generic[S]):
    """The place of one call: its session once it is open, and how many are in it or wait for it.

    `before` are the rooms that the call had and left, `over` tells that it left this one, and `gone` that
    nobody is in it any more.
    """

    call: str
    before: tuple[SessionSlot[S], ...] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: S | None = None
    inside: int = 0
    over: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class SessionPool(Generic[S]):
    """One session per call. `open` makes one, for a call or, with None, for a turn of nobody's.

    `good` tells whether an open one can still be used, `close` lets go of it: for good if the second argument
    is true. At most `most` are kept.
    """

    def __init__(
        self,
        open: Callable[[str | None], Awaitable[S]],
        close: Callable[[S, bool], Awaitable[None]],
        *,
        good: Callable[[S], bool] = lambda session: True,
        max_sessions: int = 1000,
    ) -> None:
        self._open = open
        self._close = close
        self._good = good
        self._most = max_sessions
        self._rooms: dict[str, SessionSlot[S]] = {}
        self._leaving: dict[str, list[SessionSlot[S]]] = {}
        self._anonymous = 0

    @asynccontextmanager
    async def acquire(self, turn: Turn) -> AsyncIterator[S]:
        """The session of a turn, for this turn alone; one of its own for a turn that belongs to no call.

        A turn aside gets one of its own too, unless that of the call is free. Raises what `open` raises.
        """
        room = None if turn.call is None else self._rooms.get(turn.call)
        if turn.call is None or (turn.background and room is not None and room.lock.locked()):
            async with self._own() as session:
                yield session
            return
        room = self._room(turn.call)
        async with self._in(room):
            yield await self._session(room)

    async def warm(self, call: str, ready: Callable[[S], Awaitable[object]] | None = None) -> None:
        """Open the session of a call before anybody speaks, and have it get `ready`, in `AHEAD` seconds."""
        room = self._room(call)
        try:
            async with self._in(room), asyncio.timeout(AHEAD):
                session = await self._session(room)
                if ready is not None:
                    await ready(session)
        except TimeoutError:
            raise AgentTimeout(f"no session was ready within {AHEAD:g} s") from None

    async def call_ended(self, call: str) -> None:
        """The call is over: close its session for good, after the turn that uses it."""
        room = self._rooms.pop(call, None)
        if room is None:
            return
        room.over = True
        self._leaving.setdefault(call, []).append(room)
        async with self._in(room):
            pass

    async def aclose(self) -> None:
        """Let go of every connection. The sessions stay on the other side: calls may come back to them."""
        rooms = list(self._rooms.values())
        self._rooms.clear()
        for error in await asyncio.gather(*map(self._shut, rooms), return_exceptions=True):
            if error is not None:
                raise error

    def _room(self, call: str) -> SessionSlot[S]:
        room = self._rooms.get(call)
        if room is None:
            self._count()
            room = self._rooms[call] = SessionSlot(call, tuple(self._leaving.get(call, ())))
        return room

    def _count(self) -> None:
        if len(self._rooms) + self._anonymous >= self._most:
            raise AgentBusy(f"{self._most} sessions are open, the most allowed")

    @asynccontextmanager
    async def _in(self, room: SessionSlot[S]) -> AsyncIterator[None]:
        """Alone in a room. The last one out of a room that is no longer kept lets go of its session."""
        room.inside += 1
        try:
            async with room.lock:
                yield
        finally:
            try:
                if room.inside == 1 and self._rooms.get(room.call) is not room:
                    await self._shut(room, room.over)
            finally:
                room.inside -= 1
                if room.over and not room.inside:
                    self._gone(room)

    def _gone(self, room: SessionSlot[S]) -> None:
        room.gone.set()
        leaving = self._leaving[room.call]
        leaving.remove(room)
        if not leaving:
            del self._leaving[room.call]

    async def _session(self, room: SessionSlot[S]) -> S:
        if room.session is not None and not self._good(room.session):
            await self._shut(room)
        if room.session is None:
            for older in room.before:
                await older.gone.wait()  # a call that came back: what was kept for it is gone first
            room.before = ()
            room.session = await self._open(room.call)
        return room.session

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[S]:
        self._count()
        self._anonymous += 1
        try:
            session = await self._open(None)
            try:
                yield session
            finally:
                with suppress(AgentError):
                    await self._close(session, True)
        finally:
            self._anonymous -= 1

    async def _shut(self, room: SessionSlot[S], over: bool = False) -> None:
        session, room.session = room.session, None
        if session is not None:
            with suppress(AgentError):
                await self._close(session, over)
