"""A session's pace is what it was given, and its phases say what they found."""

from __future__ import annotations

import os

import pytest

from loadtests.generate.open_loop import new_run
from loadtests.generate.phases import PhaseLengths, LoadTest
from loadtests.generate.target import Target
from loadtests.generate.workload import Workload
from loadtests.report.results import Results
from tests.loadtests.upstreams import run_upstream, run_relay

SMALL = PhaseLengths(run_seconds=0.1, rounds=2, knee_steps=1, settle_seconds=0.0)


def session(direct: Target, door: Target) -> LoadTest:
    return LoadTest(direct, door, None, SMALL, 1, Results({}))


def test_a_pace_takes_about_as_long_as_it_should() -> None:
    assert sum(PhaseLengths.for_duration(120).expected_seconds.values()) == pytest.approx(105, abs=10)  # and some to start and to end
    assert sum(PhaseLengths.for_duration(6).expected_seconds.values()) < 20
    assert PhaseLengths.for_duration(600).run_seconds == 15.0


@pytest.mark.wire
async def test_an_overhead_is_made_of_the_same_turns_on_both_sides() -> None:
    offer = Workload("S1", ("first=uniform:0.001:0.02,tokens=2",), 50, 0.1, seed=1)
    async with run_upstream() as (direct, stats), run_relay(direct, leaks=False) as door:
        one = session(direct, door)
        await one.measure_overhead(offer)
    runs = one.results.runs
    assert [run.target for run in runs] == ["direct", "relay", "relay", "direct"]
    for first, second in (runs[:2], runs[2:]):
        assert first.times["at"] == second.times["at"]
    assert sum(run.turns for run in runs) == stats.begun
    assert one.results.overheads == [] or one.results.overheads[0].scenario == "S1"


@pytest.mark.wire
async def test_a_round_that_is_void_says_nothing_about_the_overhead() -> None:
    async with run_upstream() as (direct, _), run_relay(direct, leaks=False) as door, run_upstream() as (other, _):
        one = session(direct, door)
        one.direct = other
        await one.measure_overhead(Workload("S1", ("quick",), 50, 0.1, seed=1, steady=True))
    assert [run.void != "" for run in one.results.runs if run.target == "relay"] == [True, True]
    assert one.results.overheads == []


@pytest.mark.wire
async def test_a_gateway_that_breaks_off_fails_the_check_of_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.generate.phases.FAULTS", {"": "", "cut": "", "refuse": ""})
    monkeypatch.setattr("loadtests.generate.turn_sender.DRAIN", 0.1)
    async with run_upstream() as (direct, _), run_relay(direct, leaks=False) as door:
        one = session(direct, door)
        await one.run_faults()
    run = one.results.runs[-1]
    assert run.turns == 3
    assert [(check.ok, check.found, check.wanted) for check in run.checks] == [(False, "1", "all 3")]


@pytest.mark.wire
async def test_samples_are_taken_of_the_server_and_not_of_its_agent() -> None:
    one = LoadTest(Target("direct", 1), Target("voicegw", 2), os.getpid(), SMALL, 1, Results({}))
    offer = Workload("S1", ("quick",), 1, 1)
    for door, count in ((one.direct, 0), (one.target, 2)):
        run = new_run(door, offer)
        watch = one.observe(run)
        watch(0.0, 3)
        watch(0.25, 5)
        assert len(run.samples) == count
    first, second = run.samples
    assert (first.at, first.cpu, first.streams, second.at, second.streams) == (0.0, 0.0, 3, 0.25, 5)
    assert second.cpu >= 0
    assert second.rss > 1e6
    assert second.files > 3
