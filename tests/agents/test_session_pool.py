"""Sessions, one per call, against every order in which things can happen."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from voicegw.agents.session_pool import SessionPool
from voicegw.errors import AgentBusy, AgentTimeout, AgentUnavailable
from voicegw.events import Message, Turn


class Desk:
    """Opens and closes sessions, each within its time, and writes down when it began and ended to.

    A session is the name of its call and a number. `broken` opens fail, in order; what is in `bad` cannot be
    used any more. `told` are the lines of the book without their times.
    """

    def __init__(self, opening: float = 0.0, closing: float = 0.0, most: int = 1000) -> None:
        self.opening, self.closing = opening, closing
        self.broken: list[Exception] = []
        self.unclosable: Exception | None = None
        self.bad: set[str] = set()
        self.book: list[tuple[float, str]] = []
        self.count = 0
        self.sessions: SessionPool[str] = SessionPool(
            self._open, self._close, good=lambda session: session not in self.bad, max_sessions=most
        )

    @property
    def told(self) -> list[str]:
        return [line for _, line in self.book]

    def write(self, line: str) -> None:
        self.book.append((asyncio.get_running_loop().time(), line))

    async def _open(self, call: str | None) -> str:
        self.count += 1
        name = f"{call or 'nobody'}{self.count}"
        self.write(f"open {name}")
        try:
            await asyncio.sleep(self.opening)
        except asyncio.CancelledError:
            self.write(f"cancelled {name}")
            raise
        if self.broken:
            raise self.broken.pop(0)
        self.write(f"opened {name}")
        return name

    async def _close(self, session: str, over: bool) -> None:
        self.write(f"{'end' if over else 'shut'} {session}")
        try:
            await asyncio.sleep(self.closing)
        except asyncio.CancelledError:
            self.write(f"cancelled {session}")
            raise
        if self.unclosable is not None:
            raise self.unclosable
        self.write(f"gone {session}")

    async def use(self, call: str | None, lasting: float = 0.0, *, background: bool = False) -> None:
        turn = Turn("t", (Message("user", "Hi"),), call=call, background=background)
        async with self.sessions.acquire(turn) as session:
            self.write(f"use {session}")
            try:
                await asyncio.sleep(lasting)
            finally:
                self.write(f"used {session}")

    def later(self, after: float, what: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def run() -> None:
            await asyncio.sleep(after)
            await what

        return asyncio.create_task(run())

    def nothing_left(self, *calls: str) -> None:
        """Nobody is anywhere, and only these calls are kept."""
        rooms = self.sessions._rooms
        assert tuple(rooms) == calls
        assert not any(room.inside or room.lock.locked() or room.before for room in rooms.values())
        assert (self.sessions._leaving, self.sessions._anonymous) == ({}, 0)


async def test_a_call_keeps_its_session_until_it_is_over() -> None:
    desk = Desk()
    await desk.sessions.warm("a")
    await desk.use("a")
    await desk.use("a")
    await desk.use("b")
    desk.nothing_left("a", "b")
    await desk.sessions.call_ended("a")
    await desk.sessions.call_ended("a")
    await desk.sessions.call_ended("stranger")
    assert desk.told == [
        *("open a1", "opened a1", "use a1", "used a1", "use a1", "used a1"),
        *("open b2", "opened b2", "use b2", "used b2", "end a1", "gone a1"),
    ]
    desk.nothing_left("b")


async def test_the_turns_of_a_call_use_its_session_one_after_the_other() -> None:
    desk = Desk()
    await asyncio.gather(desk.use("a", 1.0), desk.use("a", 1.0), desk.use("b", 1.0))
    assert [line for line in desk.book if "a1" in line[1]][2:] == [
        *((0.0, "use a1"), (1.0, "used a1"), (1.0, "use a1"), (2.0, "used a1")),
    ]
    assert desk.book[-3:] == [(1.0, "used b2"), (1.0, "use a1"), (2.0, "used a1")]
    desk.nothing_left("a", "b")


async def test_warming_and_using_at_once_opens_once() -> None:
    desk = Desk(opening=1.0)
    await asyncio.gather(desk.sessions.warm("a"), desk.use("a"), desk.sessions.warm("a"))
    assert desk.book == [(0.0, "open a1"), (1.0, "opened a1"), (1.0, "use a1"), (1.0, "used a1")]
    desk.nothing_left("a")


async def test_what_is_not_ready_in_time_is_given_up_and_opened_by_the_next_turn() -> None:
    desk = Desk(opening=11.0)
    with pytest.raises(AgentTimeout, match=r"^no session was ready within 10 s$"):
        await desk.sessions.warm("a")
    desk.opening = 1.0
    with pytest.raises(AgentTimeout):
        await desk.sessions.warm("a", lambda session: asyncio.sleep(9.5))
    await desk.use("a")
    assert desk.book[-3:] == [(11.0, "opened a2"), (20.0, "use a2"), (20.0, "used a2")]
    desk.nothing_left("a")


async def test_leaving_waits_for_the_turn_that_uses_the_session() -> None:
    desk = Desk(closing=1.0)
    using = asyncio.create_task(desk.use("a", 2.0))
    await desk.later(1.0, desk.sessions.call_ended("a"))
    assert desk.book[-3:] == [(2.0, "used a1"), (2.0, "end a1"), (3.0, "gone a1")]
    assert using.done()
    await using
    desk.nothing_left()


async def test_a_turn_does_not_wait_until_its_call_has_left() -> None:
    desk = Desk(closing=1.0)
    leaving = desk.later(1.0, desk.sessions.call_ended("a"))
    await desk.use("a", 2.0)
    assert asyncio.get_running_loop().time() == 2.0
    await leaving
    assert desk.book[-1] == (3.0, "gone a1")


async def test_a_session_that_opens_while_its_call_leaves_is_closed() -> None:
    desk = Desk(opening=2.0)
    await asyncio.gather(desk.sessions.warm("a"), desk.later(1.0, desk.sessions.call_ended("a")))
    assert desk.book[1:] == [(2.0, "opened a1"), (2.0, "end a1"), (2.0, "gone a1")]
    desk.nothing_left()


async def test_a_turn_that_waits_while_its_call_leaves_is_the_last_one() -> None:
    desk = Desk()
    first, second = (asyncio.create_task(desk.use("a", 2.0)) for _ in range(2))
    await desk.later(1.0, desk.sessions.call_ended("a"))
    await asyncio.gather(first, second)
    assert desk.book[-4:] == [(2.0, "use a1"), (4.0, "used a1"), (4.0, "end a1"), (4.0, "gone a1")]
    desk.nothing_left()


async def test_a_call_that_comes_back_waits_until_it_has_left() -> None:
    desk = Desk(closing=3.0)
    await desk.use("a")
    leaving = asyncio.create_task(desk.sessions.call_ended("a"))
    await desk.later(1.0, desk.use("a"))
    assert desk.book[4:] == [
        *((0.0, "end a1"), (3.0, "gone a1"), (3.0, "open a2"), (3.0, "opened a2")),
        *((3.0, "use a2"), (3.0, "used a2")),
    ]
    await leaving
    desk.nothing_left("a")


async def test_a_call_that_comes_back_twice_waits_for_all_that_was_before() -> None:
    desk = Desk(closing=5.0)
    await desk.use("a")
    first = asyncio.create_task(desk.sessions.call_ended("a"))
    back = desk.later(1.0, desk.sessions.warm("a"))
    second = desk.later(2.0, desk.sessions.call_ended("a"))
    await asyncio.sleep(2.5)
    back.cancel()
    with suppress(asyncio.CancelledError):
        await back
    await second
    third = desk.later(0.5, desk.use("a"))
    await asyncio.gather(first, third)
    assert desk.book[-6:] == [
        *((0.0, "end a1"), (5.0, "gone a1")),
        *((5.0, "open a2"), (5.0, "opened a2"), (5.0, "use a2"), (5.0, "used a2")),
    ]
    desk.nothing_left("a")


async def test_calls_that_come_and_go_never_wait_for_each_other_in_a_circle() -> None:
    desk = Desk(opening=0.3, closing=0.7)
    errands = []
    for step in range(20):
        errands += [
            desk.later(step * 0.5, desk.use("a", 0.4)),
            desk.later(step * 0.5 + 0.1, desk.sessions.warm("a")),
            desk.later(step * 0.5 + 0.3, desk.sessions.call_ended("a")),
        ]
    await asyncio.gather(*errands)
    opened = [line for line in desk.told if line.startswith(("opened", "gone"))]
    assert opened[::2] == [line.replace("gone", "opened") for line in opened[1::2]]  # never two at a time
    desk.nothing_left()


async def test_cancelled_while_opening_the_next_one_opens_again() -> None:
    desk = Desk(opening=2.0)
    warming = asyncio.create_task(desk.sessions.warm("a"))
    using = asyncio.create_task(desk.use("a"))
    await asyncio.sleep(1.0)
    warming.cancel()
    await using
    assert desk.book == [
        *((0.0, "open a1"), (1.0, "cancelled a1"), (1.0, "open a2"), (3.0, "opened a2")),
        *((3.0, "use a2"), (3.0, "used a2")),
    ]
    desk.nothing_left("a")


async def test_cancelled_while_opening_a_call_that_left_leaves_nothing() -> None:
    desk = Desk(opening=2.0)
    warming = asyncio.create_task(desk.sessions.warm("a"))
    leaving = desk.later(0.5, desk.sessions.call_ended("a"))
    await asyncio.sleep(1.0)
    warming.cancel()
    await leaving
    assert desk.told == ["open a1", "cancelled a1"]
    desk.nothing_left()


async def test_cancelled_while_waiting_for_the_session_the_others_go_on() -> None:
    desk = Desk()
    first, second, third = (asyncio.create_task(desk.use("a", 2.0)) for _ in range(3))
    await asyncio.sleep(1.0)
    second.cancel()
    await asyncio.gather(first, third)
    assert desk.book[2:] == [(0.0, "use a1"), (2.0, "used a1"), (2.0, "use a1"), (4.0, "used a1")]
    desk.nothing_left("a")


async def test_cancelled_while_waiting_to_leave_the_turn_closes_the_session() -> None:
    desk = Desk(closing=1.0)
    using = asyncio.create_task(desk.use("a", 3.0))
    leaving = desk.later(1.0, desk.sessions.call_ended("a"))
    await asyncio.sleep(2.0)
    leaving.cancel()
    back = asyncio.create_task(desk.use("a"))
    await asyncio.gather(using, back)
    assert desk.book[-6:] == [
        *((3.0, "end a1"), (4.0, "gone a1")),
        *((4.0, "open a2"), (4.0, "opened a2"), (4.0, "use a2"), (4.0, "used a2")),
    ]
    desk.nothing_left("a")


async def test_cancelled_when_the_session_gets_free_it_is_closed_all_the_same() -> None:
    desk = Desk()
    using = asyncio.create_task(desk.use("a", 2.0))
    leaving = asyncio.create_task(desk.sessions.call_ended("a"))
    await using  # the lock was given to whoever leaves, who is not running yet
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    assert desk.told[-2] == "end a1"
    desk.nothing_left()


async def test_cancelled_while_closing_the_call_may_come_back() -> None:
    desk = Desk(closing=3.0)
    await desk.use("a")
    leaving = asyncio.create_task(desk.sessions.call_ended("a"))
    back = desk.later(0.5, desk.use("a"))
    await asyncio.sleep(1.0)
    leaving.cancel()
    await back
    assert desk.book[4:8] == [
        *((0.0, "end a1"), (1.0, "cancelled a1"), (1.0, "open a2"), (1.0, "opened a2")),
    ]
    desk.nothing_left("a")


async def test_cancelled_in_the_middle_of_a_turn_the_session_is_free_again() -> None:
    desk = Desk()
    using = asyncio.create_task(desk.use("a", 9.0))
    await asyncio.sleep(1.0)
    using.cancel()
    await desk.use("a")
    assert desk.book[3:] == [(1.0, "used a1"), (1.0, "use a1"), (1.0, "used a1")]
    desk.nothing_left("a")


async def test_a_session_that_cannot_be_opened_is_tried_again_by_the_next_turn() -> None:
    desk = Desk()
    desk.broken = [AgentUnavailable("down"), AgentUnavailable("still down")]
    with pytest.raises(AgentUnavailable, match=r"^down$"):
        await desk.sessions.warm("a")
    with pytest.raises(AgentUnavailable, match=r"^still down$"):
        await desk.use("a")
    await desk.use("a")
    assert desk.told == ["open a1", "open a2", "open a3", "opened a3", "use a3", "used a3"]
    desk.nothing_left("a")
    await desk.sessions.call_ended("a")
    desk.nothing_left()


async def test_a_call_whose_session_never_opened_leaves_without_a_trace() -> None:
    desk = Desk()
    desk.broken = [AgentUnavailable("down")]
    with pytest.raises(AgentUnavailable):
        await desk.sessions.warm("a")
    await desk.sessions.call_ended("a")
    assert desk.told == ["open a1"]
    desk.nothing_left()


async def test_a_session_that_is_not_good_any_more_is_shut_and_opened_anew() -> None:
    desk = Desk(closing=1.0)
    await desk.use("a")
    desk.bad = {"a1"}
    desk.unclosable = AgentUnavailable("it is gone already")
    await desk.use("a")
    assert desk.book[4:] == [
        *((0.0, "shut a1"), (1.0, "open a2"), (1.0, "opened a2"), (1.0, "use a2"), (1.0, "used a2")),
    ]
    desk.nothing_left("a")


async def test_what_goes_wrong_in_a_turn_passes_and_the_session_stays() -> None:
    desk = Desk()
    with pytest.raises(ZeroDivisionError):
        async with desk.sessions.acquire(Turn("t", (), call="a")):
            _ = 1 / 0
    await desk.use("a")
    assert desk.told == ["open a1", "opened a1", "use a1", "used a1"]
    desk.nothing_left("a")


async def test_a_turn_aside_has_a_session_of_its_own_while_that_of_the_call_is_busy() -> None:
    desk = Desk()
    main = asyncio.create_task(desk.use("a", 2.0))
    await desk.later(1.0, desk.use("a", background=True))
    assert desk.book[3:] == [
        *((1.0, "open nobody2"), (1.0, "opened nobody2"), (1.0, "use nobody2"), (1.0, "used nobody2")),
        *((1.0, "end nobody2"), (1.0, "gone nobody2")),
    ]
    await main
    desk.nothing_left("a")


async def test_a_turn_aside_uses_the_session_of_the_call_while_that_is_free() -> None:
    desk = Desk()
    await desk.use("a", background=True)
    await desk.use("a")
    await desk.use("a", background=True)
    assert {line.split()[1] for line in desk.told} == {"a1"}
    desk.nothing_left("a")


async def test_the_session_of_a_turn_of_nobodys_is_closed_for_good() -> None:
    desk = Desk()
    await asyncio.gather(desk.use(None, 1.0), desk.use(None, 1.0))
    assert sorted(line for line in desk.told if "end" in line) == ["end nobody1", "end nobody2"]
    desk.nothing_left()


async def test_the_session_of_a_turn_of_nobodys_is_closed_when_it_is_cancelled() -> None:
    desk = Desk(opening=1.0)
    opening = asyncio.create_task(desk.use(None))
    using = asyncio.create_task(desk.use(None, 9.0))
    await asyncio.sleep(0.5)
    opening.cancel()
    await asyncio.sleep(1.0)
    using.cancel()
    await asyncio.gather(opening, using, return_exceptions=True)
    assert desk.told == [
        *("open nobody1", "open nobody2", "cancelled nobody1", "opened nobody2"),
        *("use nobody2", "used nobody2", "end nobody2", "gone nobody2"),
    ]
    desk.nothing_left()


async def test_what_an_agent_says_about_closing_is_nobodys_business() -> None:
    desk = Desk()
    desk.unclosable = AgentUnavailable("gone")
    await desk.use(None)
    await desk.use("a")
    await desk.sessions.call_ended("a")
    await desk.use("b")
    await desk.sessions.aclose()
    assert [line for line in desk.told if line[0] == "e" or "shut" in line] == [
        "end nobody1",
        "end a2",
        "shut b3",
    ]
    desk.nothing_left()


async def test_no_more_sessions_are_kept_than_allowed() -> None:
    desk = Desk(most=2)
    await desk.sessions.warm("a")
    nobody = asyncio.create_task(desk.use(None, 1.0))
    await asyncio.sleep(0.5)
    for one_more in (desk.sessions.warm("b"), desk.use("b"), desk.use(None)):
        with pytest.raises(AgentBusy, match=r"^2 sessions are open, the most allowed$"):
            await one_more
    await desk.use("a")
    await nobody
    await desk.use("b")
    with pytest.raises(AgentBusy):
        await desk.use(None)
    await desk.sessions.call_ended("a")
    await desk.use(None)
    desk.nothing_left("b")


async def test_closing_shuts_every_connection_at_once_and_keeps_the_sessions() -> None:
    desk = Desk(closing=1.0)
    for call in ("a", "b"):
        await desk.use(call)
    desk.book.clear()
    await desk.sessions.aclose()
    assert desk.book == [(0.0, "shut a1"), (0.0, "shut b2"), (1.0, "gone a1"), (1.0, "gone b2")]
    await desk.sessions.aclose()
    desk.nothing_left()


async def test_closing_does_not_wait_for_a_turn() -> None:
    desk = Desk()
    using = asyncio.create_task(desk.use("a", 2.0))
    await desk.later(1.0, desk.sessions.aclose())
    assert desk.book[-2:] == [(1.0, "shut a1"), (1.0, "gone a1")]
    await using
    assert desk.book[-1] == (2.0, "used a1")
    desk.nothing_left()


async def test_a_session_that_opens_after_the_end_is_shut() -> None:
    desk = Desk(opening=2.0)
    warming = asyncio.create_task(desk.sessions.warm("a"))
    using = asyncio.create_task(desk.use("b"))
    await desk.later(1.0, desk.sessions.aclose())
    await asyncio.gather(warming, using)
    assert [line for line in desk.told if "shut" in line] == ["shut a1", "shut b2"]
    desk.nothing_left()


async def test_closing_shuts_the_others_although_one_cannot_be() -> None:
    desk = Desk(closing=1.0)
    desk.unclosable = ZeroDivisionError("a mistake of the adapter's")
    for call in ("a", "b"):
        await desk.use(call)
    with pytest.raises(ZeroDivisionError):
        await desk.sessions.aclose()
    assert desk.told[-2:] == ["shut a1", "shut b2"]
    assert asyncio.get_running_loop().time() == 1.0
    desk.nothing_left()


async def test_a_mistake_in_closing_leaves_no_call_waiting() -> None:
    desk = Desk()
    await desk.use("a")
    desk.unclosable = ZeroDivisionError("a mistake of the adapter's")
    with pytest.raises(ZeroDivisionError):
        await desk.sessions.call_ended("a")
    desk.nothing_left()
    await desk.use("a")
    desk.nothing_left("a")
