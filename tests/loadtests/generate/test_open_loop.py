"""The open loop sends what it planned, counts what came, and says when a run proves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from loadtests.generate import open_loop
from loadtests.generate.open_loop import STOPPED_EARLY, describe_knee, new_run, run_workload, search_knee
from loadtests.generate.workload import Thresholds, Workload
from loadtests.report.results import Results, Run
from loadtests.servers.launch import free_port
from loadtests.servers.upstream import UpstreamStats
from tests.loadtests.upstreams import run_upstream

pytestmark = pytest.mark.wire


def make_workload(
    model: str = "first=0.01,every=0.001,tokens=5", seconds: float = 0.2, **fields: float
) -> Workload:
    return Workload("S", (model,), fields.pop("rate", 100), seconds, seed=5, **fields)  # type: ignore[arg-type]


async def test_every_planned_turn_is_sent_once_and_heard() -> None:
    async with run_upstream() as (target, stats):
        workload = make_workload()
        run = new_run(target, workload)
        turns = await run_workload(target, workload, run, target)
        assert (run.turns, len(run.values("answer")), run.failed) == (len(turns), len(turns), {})
        assert stats == UpstreamStats(begun=len(turns), ended=len(turns))
    assert all(
        answer >= waited >= 0.01
        for answer, waited in zip(run.values("answer"), run.values("waited"), strict=True)
    )
    assert run.times["at"] == [turn.due_at for turn in turns]
    assert all(late >= 0 for late in run.values("late"))


async def test_callers_that_hang_up_are_not_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.generate.workload.MAX_INTERRUPT_DELAY", 0.2)
    async with run_upstream() as (target, stats):
        workload = make_workload("first=60", 0.1, rate=50, hang_up=1.0)
        run = new_run(target, workload)
        turns = await run_workload(target, workload, run, target)
        assert (run.turns, run.left, run.failed) == (len(turns), len(turns), {})
        assert stats.begun == len(turns)


async def test_a_late_generator_makes_its_run_void() -> None:
    def busy(at: float, streams: int) -> None:
        time.sleep(0.05)

    async with run_upstream() as (target, _):
        workload = make_workload()
        run = new_run(target, workload)
        await run_workload(target, workload, run, target, busy)
    assert run.void.startswith("the generator was late")


async def test_a_run_is_void_if_its_agent_got_no_requests() -> None:
    async with run_upstream() as (target, _), run_upstream() as (other, _):
        workload = make_workload(seconds=0.05)
        run = new_run(target, workload)
        await run_workload(target, workload, run, other)
    assert run.void.startswith("the generator was late") or run.void.endswith("the agent got 0 requests")


async def test_a_stopped_run_keeps_its_measurements() -> None:
    async with run_upstream() as (target, _):
        workload = make_workload(seconds=30.0)
        run = new_run(target, workload)
        has_started = asyncio.Event()

        def observer(at: float, streams: int) -> None:
            if at > 0.2:
                has_started.set()

        running = asyncio.create_task(run_workload(target, workload, run, target, observer))
        await has_started.wait()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert run.void == STOPPED_EARLY
    assert 0 < len(run.values("answer")) == run.turns < 100
    assert run.failed == {}


async def test_a_search_keeps_every_step() -> None:
    results = Results({})
    async with run_upstream() as (target, _):
        held = await search_knee(
            target, make_workload(seconds=0.05, rate=20), Thresholds(0.0, 0.0), 2, results, target
        )
    assert held == 0.0
    assert [run.offered for run in results.runs] == [20, 10]


def test_a_server_that_is_down_makes_the_run_void(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, url = tmp_path / "open.json", f"http://127.0.0.1:{free_port()}"
    code = open_loop.main(["--target", url, "--rate", "20", "--seconds", "0.1", "--json", str(file)])
    kept = Results.read(file)
    assert set(kept.runs[0].failed) == {"could not connect: ConnectionRefusedError"}
    assert (code, bool(kept.runs[0].void)) == (1, True)
    assert "turns/s" in capsys.readouterr().out
    assert open_loop.main(["--target", url, "--upstream", url, "--seconds", "0.1"]) == 1
    assert "the measurement broke off: no server answers at 127.0.0.1:" in capsys.readouterr().out


def test_a_search_names_higher_rates_whose_runs_were_void() -> None:
    runs = [Run("voicegw", "S", "open", rate, 1.0) for rate in (20.0, 40.0, 28.3)]
    runs[1].void = "the generator was late"
    assert describe_knee(28.3, make_workload("voice"), Thresholds(), runs) == (
        "voicegw held 28 turns/s of voice: p99 added below 50 ms, longest gap below 1 s; "
        "the run of 40 turns/s is void: the generator was late"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "--target http://example.org",
        "--target http://127.0.0.1:1 --model gpt",
        "--target http://127.0.0.1:1 --rate 0",
        "--target http://127.0.0.1:1 --seconds -3",
        "--target http://127.0.0.1:1 --barge-in 30",
    ],
)
def test_invalid_options_are_refused_before_any_request(wrong: str) -> None:
    with pytest.raises(SystemExit) as refused:
        open_loop.main(wrong.split())
    assert refused.value.code == 2
