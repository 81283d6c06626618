"""After a run everything is given back, and whatever is not fails its check."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from loadtests.generate.open_loop import run_workload, new_run
from loadtests.generate.workload import Workload
from loadtests.servers.leak_checks import FILE_TOLERANCE, MEMORY_TOLERANCE, MEMORY_PER_STREAM, check_cancelled, compare_states, wait_for_rest
from loadtests.servers.server_stats import ServerState, parse_gauge, read_process, read_state
from tests.loadtests.upstreams import run_upstream, run_relay

BASE = ServerState(
    active=0, connections=5, peak=5, turns=0, calls=0, runs=0, tasks=7, files=20, rss=60_000_000, cpu=10.0
)
ALLOWED = int(60e6 + MEMORY_TOLERANCE + 100 * MEMORY_PER_STREAM)
AT_REST = replace(BASE, connections=100, peak=100, files=115 + FILE_TOLERANCE, rss=ALLOWED, cpu=10.5)
LEFT = {
    "agent runs still alive": {"active": 1},
    "connections to the agent": {"connections": 101, "files": 116},
    "turns, by the metrics": {"turns": 1},
    "calls on websockets, by the metrics": {"calls": 1},
    "runs not closed, by the metrics": {"runs": 1},
    "tasks, by the metrics": {"tasks": 8},
    "open files but those": {"files": 116 + FILE_TOLERANCE},
    "resident memory, MB": {"rss": ALLOWED + 1_000_000},
    "CPU at rest, % of a core": {"cpu": 10.6},
}


def failing(now: ServerState, **how: bool) -> list[str]:
    before = replace(now, cpu=10.475)
    return [check.name for check in compare_states(BASE, before, now, 1.0, **how) if not check.ok]


def test_a_server_that_gave_everything_back_passes_every_check() -> None:
    assert failing(AT_REST) == []
    assert [check.name for check in compare_states(BASE, BASE, AT_REST, 20.0)] == list(LEFT)


@pytest.mark.parametrize("name", LEFT)
def test_each_thing_that_is_kept_fails_its_own_check(name: str) -> None:
    assert failing(replace(AT_REST, **LEFT[name])) == [name]


def test_after_their_time_connections_that_were_kept_must_be_gone_too() -> None:
    assert failing(AT_REST, kept=False) == ["connections to the agent"]
    assert failing(replace(AT_REST, connections=5, files=20), kept=False) == []


TOLD = {
    "turns": ["turns, by the metrics"],
    "calls": ["calls on websockets, by the metrics"],
    "runs": ["runs not closed, by the metrics"],
    "tasks": ["tasks, by the metrics"],
    "files": ["open files but those"],
    "rss": ["resident memory, MB"],
}


@pytest.mark.parametrize("figure", TOLD)
def test_a_figure_that_is_not_told_any_more_fails_its_check(figure: str) -> None:
    assert failing(replace(AT_REST, **{figure: None})) == TOLD[figure]


def test_the_cpu_of_a_process_that_is_gone_fails_its_check() -> None:
    found = compare_states(BASE, replace(AT_REST, cpu=None), replace(AT_REST, cpu=None), 1.0)
    assert [check.name for check in found if not check.ok] == ["CPU at rest, % of a core"]


def test_nothing_is_known_of_a_process_that_is_gone() -> None:
    assert read_process(2**22) == read_process(None) == (None, None, None)
    files, rss, cpu = read_process(os.getpid())
    assert None not in (files, rss, cpu)


def test_a_metric_that_is_no_number_passes_no_check() -> None:
    figure = parse_gauge("voicegw_runs many\n", "voicegw_runs")
    assert failing(replace(AT_REST, runs=figure)) == ["runs not closed, by the metrics"]


def test_what_nobody_tells_is_not_checked_and_so_not_said_to_be_well() -> None:
    silent = ServerState(active=0, connections=5, peak=5)
    names = [check.name for check in compare_states(silent, silent, silent, 1.0)]
    assert names == ["agent runs still alive", "connections to the agent"]


@pytest.mark.wire
@pytest.mark.parametrize("leaks", [False, True])
async def test_runs_that_outlive_their_callers_are_found(
    leaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtests.generate.workload.LATER", 0.2)
    offer = Workload("storm", ("first=0.01,every=0.02,tokens=1000",), 50, 0.1, seed=1, hang_up=1.0)
    async with run_upstream() as (upstream, stats), run_relay(upstream, leaks=leaks) as door:
        base = await read_state(door, upstream, os.getpid())
        turns = await run_workload(door, offer, new_run(door, offer), upstream)
        check = await check_cancelled(upstream, 0.3)
        found = await wait_for_rest(door, upstream, os.getpid(), base, 0.0)
    assert (check.ok, check.found) == (not leaks, str(len(turns) if leaks else 0))
    assert stats.begun == len(turns)
    by_name = {check.name: check.ok for check in found}
    assert by_name["agent runs still alive"] == (not leaks)
    assert by_name.keys() == LEFT.keys() - {name for name in LEFT if "metrics" in name}


@pytest.mark.wire
async def test_what_takes_a_moment_to_be_given_back_is_waited_for() -> None:
    async with run_upstream() as (upstream, stats):
        base = await read_state(upstream, upstream, None)
        stats.active = 1

        async def end() -> None:
            await asyncio.sleep(0.1)
            stats.active = 0

        ending = asyncio.create_task(end())
        found = await wait_for_rest(upstream, upstream, None, base, 5.0)
        await ending
    assert [check.ok for check in found] == [True, True]
