"""A pool of the sessions that agents keep for calls on their servers; one turn at a time uses a session.

A turn that is cancelled may take a moment to stop. Its session is free only after that, so that none of its
late output is taken for the answer to another turn. The agent itself opens and closes its sessions. At the
limit, the session that was idle longest is closed; its call gets a new one with its next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from voicegw.errors import AgentBusy, AgentError, AgentTimeout
from voicegw.events import Turn

WARM_TIMEOUT = 10.0
"""Seconds that `SessionPool.warm` may take; the timeouts of a turn apply to a session that a turn opens."""

S = TypeVar("S")


@dataclass(slots=True, eq=False)
class SessionSlot(Generic[S]):
    """The entry of one call in the pool.

    `session` is None until it is opened; the holder of `lock` uses it. `users` counts the tasks that hold the
    lock or wait for it. `predecessors` are earlier slots of the same call, whose sessions must be closed
    before this one opens. `has_left` says that the slot left the pool, because the call ended or its session
    was evicted; `closed` is set when its last user has left after that.
    """

    call: str
    predecessors: tuple[SessionSlot[S], ...] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: S | None = None
    users: int = 0
    has_left: bool = False
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class SessionPool(Generic[S]):
    """One session per call, at most `max_sessions` besides those that are being closed.

    `open` opens a session for a call, or for a turn that belongs to none (None). `is_usable` returns whether
    an open session still works. `close` disconnects from a session; if its second argument is true, no turn
    will use the session again, and the agent may delete it.
    """

    def __init__(
        self,
        open: Callable[[str | None], Awaitable[S]],
        close: Callable[[S, bool], Awaitable[None]],
        *,
        is_usable: Callable[[S], bool] = lambda session: True,
        max_sessions: int = 1000,
    ) -> None:
        self._open = open
        self._close = close
        self._is_usable = is_usable
        self._max_sessions = max_sessions
        # The slots of the calls that have not ended, the one that was used least recently first.
        self._slots: dict[str, SessionSlot[S]] = {}
        # The slots that left the pool and are still in use, by call: a call may come back meanwhile.
        self._leaving: dict[str, list[SessionSlot[S]]] = {}
        # Sessions of turns that belong to no call, or run beside one.
        self._anonymous = 0
        # The tasks that close evicted sessions. The set protects them from garbage collection.
        self._evictions: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def acquire(self, turn: Turn) -> AsyncIterator[S]:
        """Wait for the session of the turn's call, open it if needed, and give it to this turn alone.

        A turn that belongs to no call gets a session for itself; so does a background turn while the session
        of its call is in use.

        Raises `AgentBusy` if `max_sessions` are in use, and what `open` raises.
        """
        slot = None if turn.call is None else self._slots.get(turn.call)
        if turn.call is None or (turn.background and slot is not None and slot.lock.locked()):
            async with self._anonymous_session() as session:
                yield session
            return
        slot = self._get_or_add_slot(turn.call)
        async with self._hold(slot):
            yield await self._ensure_session(slot)

    async def warm(self, call: str, prepare: Callable[[S], Awaitable[object]] | None = None) -> None:
        """Open the session of a call before its first turn, and run `prepare` on it.

        Raises `AgentTimeout` if this takes more than `WARM_TIMEOUT` seconds, `AgentBusy` if `max_sessions`
        are in use, and what `open` and `prepare` raise.
        """
        slot = self._get_or_add_slot(call)
        try:
            async with self._hold(slot), asyncio.timeout(WARM_TIMEOUT):
                session = await self._ensure_session(slot)
                if prepare is not None:
                    await prepare(session)
        except TimeoutError:
            raise AgentTimeout(f"no session was ready within {WARM_TIMEOUT:g} s") from None

    async def call_ended(self, call: str) -> None:
        """Discard the session of a call, after the turn that uses it; does nothing for an unknown call."""
        if call in self._slots:
            await self._close_idle(self._remove(call))

    def _remove(self, call: str) -> SessionSlot[S]:
        """Take the slot of a call out of the pool. Its last user closes the session."""
        slot = self._slots.pop(call)
        slot.has_left = True
        self._leaving.setdefault(call, []).append(slot)
        return slot

    async def _close_idle(self, slot: SessionSlot[S]) -> None:
        """Use a slot that left the pool, so that its session is closed after the turn that uses it."""
        async with self._hold(slot):
            pass

    async def aclose(self) -> None:
        """Disconnect from every session. The agents keep the sessions, because calls may come back to them.

        Does not wait for turns. Raises the first error of `close` that is no `AgentError`.
        """
        slots = list(self._slots.values())
        self._slots.clear()
        closings = (*map(self._close_session, slots), *self._evictions)
        for error in await asyncio.gather(*closings, return_exceptions=True):
            if error is not None:
                raise error

    def _get_or_add_slot(self, call: str) -> SessionSlot[S]:
        slot = self._slots.get(call)
        if slot is None:
            self._make_room()
            slot = self._slots[call] = SessionSlot(call, tuple(self._leaving.get(call, ())))
        return slot

    def _make_room(self) -> None:
        """Evict the session that was idle longest if there is no room for another one.

        Raises `AgentBusy` if every session is in use. The new session does not wait for the closing.
        """
        if len(self._slots) + self._anonymous < self._max_sessions:
            return
        idle = next((call for call, slot in self._slots.items() if not slot.users), None)
        if idle is None:
            raise AgentBusy(f"{self._max_sessions} sessions are in use, the most allowed")
        closing = asyncio.create_task(self._close_idle(self._remove(idle)))
        self._evictions.add(closing)
        closing.add_done_callback(self._evictions.discard)

    @asynccontextmanager
    async def _hold(self, slot: SessionSlot[S]) -> AsyncIterator[None]:
        """Hold the lock of a slot. The last user of a slot that left the pool closes its session."""
        slot.users += 1
        try:
            async with slot.lock:
                yield
        finally:
            try:
                if slot.users == 1 and self._slots.get(slot.call) is not slot:
                    await self._close_session(slot, slot.has_left)
            finally:
                slot.users -= 1
                if slot.has_left and not slot.users:
                    self._forget(slot)
                elif self._slots.get(slot.call) is slot:
                    self._slots[slot.call] = self._slots.pop(slot.call)  # now it was used last

    def _forget(self, slot: SessionSlot[S]) -> None:
        slot.closed.set()
        leaving = self._leaving[slot.call]
        leaving.remove(slot)
        if not leaving:
            del self._leaving[slot.call]

    async def _ensure_session(self, slot: SessionSlot[S]) -> S:
        """Return the session of a slot whose lock is held; open it if there is none that is usable."""
        if slot.session is not None and not self._is_usable(slot.session):
            await self._close_session(slot)
        if slot.session is None:
            for predecessor in slot.predecessors:
                await predecessor.closed.wait()  # the agent knows a session by its call
            slot.predecessors = ()
            slot.session = await self._open(slot.call)
        return slot.session

    @asynccontextmanager
    async def _anonymous_session(self) -> AsyncIterator[S]:
        """Open a session for one turn, and discard it afterwards."""
        self._make_room()
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

    async def _close_session(self, slot: SessionSlot[S], discard: bool = False) -> None:
        session, slot.session = slot.session, None
        if session is not None:
            with suppress(AgentError):
                await self._close(session, discard)
