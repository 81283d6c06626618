"""After a run everything must be released; each thing that is not fails its check."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from loadtests.generate.open_loop import new_run, run_workload
from loadtests.generate.workload import Workload
from loadtests.servers.leak_checks import (
    FILE_TOLERANCE,
    MEMORY_PER_STREAM,
    MEMORY_TOLERANCE,
    IdleCpu,
    Processes,
    check_cancelled,
    compare_states,
    wait_for_rest,
)
from loadtests.servers.server_stats import ServerState, parse_gauge, read_process, read_state
from tests.loadtests.upstreams import run_relay, run_upstream

BASE = ServerState(
    active=0, connections=5, peak=5, turns=0, calls=0, runs=0, tasks=7, files=20, rss=60_000_000, cpu=10.0
)
ALLOWED = int(60e6 + MEMORY_TOLERANCE + 100 * MEMORY_PER_STREAM)
AT_REST = replace(BASE, connections=100, peak=100, files=115 + FILE_TOLERANCE, rss=ALLOWED)
IDLE_CPU = IdleCpu(server=0.005, idle=0.001)
CPU_CHECK = "CPU at rest, x idle uvicorn"
LEAKS = {
    "agent runs still alive": {"active": 1},
    "connections to the agent": {"connections": 101, "files": 116},
    "turns, by the metrics": {"turns": 1},
    "calls on websockets, by the metrics": {"calls": 1},
    "agent runs not closed, by the metrics": {"runs": 1},
    "tasks, by the metrics": {"tasks": 8},
    "open files except those": {"files": 116 + FILE_TOLERANCE},
    "resident memory, MB": {"rss": ALLOWED + 1_000_000},
}


def failed_checks(now: ServerState, cpu: IdleCpu = IDLE_CPU, **fields: bool) -> list[str]:
    return [check.name for check in compare_states(BASE, now, cpu, **fields) if not check.ok]


def test_a_server_without_leaks_passes_every_check() -> None:
    assert failed_checks(AT_REST) == []
    assert [check.name for check in compare_states(BASE, AT_REST, IDLE_CPU)] == [*LEAKS, CPU_CHECK]


@pytest.mark.parametrize("name", LEAKS)
def test_each_leak_fails_its_own_check(name: str) -> None:
    assert failed_checks(replace(AT_REST, **LEAKS[name])) == [name]


def test_idle_connections_must_close_in_time() -> None:
    assert failed_checks(AT_REST, allow_idle_connections=False) == ["connections to the agent"]
    assert failed_checks(replace(AT_REST, connections=5, files=20), allow_idle_connections=False) == []


CHECK_OF_FIGURE = {
    "turns": ["turns, by the metrics"],
    "calls": ["calls on websockets, by the metrics"],
    "runs": ["agent runs not closed, by the metrics"],
    "tasks": ["tasks, by the metrics"],
    "files": ["open files except those"],
    "rss": ["resident memory, MB"],
}


@pytest.mark.parametrize("figure", CHECK_OF_FIGURE)
def test_a_figure_that_is_no_longer_known_fails_its_check(figure: str) -> None:
    assert failed_checks(replace(AT_REST, **{figure: None})) == CHECK_OF_FIGURE[figure]


@pytest.mark.parametrize(
    "cpu", [IdleCpu(0.0052, 0.001), IdleCpu(None, 0.001), IdleCpu(0.005, None), IdleCpu(0.005, 0.0)]
)
def test_a_busy_or_ended_process_fails_the_check_of_cpu(cpu: IdleCpu) -> None:
    assert failed_checks(AT_REST, cpu) == [CPU_CHECK]


def test_an_ended_process_has_no_known_figures() -> None:
    assert read_process(2**22) == read_process(None) == (None, None, None)
    files, rss, cpu = read_process(os.getpid())
    assert None not in (files, rss, cpu)


def test_a_metric_that_is_not_a_number_fails_its_check() -> None:
    figure = parse_gauge("voicegw_runs many\n", "voicegw_runs")
    assert failed_checks(replace(AT_REST, runs=figure)) == ["agent runs not closed, by the metrics"]


def test_unknown_figures_are_not_checked() -> None:
    unknown = ServerState(active=0, connections=5, peak=5)
    names = [check.name for check in compare_states(unknown, unknown, IdleCpu())]
    assert names == ["agent runs still alive", "connections to the agent"]


@pytest.mark.wire
@pytest.mark.parametrize("leaks", [False, True])
async def test_agent_runs_that_outlive_their_callers_are_found(
    leaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtests.generate.workload.MAX_INTERRUPT_DELAY", 0.2)
    workload = Workload("storm", ("first=0.01,every=0.02,tokens=1000",), 50, 0.1, seed=1, hang_up=1.0)
    async with run_upstream() as (upstream, stats), run_relay(upstream, leaks=leaks) as target:
        base = await read_state(target, upstream, os.getpid())
        turns = await run_workload(target, workload, new_run(target, workload), upstream)
        check = await check_cancelled(upstream, 0.3)
        found = await wait_for_rest(target, upstream, Processes(os.getpid(), os.getpid()), base, 0.0)
    assert (check.ok, check.found) == (not leaks, str(len(turns) if leaks else 0))
    assert stats.begun == len(turns)
    by_name = {check.name: check.ok for check in found}
    assert by_name["agent runs still alive"] == (not leaks)
    assert by_name.keys() == {CPU_CHECK, *LEAKS} - {name for name in LEAKS if "metrics" in name}


@pytest.mark.wire
async def test_the_check_waits_for_a_late_release() -> None:
    async with run_upstream() as (upstream, stats):
        base = await read_state(upstream, upstream, None)
        stats.active = 1

        async def end() -> None:
            await asyncio.sleep(0.1)
            stats.active = 0

        ending = asyncio.create_task(end())
        found = await wait_for_rest(upstream, upstream, Processes(), base, 5.0)
        await ending
    assert [check.ok for check in found] == [True, True]
