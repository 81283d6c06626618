"""Calls are remembered while they are used, and forgotten by time and by number."""

from __future__ import annotations

import pytest

from tests.support.fake_agent import fake_agent
from voicegw.conversations.call_store import CallStore
from voicegw.events import Message, Turn
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


def test_the_characters_of_all_calls_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicegw.conversations.call_store.MAX_TOTAL_CHARS", 2_500_000)
    ended_calls: list[str] = []
    calls = CallStore(on_call_ended=ended_calls.append)
    for number in range(6):
        call = calls.get(str(number), float(number))
        call.transcript.char_count = 1_000_000
        calls.update_char_count(call)
    assert ended_calls == ["0", "1", "2", "3"]
    calls.end("5")
    calls.update_char_count(calls.get("6", 7.0))
    assert ended_calls == ["0", "1", "2", "3", "5"], "forgotten calls no longer count"


async def test_the_newest_background_run_is_kept_with_those_not_closed_yet() -> None:
    runs = [Run(fake_agent(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(4)]
    call = CallStore().get("a", 0.0)
    for run in runs[:2]:
        call.add_background(run)
    runs[0].cancel()
    call.add_background(runs[2])
    assert call.background_runs == runs[1:3]


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


async def test_older_runs_are_kept_until_they_are_closed() -> None:
    calls = CallStore()
    runs = [Run(fake_agent(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(3)]
    call = calls.get("a", 0.0)
    for run in runs:
        call.start_run(run)
    assert (call.run, call.closing_runs) == (runs[2], runs[:2])
    runs[0].cancel()
    call.start_run(Run(fake_agent(), TURN, lambda run: None, now=lambda: 0.0))
    assert call.closing_runs == runs[1:]


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


async def test_images_count_as_characters() -> None:
    image = {"type": "image_url", "image_url": {"url": "x" * 500}, "n": 1}
    call = CallStore().get("a", 0.0)
    assert call.char_count() == 0
    turn = Turn("t", (Message("user", "hello", parts=(image,)), Message("user", "hi")))
    call.start_run(Run(fake_agent(), turn, lambda run: None, now=lambda: 0.0))
    assert 500 + 7 <= call.char_count() <= 500 + 7 + 300
