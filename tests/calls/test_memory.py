"""Calls are remembered while they are used, and forgotten by time and by number."""

from __future__ import annotations

from tests.script import script
from voicegw.calls.memory import Calls
from voicegw.events import Message, Turn
from voicegw.run import Run

TURN = Turn("t1", (Message("user", "Hello?"),))


def test_a_call_is_the_same_while_it_is_used() -> None:
    calls = Calls(idle=10)
    first = calls.get("a", 0.0)
    assert calls.get("a", 9.0) is first
    assert calls.get("a", 18.0) is first
    assert calls.get("a", 28.5) is not first
    assert len(calls) == 1


def test_calls_that_nobody_uses_are_forgotten_when_another_comes() -> None:
    calls = Calls(idle=10)
    for number in range(5):
        calls.get(str(number), float(number))
    calls.get("new", 13.0)
    assert len(calls) == 2


def test_there_is_a_bound_and_the_latest_stay() -> None:
    calls = Calls(most=3)
    first = [calls.get(id, 0.0) for id in "abc"]
    calls.get("a", 1.0)
    calls.get("d", 2.0)
    assert len(calls) == 3
    assert calls.get("a", 3.0) is first[0]
    assert calls.get("b", 3.0) is not first[1]


async def test_a_call_that_ends_takes_its_turn_with_it() -> None:
    calls = Calls()
    run = Run(script(60.0), TURN, lambda run: None, now=lambda: 0.0)
    calls.get("a", 0.0).take(run)
    calls.end("a")
    calls.end("a")
    assert (len(calls), run.closed) == (0, True)


async def test_a_newer_turn_remembers_the_older_ones_until_they_are_closed() -> None:
    calls = Calls()
    runs = [Run(script(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(3)]
    call = calls.get("a", 0.0)
    for run in runs:
        call.take(run)
    assert (call.run, call.closing) == (runs[2], runs[:2])
    runs[0].cancel()
    call.take(Run(script(), TURN, lambda run: None, now=lambda: 0.0))
    assert call.closing == runs[1:]
