"""The measurement of a call's memory tells the states of a call apart."""

from __future__ import annotations

import tracemalloc

import uvloop

from loadtests.micro.memory import make_tool, measure


def test_a_remembered_call_takes_less_than_a_replayable_one_and_a_forgotten_one_nothing() -> None:
    tools = [make_tool(number) for number in range(3)]
    tracemalloc.start()
    try:
        counted = {
            state: uvloop.run(measure(state, 10, 1, tools))[1]
            for state in ("replayable", "remembered", "forgotten")
        }
    finally:
        tracemalloc.stop()
    assert counted["replayable"] > 2 * counted["remembered"] > 1
    assert abs(counted["forgotten"]) < 0.1
