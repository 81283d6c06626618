"""The phases of a load test take their time and record their checks."""

from __future__ import annotations

import os

import pytest

from loadtests.generate.open_loop import new_run
from loadtests.generate.phases import LoadTest, PhaseLengths
from loadtests.generate.target import Target
from loadtests.generate.workload import Workload
from loadtests.report.results import Results
from loadtests.servers.leak_checks import Processes
from tests.loadtests.upstreams import run_relay, run_upstream

SMALL = PhaseLengths(run_seconds=0.1, rounds=2, knee_steps=1, settle_seconds=0.0)


def load_test(direct: Target, target: Target) -> LoadTest:
    return LoadTest(direct, target, Processes(), SMALL, 1, Results({}))


def test_the_phases_fit_the_duration() -> None:
    assert sum(PhaseLengths.for_duration(120).expected_seconds.values()) == pytest.approx(
        105, abs=10
    )  # start and end take some more
    assert sum(PhaseLengths.for_duration(6).expected_seconds.values()) < 20
    assert PhaseLengths.for_duration(600).run_seconds == 15.0


@pytest.mark.wire
async def test_an_overhead_has_the_same_turns_on_both_sides() -> None:
    workload = Workload("S1", ("first=uniform:0.001:0.02,tokens=2",), 50, 0.1, seed=1)
    async with run_upstream() as (direct, stats), run_relay(direct, leaks=False) as target:
        test = load_test(direct, target)
        await test.measure_overhead(workload)
    runs = test.results.runs
    assert [run.target for run in runs] == ["direct", "relay", "relay", "direct"]
    for first, second in (runs[:2], runs[2:]):
        assert first.times["at"] == second.times["at"]
    assert sum(run.turns for run in runs) == stats.begun
    assert test.results.overheads == [] or test.results.overheads[0].scenario == "S1"


@pytest.mark.wire
async def test_a_void_round_is_left_out_of_the_overhead() -> None:
    async with (
        run_upstream() as (direct, _),
        run_relay(direct, leaks=False) as target,
        run_upstream() as (other, _),
    ):
        test = load_test(direct, target)
        test.direct = other
        await test.measure_overhead(Workload("S1", ("quick",), 50, 0.1, seed=1, steady=True))
    assert [run.void != "" for run in test.results.runs if run.target == "relay"] == [True, True]
    assert test.results.overheads == []


@pytest.mark.wire
async def test_a_gateway_that_breaks_off_fails_the_fault_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.generate.phases.FAULTS", {"": "", "cut": "", "refuse": ""})
    monkeypatch.setattr("loadtests.generate.turn_sender.DRAIN_TIMEOUT", 0.1)
    async with run_upstream() as (direct, _), run_relay(direct, leaks=False) as target:
        test = load_test(direct, target)
        await test.run_faults()
    run = test.results.runs[-1]
    assert run.turns == 3
    assert [(check.ok, check.found, check.wanted) for check in run.checks] == [(False, "1", "all 3")]


@pytest.mark.wire
async def test_samples_are_taken_of_the_target_only() -> None:
    test = LoadTest(Target("direct", 1), Target("voicegw", 2), Processes(os.getpid()), SMALL, 1, Results({}))
    workload = Workload("S1", ("quick",), 1, 1)
    for target, count in ((test.direct, 0), (test.target, 2)):
        run = new_run(target, workload)
        observer = test.observe(run)
        observer(0.0, 3)
        observer(0.25, 5)
        assert len(run.samples) == count
    first, second = run.samples
    assert (first.at, first.cpu, first.streams, second.at, second.streams) == (0.0, 0.0, 3, 0.25, 5)
    assert second.cpu >= 0
    assert second.rss > 1e6
    assert second.files > 3
