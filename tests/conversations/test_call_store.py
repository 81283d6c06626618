"""Calls are remembered while they are used, and forgotten by time and by number."""

from __future__ import annotations

import pytest

from tests.support.script import script
from voicegw.conversations.call_store import CallStore
from voicegw.events import Message, Turn
from voicegw.turns.run import Run

TURN = Turn("t1", (Message("user", "Hello?"),))


def test_a_call_is_the_same_while_it_is_used() -> None:
    calls = CallStore(idle=10)
    first = calls.get("a", 0.0)
    assert calls.get("a", 9.0) is first
    assert calls.get("a", 18.0) is first
    assert calls.get("a", 28.5) is not first
    assert len(calls) == 1


def test_asking_whether_a_call_is_known_makes_none() -> None:
    calls = CallStore()
    assert "a" not in calls
    calls.get("a", 0.0)
    assert "a" in calls
    calls.end("a")
    assert "a" not in calls


def test_calls_that_nobody_uses_are_forgotten_when_another_comes() -> None:
    calls = CallStore(idle=10)
    for number in range(5):
        calls.get(str(number), float(number))
    calls.get("new", 13.0)
    assert len(calls) == 2


@pytest.mark.parametrize("aside", [False, True])
async def test_a_call_is_not_idle_while_something_of_it_runs(aside: bool) -> None:
    calls = CallStore(idle=10)
    run = Run(script(60.0), TURN, lambda run: None, now=lambda: 0.0)
    call = calls.get("a", 0.0)
    (call.add_background if aside else call.start_run)(run)
    calls.get("b", 15.0)
    assert calls.get("a", 30.0) is call
    run.cancel()
    assert calls.get("a", 40.0) is not call


async def test_a_call_is_not_idle_while_an_older_turn_of_it_closes() -> None:
    calls = CallStore(idle=10)
    older, newer = (Run(script(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(2))
    call = calls.get("a", 0.0)
    call.start_run(older)
    call.start_run(newer)
    newer.cancel()
    assert calls.get("a", 30.0) is call
    older.cancel()
    assert calls.get("a", 60.0) is not call


async def test_a_busy_call_stays_however_many_there_are() -> None:
    gone: list[str] = []
    calls = CallStore(max_calls=2, on_call_ended=gone.append)
    run = Run(script(60.0), TURN, lambda run: None, now=lambda: 0.0)
    calls.get("a", 0.0).start_run(run)
    calls.get("open", 0.0).open_sockets = 1
    for number in range(5):
        calls.get(f"b{number}", 1.0 + number)
    assert gone == [f"b{number}" for number in range(4)]
    assert calls.get("a", 9.0).run is run
    assert calls.is_open("open")


def test_what_is_kept_of_all_calls_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicegw.conversations.call_store.MOST_WEIGHT", 2_500_000)
    gone: list[str] = []
    calls = CallStore(on_call_ended=gone.append)
    for number in range(6):
        call = calls.get(str(number), float(number))
        call.transcript.size = 1_000_000
        calls.weigh(call)
    assert gone == ["0", "1", "2", "3"]
    calls.end("5")
    calls.weigh(calls.get("6", 7.0))
    assert gone == ["0", "1", "2", "3", "5"], "what was forgotten weighs nothing"


async def test_the_latest_side_request_is_remembered_with_those_not_closed_yet() -> None:
    runs = [Run(script(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(4)]
    call = CallStore().get("a", 0.0)
    for run in runs[:2]:
        call.add_background(run)
    runs[0].cancel()
    call.add_background(runs[2])
    assert call.background_runs == runs[1:3]


def test_there_is_a_bound_and_the_latest_stay() -> None:
    calls = CallStore(max_calls=3)
    first = [calls.get(id, 0.0) for id in "abc"]
    calls.get("a", 1.0)
    calls.get("d", 2.0)
    assert len(calls) == 3
    assert calls.get("a", 3.0) is first[0]
    assert calls.get("b", 3.0) is not first[1]


async def test_a_call_that_ends_takes_its_turn_with_it() -> None:
    calls = CallStore()
    run = Run(script(60.0), TURN, lambda run: None, now=lambda: 0.0)
    calls.get("a", 0.0).start_run(run)
    calls.end("a")
    calls.end("a")
    assert (len(calls), run.closed) == (0, True)


async def test_a_newer_turn_remembers_the_older_ones_until_they_are_closed() -> None:
    calls = CallStore()
    runs = [Run(script(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(3)]
    call = calls.get("a", 0.0)
    for run in runs:
        call.start_run(run)
    assert (call.run, call.closing) == (runs[2], runs[:2])
    runs[0].cancel()
    call.start_run(Run(script(), TURN, lambda run: None, now=lambda: 0.0))
    assert call.closing == runs[1:]


def test_whoever_wants_to_know_is_told_of_each_call_that_is_forgotten() -> None:
    gone: list[str] = []
    calls = CallStore(idle=10, max_calls=2, on_call_ended=gone.append)
    calls.get("ended", 0.0)
    calls.end("ended")
    calls.end("ended")
    assert gone == ["ended"]
    calls.get("late", 1.0)
    calls.get("late", 20.0)
    assert gone == ["ended", "late"], "who comes back so late has a new call"
    calls.get("second", 21.0)
    calls.get("third", 22.0)
    assert gone == ["ended", "late", "late"], "one too many"
    calls.get("fourth", 40.0)
    assert gone[3:] == ["second", "third"], "nobody used them"


async def test_images_weigh_too() -> None:
    image = {"type": "image_url", "image_url": {"url": "x" * 500}, "n": 1}
    call = CallStore().get("a", 0.0)
    assert call.weight() == 0
    turn = Turn("t", (Message("user", "hello", parts=(image,)), Message("user", "hi")))
    call.start_run(Run(script(), turn, lambda run: None, now=lambda: 0.0))
    assert 500 + 7 <= call.weight() <= 500 + 7 + 300
