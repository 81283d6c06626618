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


class PoolRecorder:
    """Opens and closes sessions, each within its time, and writes down when it began and ended to.

    A session is the name of its call and a number. `broken` opens fail, in order; what is in `bad` cannot be
    used any more. `told` are the lines of the book without their times.
    """

    def __init__(self, open_seconds: float = 0.0, close_seconds: float = 0.0, max_sessions: int = 1000) -> None:
        self.open_seconds, self.close_seconds = open_seconds, close_seconds
        self.open_errors: list[Exception] = []
        self.close_error: Exception | None = None
        self.unusable: set[str] = set()
        self.timed_entries: list[tuple[float, str]] = []
        self.count = 0
        self.pool: SessionPool[str] = SessionPool(
            self._open, self._close, is_usable=lambda session: session not in self.unusable, max_sessions=max_sessions
        )

    @property
    def entries(self) -> list[str]:
        return [line for _, line in self.timed_entries]

    def record(self, line: str) -> None:
        self.timed_entries.append((asyncio.get_running_loop().time(), line))

    async def _open(self, call: str | None) -> str:
        self.count += 1
        name = f"{call or 'nobody'}{self.count}"
        self.record(f"open {name}")
        try:
            await asyncio.sleep(self.open_seconds)
        except asyncio.CancelledError:
            self.record(f"cancelled {name}")
            raise
        if self.open_errors:
            raise self.open_errors.pop(0)
        self.record(f"opened {name}")
        return name

    async def _close(self, session: str, over: bool) -> None:
        self.record(f"{'end' if over else 'shut'} {session}")
        try:
            await asyncio.sleep(self.close_seconds)
        except asyncio.CancelledError:
            self.record(f"cancelled {session}")
            raise
        if self.close_error is not None:
            raise self.close_error
        self.record(f"gone {session}")

    async def use(self, call: str | None, seconds: float = 0.0, *, background: bool = False) -> None:
        turn = Turn("t", (Message("user", "Hi"),), call=call, background=background)
        async with self.pool.acquire(turn) as session:
            self.record(f"use {session}")
            try:
                await asyncio.sleep(seconds)
            finally:
                self.record(f"used {session}")

    def start_after(self, after: float, what: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def run() -> None:
            await asyncio.sleep(after)
            await what

        return asyncio.create_task(run())

    def assert_idle(self, *calls: str) -> None:
        """Nobody is anywhere, and only these calls are kept."""
        rooms = self.pool._slots
        assert tuple(rooms) == calls
        assert not any(room.users or room.lock.locked() or room.predecessors for room in rooms.values())
        assert (self.pool._ending, self.pool._anonymous) == ({}, 0)


async def test_a_call_keeps_its_session_until_it_is_over() -> None:
    desk = PoolRecorder()
    await desk.pool.warm("a")
    await desk.use("a")
    await desk.use("a")
    await desk.use("b")
    desk.assert_idle("a", "b")
    await desk.pool.call_ended("a")
    await desk.pool.call_ended("a")
    await desk.pool.call_ended("stranger")
    assert desk.entries == [
        *("open a1", "opened a1", "use a1", "used a1", "use a1", "used a1"),
        *("open b2", "opened b2", "use b2", "used b2", "end a1", "gone a1"),
    ]
    desk.assert_idle("b")


async def test_the_turns_of_a_call_use_its_session_one_after_the_other() -> None:
    desk = PoolRecorder()
    await asyncio.gather(desk.use("a", 1.0), desk.use("a", 1.0), desk.use("b", 1.0))
    assert [line for line in desk.timed_entries if "a1" in line[1]][2:] == [
        *((0.0, "use a1"), (1.0, "used a1"), (1.0, "use a1"), (2.0, "used a1")),
    ]
    assert desk.timed_entries[-3:] == [(1.0, "used b2"), (1.0, "use a1"), (2.0, "used a1")]
    desk.assert_idle("a", "b")


async def test_warming_and_using_at_once_opens_once() -> None:
    desk = PoolRecorder(open_seconds=1.0)
    await asyncio.gather(desk.pool.warm("a"), desk.use("a"), desk.pool.warm("a"))
    assert desk.timed_entries == [(0.0, "open a1"), (1.0, "opened a1"), (1.0, "use a1"), (1.0, "used a1")]
    desk.assert_idle("a")


async def test_what_is_not_ready_in_time_is_given_up_and_opened_by_the_next_turn() -> None:
    desk = PoolRecorder(open_seconds=11.0)
    with pytest.raises(AgentTimeout, match=r"^no session was ready within 10 s$"):
        await desk.pool.warm("a")
    desk.open_seconds = 1.0
    with pytest.raises(AgentTimeout):
        await desk.pool.warm("a", lambda session: asyncio.sleep(9.5))
    await desk.use("a")
    assert desk.timed_entries[-3:] == [(11.0, "opened a2"), (20.0, "use a2"), (20.0, "used a2")]
    desk.assert_idle("a")


async def test_leaving_waits_for_the_turn_that_uses_the_session() -> None:
    desk = PoolRecorder(close_seconds=1.0)
    using = asyncio.create_task(desk.use("a", 2.0))
    await desk.start_after(1.0, desk.pool.call_ended("a"))
    assert desk.timed_entries[-3:] == [(2.0, "used a1"), (2.0, "end a1"), (3.0, "gone a1")]
    assert using.done()
    await using
    desk.assert_idle()


async def test_a_turn_does_not_wait_until_its_call_has_left() -> None:
    desk = PoolRecorder(close_seconds=1.0)
    leaving = desk.start_after(1.0, desk.pool.call_ended("a"))
    await desk.use("a", 2.0)
    assert asyncio.get_running_loop().time() == 2.0
    await leaving
    assert desk.timed_entries[-1] == (3.0, "gone a1")


async def test_a_session_that_opens_while_its_call_leaves_is_closed() -> None:
    desk = PoolRecorder(open_seconds=2.0)
    await asyncio.gather(desk.pool.warm("a"), desk.start_after(1.0, desk.pool.call_ended("a")))
    assert desk.timed_entries[1:] == [(2.0, "opened a1"), (2.0, "end a1"), (2.0, "gone a1")]
    desk.assert_idle()


async def test_a_turn_that_waits_while_its_call_leaves_is_the_last_one() -> None:
    desk = PoolRecorder()
    first, second = (asyncio.create_task(desk.use("a", 2.0)) for _ in range(2))
    await desk.start_after(1.0, desk.pool.call_ended("a"))
    await asyncio.gather(first, second)
    assert desk.timed_entries[-4:] == [(2.0, "use a1"), (4.0, "used a1"), (4.0, "end a1"), (4.0, "gone a1")]
    desk.assert_idle()


async def test_a_call_that_comes_back_waits_until_it_has_left() -> None:
    desk = PoolRecorder(close_seconds=3.0)
    await desk.use("a")
    leaving = asyncio.create_task(desk.pool.call_ended("a"))
    await desk.start_after(1.0, desk.use("a"))
    assert desk.timed_entries[4:] == [
        *((0.0, "end a1"), (3.0, "gone a1"), (3.0, "open a2"), (3.0, "opened a2")),
        *((3.0, "use a2"), (3.0, "used a2")),
    ]
    await leaving
    desk.assert_idle("a")


async def test_a_call_that_comes_back_twice_waits_for_all_that_was_before() -> None:
    desk = PoolRecorder(close_seconds=5.0)
    await desk.use("a")
    first = asyncio.create_task(desk.pool.call_ended("a"))
    back = desk.start_after(1.0, desk.pool.warm("a"))
    second = desk.start_after(2.0, desk.pool.call_ended("a"))
    await asyncio.sleep(2.5)
    back.cancel()
    with suppress(asyncio.CancelledError):
        await back
    await second
    third = desk.start_after(0.5, desk.use("a"))
    await asyncio.gather(first, third)
    assert desk.timed_entries[-6:] == [
        *((0.0, "end a1"), (5.0, "gone a1")),
        *((5.0, "open a2"), (5.0, "opened a2"), (5.0, "use a2"), (5.0, "used a2")),
    ]
    desk.assert_idle("a")


async def test_calls_that_come_and_go_never_wait_for_each_other_in_a_circle() -> None:
    desk = PoolRecorder(open_seconds=0.3, close_seconds=0.7)
    errands = []
    for step in range(20):
        errands += [
            desk.start_after(step * 0.5, desk.use("a", 0.4)),
            desk.start_after(step * 0.5 + 0.1, desk.pool.warm("a")),
            desk.start_after(step * 0.5 + 0.3, desk.pool.call_ended("a")),
        ]
    await asyncio.gather(*errands)
    opened = [line for line in desk.entries if line.startswith(("opened", "gone"))]
    assert opened[::2] == [line.replace("gone", "opened") for line in opened[1::2]]  # never two at a time
    desk.assert_idle()


async def test_cancelled_while_opening_the_next_one_opens_again() -> None:
    desk = PoolRecorder(open_seconds=2.0)
    warming = asyncio.create_task(desk.pool.warm("a"))
    using = asyncio.create_task(desk.use("a"))
    await asyncio.sleep(1.0)
    warming.cancel()
    await using
    assert desk.timed_entries == [
        *((0.0, "open a1"), (1.0, "cancelled a1"), (1.0, "open a2"), (3.0, "opened a2")),
        *((3.0, "use a2"), (3.0, "used a2")),
    ]
    desk.assert_idle("a")


async def test_cancelled_while_opening_a_call_that_left_leaves_nothing() -> None:
    desk = PoolRecorder(open_seconds=2.0)
    warming = asyncio.create_task(desk.pool.warm("a"))
    leaving = desk.start_after(0.5, desk.pool.call_ended("a"))
    await asyncio.sleep(1.0)
    warming.cancel()
    await leaving
    assert desk.entries == ["open a1", "cancelled a1"]
    desk.assert_idle()


async def test_cancelled_while_waiting_for_the_session_the_others_go_on() -> None:
    desk = PoolRecorder()
    first, second, third = (asyncio.create_task(desk.use("a", 2.0)) for _ in range(3))
    await asyncio.sleep(1.0)
    second.cancel()
    await asyncio.gather(first, third)
    assert desk.timed_entries[2:] == [(0.0, "use a1"), (2.0, "used a1"), (2.0, "use a1"), (4.0, "used a1")]
    desk.assert_idle("a")


async def test_cancelled_while_waiting_to_leave_the_turn_closes_the_session() -> None:
    desk = PoolRecorder(close_seconds=1.0)
    using = asyncio.create_task(desk.use("a", 3.0))
    leaving = desk.start_after(1.0, desk.pool.call_ended("a"))
    await asyncio.sleep(2.0)
    leaving.cancel()
    back = asyncio.create_task(desk.use("a"))
    await asyncio.gather(using, back)
    assert desk.timed_entries[-6:] == [
        *((3.0, "end a1"), (4.0, "gone a1")),
        *((4.0, "open a2"), (4.0, "opened a2"), (4.0, "use a2"), (4.0, "used a2")),
    ]
    desk.assert_idle("a")


async def test_cancelled_when_the_session_gets_free_it_is_closed_all_the_same() -> None:
    desk = PoolRecorder()
    using = asyncio.create_task(desk.use("a", 2.0))
    leaving = asyncio.create_task(desk.pool.call_ended("a"))
    await using  # the lock was given to whoever leaves, who is not running yet
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    assert desk.entries[-2] == "end a1"
    desk.assert_idle()


async def test_cancelled_while_closing_the_call_may_come_back() -> None:
    desk = PoolRecorder(close_seconds=3.0)
    await desk.use("a")
    leaving = asyncio.create_task(desk.pool.call_ended("a"))
    back = desk.start_after(0.5, desk.use("a"))
    await asyncio.sleep(1.0)
    leaving.cancel()
    await back
    assert desk.timed_entries[4:8] == [
        *((0.0, "end a1"), (1.0, "cancelled a1"), (1.0, "open a2"), (1.0, "opened a2")),
    ]
    desk.assert_idle("a")


async def test_cancelled_in_the_middle_of_a_turn_the_session_is_free_again() -> None:
    desk = PoolRecorder()
    using = asyncio.create_task(desk.use("a", 9.0))
    await asyncio.sleep(1.0)
    using.cancel()
    await desk.use("a")
    assert desk.timed_entries[3:] == [(1.0, "used a1"), (1.0, "use a1"), (1.0, "used a1")]
    desk.assert_idle("a")


async def test_a_session_that_cannot_be_opened_is_tried_again_by_the_next_turn() -> None:
    desk = PoolRecorder()
    desk.open_errors = [AgentUnavailable("down"), AgentUnavailable("still down")]
    with pytest.raises(AgentUnavailable, match=r"^down$"):
        await desk.pool.warm("a")
    with pytest.raises(AgentUnavailable, match=r"^still down$"):
        await desk.use("a")
    await desk.use("a")
    assert desk.entries == ["open a1", "open a2", "open a3", "opened a3", "use a3", "used a3"]
    desk.assert_idle("a")
    await desk.pool.call_ended("a")
    desk.assert_idle()


async def test_a_call_whose_session_never_opened_leaves_without_a_trace() -> None:
    desk = PoolRecorder()
    desk.open_errors = [AgentUnavailable("down")]
    with pytest.raises(AgentUnavailable):
        await desk.pool.warm("a")
    await desk.pool.call_ended("a")
    assert desk.entries == ["open a1"]
    desk.assert_idle()


async def test_a_session_that_is_not_good_any_more_is_shut_and_opened_anew() -> None:
    desk = PoolRecorder(close_seconds=1.0)
    await desk.use("a")
    desk.unusable = {"a1"}
    desk.close_error = AgentUnavailable("it is gone already")
    await desk.use("a")
    assert desk.timed_entries[4:] == [
        *((0.0, "shut a1"), (1.0, "open a2"), (1.0, "opened a2"), (1.0, "use a2"), (1.0, "used a2")),
    ]
    desk.assert_idle("a")


async def test_what_goes_wrong_in_a_turn_passes_and_the_session_stays() -> None:
    desk = PoolRecorder()
    with pytest.raises(ZeroDivisionError):
        async with desk.pool.acquire(Turn("t", (), call="a")):
            _ = 1 / 0
    await desk.use("a")
    assert desk.entries == ["open a1", "opened a1", "use a1", "used a1"]
    desk.assert_idle("a")


async def test_a_turn_aside_has_a_session_of_its_own_while_that_of_the_call_is_busy() -> None:
    desk = PoolRecorder()
    main = asyncio.create_task(desk.use("a", 2.0))
    await desk.start_after(1.0, desk.use("a", background=True))
    assert desk.timed_entries[3:] == [
        *((1.0, "open nobody2"), (1.0, "opened nobody2"), (1.0, "use nobody2"), (1.0, "used nobody2")),
        *((1.0, "end nobody2"), (1.0, "gone nobody2")),
    ]
    await main
    desk.assert_idle("a")


async def test_a_turn_aside_uses_the_session_of_the_call_while_that_is_free() -> None:
    desk = PoolRecorder()
    await desk.use("a", background=True)
    await desk.use("a")
    await desk.use("a", background=True)
    assert {line.split()[1] for line in desk.entries} == {"a1"}
    desk.assert_idle("a")


async def test_the_session_of_a_turn_of_nobodys_is_closed_for_good() -> None:
    desk = PoolRecorder()
    await asyncio.gather(desk.use(None, 1.0), desk.use(None, 1.0))
    assert sorted(line for line in desk.entries if "end" in line) == ["end nobody1", "end nobody2"]
    desk.assert_idle()


async def test_the_session_of_a_turn_of_nobodys_is_closed_when_it_is_cancelled() -> None:
    desk = PoolRecorder(open_seconds=1.0)
    opening = asyncio.create_task(desk.use(None))
    using = asyncio.create_task(desk.use(None, 9.0))
    await asyncio.sleep(0.5)
    opening.cancel()
    await asyncio.sleep(1.0)
    using.cancel()
    await asyncio.gather(opening, using, return_exceptions=True)
    assert desk.entries == [
        *("open nobody1", "open nobody2", "cancelled nobody1", "opened nobody2"),
        *("use nobody2", "used nobody2", "end nobody2", "gone nobody2"),
    ]
    desk.assert_idle()


async def test_what_an_agent_says_about_closing_is_nobodys_business() -> None:
    desk = PoolRecorder()
    desk.close_error = AgentUnavailable("gone")
    await desk.use(None)
    await desk.use("a")
    await desk.pool.call_ended("a")
    await desk.use("b")
    await desk.pool.aclose()
    assert [line for line in desk.entries if line[0] == "e" or "shut" in line] == [
        "end nobody1",
        "end a2",
        "shut b3",
    ]
    desk.assert_idle()


async def test_no_more_sessions_are_kept_than_allowed() -> None:
    desk = PoolRecorder(max_sessions=2)
    await desk.pool.warm("a")
    nobody = asyncio.create_task(desk.use(None, 1.0))
    await asyncio.sleep(0.5)
    for one_more in (desk.pool.warm("b"), desk.use("b"), desk.use(None)):
        with pytest.raises(AgentBusy, match=r"^2 sessions are open, the most allowed$"):
            await one_more
    await desk.use("a")
    await nobody
    await desk.use("b")
    with pytest.raises(AgentBusy):
        await desk.use(None)
    await desk.pool.call_ended("a")
    await desk.use(None)
    desk.assert_idle("b")


async def test_closing_shuts_every_connection_at_once_and_keeps_the_sessions() -> None:
    desk = PoolRecorder(close_seconds=1.0)
    for call in ("a", "b"):
        await desk.use(call)
    desk.timed_entries.clear()
    await desk.pool.aclose()
    assert desk.timed_entries == [(0.0, "shut a1"), (0.0, "shut b2"), (1.0, "gone a1"), (1.0, "gone b2")]
    await desk.pool.aclose()
    desk.assert_idle()


async def test_closing_does_not_wait_for_a_turn() -> None:
    desk = PoolRecorder()
    using = asyncio.create_task(desk.use("a", 2.0))
    await desk.start_after(1.0, desk.pool.aclose())
    assert desk.timed_entries[-2:] == [(1.0, "shut a1"), (1.0, "gone a1")]
    await using
    assert desk.timed_entries[-1] == (2.0, "used a1")
    desk.assert_idle()


async def test_a_session_that_opens_after_the_end_is_shut() -> None:
    desk = PoolRecorder(open_seconds=2.0)
    warming = asyncio.create_task(desk.pool.warm("a"))
    using = asyncio.create_task(desk.use("b"))
    await desk.start_after(1.0, desk.pool.aclose())
    await asyncio.gather(warming, using)
    assert [line for line in desk.entries if "shut" in line] == ["shut a1", "shut b2"]
    desk.assert_idle()


async def test_closing_shuts_the_others_although_one_cannot_be() -> None:
    desk = PoolRecorder(close_seconds=1.0)
    desk.close_error = ZeroDivisionError("a mistake of the adapter's")
    for call in ("a", "b"):
        await desk.use(call)
    with pytest.raises(ZeroDivisionError):
        await desk.pool.aclose()
    assert desk.entries[-2:] == ["shut a1", "shut b2"]
    assert asyncio.get_running_loop().time() == 1.0
    desk.assert_idle()


async def test_a_mistake_in_closing_leaves_no_call_waiting() -> None:
    desk = PoolRecorder()
    await desk.use("a")
    desk.close_error = ZeroDivisionError("a mistake of the adapter's")
    with pytest.raises(ZeroDivisionError):
        await desk.pool.call_ended("a")
    desk.assert_idle()
    await desk.use("a")
    desk.assert_idle("a")
