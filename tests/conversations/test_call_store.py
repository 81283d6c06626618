"""Calls are remembered while they are used, and forgotten by time and by number."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.fake_agent import fake_agent
from voicegw.conversations.call_store import CallStore
from voicegw.events import Message, Tool, ToolCall, Turn
from voicegw.turns.run import Run

TURN = Turn("t1", (Message("user", "Hello?"),))


def test_a_call_is_kept_while_it_is_used() -> None:
    calls = CallStore(idle_timeout=10)
    first = calls.get("a", 0.0)
    assert calls.get("a", 9.0) is first
    assert calls.get("a", 18.0) is first
    assert calls.get("a", 28.5) is not first
    assert len(calls) == 1


def test_contains_makes_no_call() -> None:
    calls = CallStore()
    assert "a" not in calls
    calls.get("a", 0.0)
    assert "a" in calls
    calls.end("a")
    assert "a" not in calls


def test_idle_calls_are_forgotten_when_another_is_used() -> None:
    calls = CallStore(idle_timeout=10)
    for number in range(5):
        calls.get(str(number), float(number))
    calls.get("new", 13.0)
    assert len(calls) == 2


@pytest.mark.parametrize("is_background", [False, True])
async def test_a_call_is_not_idle_while_a_run_of_it_is_open(is_background: bool) -> None:
    calls = CallStore(idle_timeout=10)
    run = Run(fake_agent(60.0), TURN, lambda run: None, now=lambda: 0.0)
    call = calls.get("a", 0.0)
    (call.add_background if is_background else call.start_run)(run)
    calls.get("b", 15.0)
    assert calls.get("a", 30.0) is call
    run.cancel()
    assert calls.get("a", 40.0) is not call


async def test_a_call_is_not_idle_while_an_older_run_of_it_closes() -> None:
    calls = CallStore(idle_timeout=10)
    older, newer = (Run(fake_agent(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(2))
    call = calls.get("a", 0.0)
    call.start_run(older)
    call.start_run(newer)
    newer.cancel()
    assert calls.get("a", 30.0) is call
    older.cancel()
    assert calls.get("a", 60.0) is not call


async def test_a_busy_call_is_kept_above_the_limit() -> None:
    ended_calls: list[str] = []
    calls = CallStore(max_calls=2, on_call_ended=ended_calls.append)
    run = Run(fake_agent(60.0), TURN, lambda run: None, now=lambda: 0.0)
    calls.get("a", 0.0).start_run(run)
    calls.get("open", 0.0).open_sockets = 1
    for number in range(5):
        calls.get(f"b{number}", 1.0 + number)
    assert ended_calls == [f"b{number}" for number in range(4)]
    assert calls.get("a", 9.0).run is run
    assert calls.is_open("open")


def test_the_bytes_of_all_calls_are_limited() -> None:
    ended_calls: list[str] = []
    calls = CallStore(max_memory=250_000, on_call_ended=ended_calls.append)
    for number in range(6):
        call = calls.get(str(number), float(number))
        call.transcript.add_user(100_000 * "x")
        calls.update_size(call, float(number))
    assert ended_calls == ["0", "1", "2", "3"]
    calls.end("5")
    calls.update_size(call, 7.0)
    calls.update_size(calls.get("6", 7.0), 7.0)
    assert ended_calls == ["0", "1", "2", "3", "5"], "forgotten calls no longer count"
    calls.end("4")
    calls.end("6")
    assert calls.total_bytes == 0


def test_open_calls_are_kept_above_the_limit_of_bytes() -> None:
    calls = CallStore(max_memory=250_000)
    for number in range(5):
        call = calls.get(str(number), float(number))
        call.open_sockets = 1
        call.transcript.add_user(100_000 * "x")
        calls.update_size(call, float(number))
    assert len(calls) == 5
    call.open_sockets = 0
    calls.update_size(calls.get("6", 7.0), 7.0)
    assert (len(calls), "4" in calls) == (5, False)


def test_a_request_that_a_lost_socket_left_unanswered_counts() -> None:
    calls = CallStore()
    call = calls.get("a", 0.0)
    calls.update_size(call, 0.0)
    before = calls.total_bytes
    call.unanswered = Turn(
        "t", (Message("user", 5000 * "x"),), tools=(Tool("f", parameters={"a": 3000 * "y"}),)
    )
    calls.update_size(call, 0.0)
    assert 8000 < calls.total_bytes - before < 10_000


@pytest.mark.parametrize("is_background", [False, True])
async def test_a_closed_run_counts_until_it_is_forgotten(is_background: bool) -> None:
    calls, now = CallStore(), asyncio.get_running_loop().time
    turn = Turn("t1", (Message("system", 9000 * "s"), Message("user", "Hello?")))
    run = Run(
        fake_agent("Hi, ", 2000 * "x", 1.0, ToolCall("c", "f", 500 * "y")), turn, lambda run: None, now=now
    )
    call = calls.get("a", 0.0)
    (call.add_background if is_background else call.start_run)(run)
    calls.on_run_closed("a", 0.0)
    assert calls.total_bytes < 3000, "an open run counts nothing"
    run.start()
    await asyncio.sleep(2.0)
    calls.on_run_closed("a", 2.0)
    assert 16_000 < calls.total_bytes < 20_000
    calls.forget_run("a", Run(fake_agent(), turn, lambda run: None, now=now), 9.0)
    assert 16_000 < calls.total_bytes < 20_000
    calls.forget_run("a", run, 9.0)
    assert calls.total_bytes < (3000 if is_background else 5000)
    calls.on_run_closed("unknown", 9.0)
    calls.forget_run("unknown", run, 9.0)


def test_above_the_limit_the_least_recently_used_call_goes() -> None:
    calls = CallStore(max_calls=3)
    first = [calls.get(id, 0.0) for id in "abc"]
    calls.get("a", 1.0)
    calls.get("d", 2.0)
    assert len(calls) == 3
    assert calls.get("a", 3.0) is first[0]
    assert calls.get("b", 3.0) is not first[1]


async def test_ending_a_call_cancels_its_run() -> None:
    calls = CallStore()
    run = Run(fake_agent(60.0), TURN, lambda run: None, now=lambda: 0.0)
    calls.get("a", 0.0).start_run(run)
    calls.end("a")
    calls.end("a")
    assert (len(calls), run.is_closed) == (0, True)


def test_the_callback_gets_each_call_that_is_forgotten() -> None:
    ended_calls: list[str] = []
    calls = CallStore(idle_timeout=10, max_calls=2, on_call_ended=ended_calls.append)
    calls.get("ended", 0.0)
    calls.end("ended")
    calls.end("ended")
    assert ended_calls == ["ended"]
    calls.get("late", 1.0)
    calls.get("late", 20.0)
    assert ended_calls == ["ended", "late"], "after the idle time it is a new call"
    calls.get("second", 21.0)
    calls.get("third", 22.0)
    assert ended_calls == ["ended", "late", "late"], "above the limit"
    calls.get("fourth", 40.0)
    assert ended_calls[3:] == ["second", "third"], "idle"
