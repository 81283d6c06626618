"""The session pool in every order of opening, use, cancellation and closing."""

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
    """A session pool whose `open` and `close` take some seconds, with a record of every step and its time.

    A session is the name of its call and a number. `open_errors` are raised by the next openings, in order,
    `close_error` by every closing. The sessions in `unusable` cannot be used any more. `entries` are the
    recorded steps without their times.
    """

    def __init__(
        self, open_seconds: float = 0.0, close_seconds: float = 0.0, max_sessions: int = 1000
    ) -> None:
        self.open_seconds, self.close_seconds = open_seconds, close_seconds
        self.open_errors: list[Exception] = []
        self.close_error: Exception | None = None
        self.unusable: set[str] = set()
        self.timed_entries: list[tuple[float, str]] = []
        self.count = 0
        self.pool: SessionPool[str] = SessionPool(
            self._open,
            self._close,
            is_usable=lambda session: session not in self.unusable,
            max_sessions=max_sessions,
        )

    @property
    def entries(self) -> list[str]:
        return [line for _, line in self.timed_entries]

    def record(self, line: str) -> None:
        self.timed_entries.append((asyncio.get_running_loop().time(), line))

    async def _open(self, call: str | None) -> str:
        self.count += 1
        name = f"{call or 'anonymous'}{self.count}"
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

    async def _close(self, session: str, discard: bool) -> None:
        self.record(f"{'discard' if discard else 'disconnect'} {session}")
        try:
            await asyncio.sleep(self.close_seconds)
        except asyncio.CancelledError:
            self.record(f"cancelled {session}")
            raise
        if self.close_error is not None:
            raise self.close_error
        self.record(f"closed {session}")

    async def use(self, call: str | None, seconds: float = 0.0, *, background: bool = False) -> None:
        turn = Turn("t", (Message("user", "Hi"),), call=call, background=background)
        async with self.pool.acquire(turn) as session:
            self.record(f"acquire {session}")
            try:
                await asyncio.sleep(seconds)
            finally:
                self.record(f"release {session}")

    def start_after(self, after: float, what: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def run() -> None:
            await asyncio.sleep(after)
            await what

        return asyncio.create_task(run())

    def assert_idle(self, *calls: str) -> None:
        """Assert that no task uses the pool, and that only these calls have a slot."""
        rooms = self.pool._slots
        assert tuple(rooms) == calls
        assert not any(room.users or room.lock.locked() or room.predecessors for room in rooms.values())
        assert (self.pool._leaving, self.pool._anonymous) == ({}, 0)


async def test_call_keeps_its_session_until_it_ends() -> None:
    recorder = PoolRecorder()
    await recorder.pool.warm("a")
    await recorder.use("a")
    await recorder.use("a")
    await recorder.use("b")
    recorder.assert_idle("a", "b")
    await recorder.pool.call_ended("a")
    await recorder.pool.call_ended("a")
    await recorder.pool.call_ended("stranger")
    assert recorder.entries == [
        *("open a1", "opened a1", "acquire a1", "release a1", "acquire a1", "release a1"),
        *("open b2", "opened b2", "acquire b2", "release b2", "discard a1", "closed a1"),
    ]
    recorder.assert_idle("b")


async def test_turns_of_a_call_use_its_session_one_after_the_other() -> None:
    recorder = PoolRecorder()
    await asyncio.gather(recorder.use("a", 1.0), recorder.use("a", 1.0), recorder.use("b", 1.0))
    assert [line for line in recorder.timed_entries if "a1" in line[1]][2:] == [
        *((0.0, "acquire a1"), (1.0, "release a1"), (1.0, "acquire a1"), (2.0, "release a1")),
    ]
    assert recorder.timed_entries[-3:] == [(1.0, "release b2"), (1.0, "acquire a1"), (2.0, "release a1")]
    recorder.assert_idle("b", "a")


async def test_warming_and_acquiring_together_opens_one_session() -> None:
    recorder = PoolRecorder(open_seconds=1.0)
    await asyncio.gather(recorder.pool.warm("a"), recorder.use("a"), recorder.pool.warm("a"))
    assert recorder.timed_entries == [
        (0.0, "open a1"),
        (1.0, "opened a1"),
        (1.0, "acquire a1"),
        (1.0, "release a1"),
    ]
    recorder.assert_idle("a")


async def test_warming_times_out_and_the_next_turn_opens_the_session() -> None:
    recorder = PoolRecorder(open_seconds=11.0)
    with pytest.raises(AgentTimeout, match=r"^no session was ready within 10 s$"):
        await recorder.pool.warm("a")
    recorder.open_seconds = 1.0
    with pytest.raises(AgentTimeout):
        await recorder.pool.warm("a", lambda session: asyncio.sleep(9.5))
    await recorder.use("a")
    assert recorder.timed_entries[-3:] == [(11.0, "opened a2"), (20.0, "acquire a2"), (20.0, "release a2")]
    recorder.assert_idle("a")


async def test_end_of_a_call_waits_for_the_turn_that_uses_its_session() -> None:
    recorder = PoolRecorder(close_seconds=1.0)
    using = asyncio.create_task(recorder.use("a", 2.0))
    await recorder.start_after(1.0, recorder.pool.call_ended("a"))
    assert recorder.timed_entries[-3:] == [(2.0, "release a1"), (2.0, "discard a1"), (3.0, "closed a1")]
    assert using.done()
    await using
    recorder.assert_idle()


async def test_turn_does_not_wait_for_the_end_of_its_call() -> None:
    recorder = PoolRecorder(close_seconds=1.0)
    leaving = recorder.start_after(1.0, recorder.pool.call_ended("a"))
    await recorder.use("a", 2.0)
    assert asyncio.get_running_loop().time() == 2.0
    await leaving
    assert recorder.timed_entries[-1] == (3.0, "closed a1")


async def test_session_that_opens_while_its_call_ends_is_closed() -> None:
    recorder = PoolRecorder(open_seconds=2.0)
    await asyncio.gather(recorder.pool.warm("a"), recorder.start_after(1.0, recorder.pool.call_ended("a")))
    assert recorder.timed_entries[1:] == [(2.0, "opened a1"), (2.0, "discard a1"), (2.0, "closed a1")]
    recorder.assert_idle()


async def test_waiting_turn_runs_before_the_session_of_an_ended_call_closes() -> None:
    recorder = PoolRecorder()
    first, second = (asyncio.create_task(recorder.use("a", 2.0)) for _ in range(2))
    await recorder.start_after(1.0, recorder.pool.call_ended("a"))
    await asyncio.gather(first, second)
    assert recorder.timed_entries[-4:] == [
        (2.0, "acquire a1"),
        (4.0, "release a1"),
        (4.0, "discard a1"),
        (4.0, "closed a1"),
    ]
    recorder.assert_idle()


async def test_call_that_comes_back_waits_until_its_old_session_is_closed() -> None:
    recorder = PoolRecorder(close_seconds=3.0)
    await recorder.use("a")
    leaving = asyncio.create_task(recorder.pool.call_ended("a"))
    await recorder.start_after(1.0, recorder.use("a"))
    assert recorder.timed_entries[4:] == [
        *((0.0, "discard a1"), (3.0, "closed a1"), (3.0, "open a2"), (3.0, "opened a2")),
        *((3.0, "acquire a2"), (3.0, "release a2")),
    ]
    await leaving
    recorder.assert_idle("a")


async def test_call_that_comes_back_twice_waits_for_all_old_sessions() -> None:
    recorder = PoolRecorder(close_seconds=5.0)
    await recorder.use("a")
    first = asyncio.create_task(recorder.pool.call_ended("a"))
    back = recorder.start_after(1.0, recorder.pool.warm("a"))
    second = recorder.start_after(2.0, recorder.pool.call_ended("a"))
    await asyncio.sleep(2.5)
    back.cancel()
    with suppress(asyncio.CancelledError):
        await back
    await second
    third = recorder.start_after(0.5, recorder.use("a"))
    await asyncio.gather(first, third)
    assert recorder.timed_entries[-6:] == [
        *((0.0, "discard a1"), (5.0, "closed a1")),
        *((5.0, "open a2"), (5.0, "opened a2"), (5.0, "acquire a2"), (5.0, "release a2")),
    ]
    recorder.assert_idle("a")


async def test_repeated_warm_acquire_and_end_do_not_deadlock() -> None:
    recorder = PoolRecorder(open_seconds=0.3, close_seconds=0.7)
    errands = []
    for step in range(20):
        errands += [
            recorder.start_after(step * 0.5, recorder.use("a", 0.4)),
            recorder.start_after(step * 0.5 + 0.1, recorder.pool.warm("a")),
            recorder.start_after(step * 0.5 + 0.3, recorder.pool.call_ended("a")),
        ]
    await asyncio.gather(*errands)
    opened = [line for line in recorder.entries if line.startswith(("opened", "closed"))]
    assert opened[::2] == [
        line.replace("closed", "opened") for line in opened[1::2]
    ]  # never two sessions at a time
    recorder.assert_idle()


async def test_next_user_opens_the_session_after_a_cancelled_opening() -> None:
    recorder = PoolRecorder(open_seconds=2.0)
    warming = asyncio.create_task(recorder.pool.warm("a"))
    using = asyncio.create_task(recorder.use("a"))
    await asyncio.sleep(1.0)
    warming.cancel()
    await using
    assert recorder.timed_entries == [
        *((0.0, "open a1"), (1.0, "cancelled a1"), (1.0, "open a2"), (3.0, "opened a2")),
        *((3.0, "acquire a2"), (3.0, "release a2")),
    ]
    recorder.assert_idle("a")


async def test_cancelled_opening_of_an_ended_call_leaves_nothing() -> None:
    recorder = PoolRecorder(open_seconds=2.0)
    warming = asyncio.create_task(recorder.pool.warm("a"))
    leaving = recorder.start_after(0.5, recorder.pool.call_ended("a"))
    await asyncio.sleep(1.0)
    warming.cancel()
    await leaving
    assert recorder.entries == ["open a1", "cancelled a1"]
    recorder.assert_idle()


async def test_cancelled_waiter_does_not_disturb_the_others() -> None:
    recorder = PoolRecorder()
    first, second, third = (asyncio.create_task(recorder.use("a", 2.0)) for _ in range(3))
    await asyncio.sleep(1.0)
    second.cancel()
    await asyncio.gather(first, third)
    assert recorder.timed_entries[2:] == [
        (0.0, "acquire a1"),
        (2.0, "release a1"),
        (2.0, "acquire a1"),
        (4.0, "release a1"),
    ]
    recorder.assert_idle("a")


async def test_turn_closes_the_session_after_a_cancelled_end_of_its_call() -> None:
    recorder = PoolRecorder(close_seconds=1.0)
    using = asyncio.create_task(recorder.use("a", 3.0))
    leaving = recorder.start_after(1.0, recorder.pool.call_ended("a"))
    await asyncio.sleep(2.0)
    leaving.cancel()
    back = asyncio.create_task(recorder.use("a"))
    await asyncio.gather(using, back)
    assert recorder.timed_entries[-6:] == [
        *((3.0, "discard a1"), (4.0, "closed a1")),
        *((4.0, "open a2"), (4.0, "opened a2"), (4.0, "acquire a2"), (4.0, "release a2")),
    ]
    recorder.assert_idle("a")


async def test_session_is_closed_if_the_end_is_cancelled_as_it_gets_the_lock() -> None:
    recorder = PoolRecorder()
    using = asyncio.create_task(recorder.use("a", 2.0))
    leaving = asyncio.create_task(recorder.pool.call_ended("a"))
    await using  # the lock was given to the end of the call, whose task has not run yet
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    assert recorder.entries[-2] == "discard a1"
    recorder.assert_idle()


async def test_call_may_come_back_after_a_cancelled_close() -> None:
    recorder = PoolRecorder(close_seconds=3.0)
    await recorder.use("a")
    leaving = asyncio.create_task(recorder.pool.call_ended("a"))
    back = recorder.start_after(0.5, recorder.use("a"))
    await asyncio.sleep(1.0)
    leaving.cancel()
    await back
    assert recorder.timed_entries[4:8] == [
        *((0.0, "discard a1"), (1.0, "cancelled a1"), (1.0, "open a2"), (1.0, "opened a2")),
    ]
    recorder.assert_idle("a")


async def test_cancelled_turn_releases_the_session() -> None:
    recorder = PoolRecorder()
    using = asyncio.create_task(recorder.use("a", 9.0))
    await asyncio.sleep(1.0)
    using.cancel()
    await recorder.use("a")
    assert recorder.timed_entries[3:] == [(1.0, "release a1"), (1.0, "acquire a1"), (1.0, "release a1")]
    recorder.assert_idle("a")


async def test_next_turn_tries_again_to_open_the_session() -> None:
    recorder = PoolRecorder()
    recorder.open_errors = [AgentUnavailable("down"), AgentUnavailable("still down")]
    with pytest.raises(AgentUnavailable, match=r"^down$"):
        await recorder.pool.warm("a")
    with pytest.raises(AgentUnavailable, match=r"^still down$"):
        await recorder.use("a")
    await recorder.use("a")
    assert recorder.entries == ["open a1", "open a2", "open a3", "opened a3", "acquire a3", "release a3"]
    recorder.assert_idle("a")
    await recorder.pool.call_ended("a")
    recorder.assert_idle()


async def test_end_of_a_call_without_a_session_leaves_nothing() -> None:
    recorder = PoolRecorder()
    recorder.open_errors = [AgentUnavailable("down")]
    with pytest.raises(AgentUnavailable):
        await recorder.pool.warm("a")
    await recorder.pool.call_ended("a")
    assert recorder.entries == ["open a1"]
    recorder.assert_idle()


async def test_unusable_session_is_closed_and_opened_again() -> None:
    recorder = PoolRecorder(close_seconds=1.0)
    await recorder.use("a")
    recorder.unusable = {"a1"}
    recorder.close_error = AgentUnavailable("already closed")
    await recorder.use("a")
    assert recorder.timed_entries[4:] == [
        *(
            (0.0, "disconnect a1"),
            (1.0, "open a2"),
            (1.0, "opened a2"),
            (1.0, "acquire a2"),
            (1.0, "release a2"),
        ),
    ]
    recorder.assert_idle("a")


async def test_session_survives_an_error_of_the_turn() -> None:
    recorder = PoolRecorder()
    with pytest.raises(ZeroDivisionError):
        async with recorder.pool.acquire(Turn("t", (), call="a")):
            _ = 1 / 0
    await recorder.use("a")
    assert recorder.entries == ["open a1", "opened a1", "acquire a1", "release a1"]
    recorder.assert_idle("a")


async def test_background_turn_gets_another_session_while_the_call_s_is_busy() -> None:
    recorder = PoolRecorder()
    main = asyncio.create_task(recorder.use("a", 2.0))
    await recorder.start_after(1.0, recorder.use("a", background=True))
    assert recorder.timed_entries[3:] == [
        *(
            (1.0, "open anonymous2"),
            (1.0, "opened anonymous2"),
            (1.0, "acquire anonymous2"),
            (1.0, "release anonymous2"),
        ),
        *((1.0, "discard anonymous2"), (1.0, "closed anonymous2")),
    ]
    await main
    recorder.assert_idle("a")


async def test_background_turn_uses_the_session_of_its_call_while_it_is_free() -> None:
    recorder = PoolRecorder()
    await recorder.use("a", background=True)
    await recorder.use("a")
    await recorder.use("a", background=True)
    assert {line.split()[1] for line in recorder.entries} == {"a1"}
    recorder.assert_idle("a")


async def test_session_of_a_turn_without_a_call_is_discarded() -> None:
    recorder = PoolRecorder()
    await asyncio.gather(recorder.use(None, 1.0), recorder.use(None, 1.0))
    assert sorted(line for line in recorder.entries if "discard" in line) == [
        "discard anonymous1",
        "discard anonymous2",
    ]
    recorder.assert_idle()


async def test_session_of_a_cancelled_turn_without_a_call_is_discarded() -> None:
    recorder = PoolRecorder(open_seconds=1.0)
    opening = asyncio.create_task(recorder.use(None))
    using = asyncio.create_task(recorder.use(None, 9.0))
    await asyncio.sleep(0.5)
    opening.cancel()
    await asyncio.sleep(1.0)
    using.cancel()
    await asyncio.gather(opening, using, return_exceptions=True)
    assert recorder.entries == [
        *("open anonymous1", "open anonymous2", "cancelled anonymous1", "opened anonymous2"),
        *("acquire anonymous2", "release anonymous2", "discard anonymous2", "closed anonymous2"),
    ]
    recorder.assert_idle()


async def test_agent_errors_on_close_are_ignored() -> None:
    recorder = PoolRecorder()
    recorder.close_error = AgentUnavailable("gone")
    await recorder.use(None)
    await recorder.use("a")
    await recorder.pool.call_ended("a")
    await recorder.use("b")
    await recorder.pool.aclose()
    assert [line for line in recorder.entries if line.startswith(("discard", "disconnect"))] == [
        "discard anonymous1",
        "discard a2",
        "disconnect b3",
    ]
    recorder.assert_idle()


async def test_above_the_limit_the_session_that_was_idle_longest_is_closed() -> None:
    recorder = PoolRecorder(close_seconds=1.0, max_sessions=3)
    for call in ("a", "b", "c", "a"):
        await recorder.use(call)
    recorder.timed_entries.clear()
    await recorder.use("d")
    await recorder.pool.warm("e")
    await recorder.use(None)
    assert [entry for entry in recorder.entries if entry.startswith(("discard", "acquire"))] == [
        *("discard b2", "acquire d4", "discard c3", "discard a1", "acquire anonymous6", "discard anonymous6"),
    ]
    assert [time for time, entry in recorder.timed_entries if entry.startswith("open")] == [0.0] * 6
    await asyncio.sleep(2.0)
    recorder.assert_idle("d", "e")


async def test_call_whose_session_was_evicted_gets_a_new_one_after_the_old_one_is_closed() -> None:
    recorder = PoolRecorder(close_seconds=1.0, max_sessions=1)
    await recorder.use("a")
    await recorder.use("b")
    recorder.timed_entries.clear()
    await recorder.use("a")
    assert recorder.timed_entries == [
        *((0.0, "discard b2"), (1.0, "closed a1"), (1.0, "closed b2"), (1.0, "open a3"), (1.0, "opened a3")),
        *((1.0, "acquire a3"), (1.0, "release a3")),
    ]
    await recorder.pool.aclose()
    recorder.assert_idle()
    assert recorder.entries[-1] == "closed a3"


async def test_closing_the_pool_waits_for_the_sessions_that_were_evicted() -> None:
    recorder = PoolRecorder(close_seconds=1.0, max_sessions=1)
    await recorder.use("a")
    using = asyncio.create_task(recorder.use("b", 9.0))
    await asyncio.sleep(0.5)
    await recorder.pool.aclose()
    assert (asyncio.get_running_loop().time(), recorder.entries[-1]) == (1.5, "closed b2")
    assert "closed a1" in recorder.entries
    using.cancel()


async def test_sessions_in_use_are_never_evicted() -> None:
    recorder = PoolRecorder(max_sessions=2)
    using = asyncio.create_task(recorder.use("a", 1.0))
    anonymous_turn = asyncio.create_task(recorder.use(None, 1.0))
    await asyncio.sleep(0.5)
    for one_more in (recorder.pool.warm("b"), recorder.use("b"), recorder.use(None)):
        with pytest.raises(AgentBusy, match=r"^2 sessions are in use, the most allowed$"):
            await one_more
    await asyncio.gather(using, anonymous_turn)
    await recorder.use("b")
    assert not any(entry.startswith("discard a1") for entry in recorder.entries)
    recorder.assert_idle("a", "b")


async def test_aclose_disconnects_all_sessions_together_and_keeps_them() -> None:
    recorder = PoolRecorder(close_seconds=1.0)
    for call in ("a", "b"):
        await recorder.use(call)
    recorder.timed_entries.clear()
    await recorder.pool.aclose()
    assert recorder.timed_entries == [
        (0.0, "disconnect a1"),
        (0.0, "disconnect b2"),
        (1.0, "closed a1"),
        (1.0, "closed b2"),
    ]
    await recorder.pool.aclose()
    recorder.assert_idle()


async def test_aclose_does_not_wait_for_a_turn() -> None:
    recorder = PoolRecorder()
    using = asyncio.create_task(recorder.use("a", 2.0))
    await recorder.start_after(1.0, recorder.pool.aclose())
    assert recorder.timed_entries[-2:] == [(1.0, "disconnect a1"), (1.0, "closed a1")]
    await using
    assert recorder.timed_entries[-1] == (2.0, "release a1")
    recorder.assert_idle()


async def test_session_that_opens_after_aclose_is_disconnected() -> None:
    recorder = PoolRecorder(open_seconds=2.0)
    warming = asyncio.create_task(recorder.pool.warm("a"))
    using = asyncio.create_task(recorder.use("b"))
    await recorder.start_after(1.0, recorder.pool.aclose())
    await asyncio.gather(warming, using)
    assert [line for line in recorder.entries if "disconnect" in line] == ["disconnect a1", "disconnect b2"]
    recorder.assert_idle()


async def test_aclose_disconnects_the_others_after_an_error() -> None:
    recorder = PoolRecorder(close_seconds=1.0)
    recorder.close_error = ZeroDivisionError("a bug of the adapter")
    for call in ("a", "b"):
        await recorder.use(call)
    with pytest.raises(ZeroDivisionError):
        await recorder.pool.aclose()
    assert recorder.entries[-2:] == ["disconnect a1", "disconnect b2"]
    assert asyncio.get_running_loop().time() == 1.0
    recorder.assert_idle()


async def test_error_on_close_leaves_no_call_waiting() -> None:
    recorder = PoolRecorder()
    await recorder.use("a")
    recorder.close_error = ZeroDivisionError("a bug of the adapter")
    with pytest.raises(ZeroDivisionError):
        await recorder.pool.call_ended("a")
    recorder.assert_idle()
    await recorder.use("a")
    recorder.assert_idle("a")
