"""The open loop sends what it planned, counts what came, and says when it proves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from loadtests.generate import open_loop
from loadtests.generate.open_loop import STOPPED_EARLY, run_workload, describe_knee, new_run, search_knee
from loadtests.generate.workload import Thresholds, Workload
from loadtests.report.results import Results, Run
from loadtests.servers.launch import free_port
from loadtests.servers.upstream import UpstreamStats
from tests.loadtests.upstreams import run_upstream

pytestmark = pytest.mark.wire


def offer(model: str = "first=0.01,every=0.001,tokens=5", seconds: float = 0.2, **how: float) -> Workload:
    return Workload("S", (model,), how.pop("rate", 100), seconds, seed=5, **how)  # type: ignore[arg-type]


async def test_every_turn_that_was_planned_is_sent_once_and_heard() -> None:
    async with run_upstream() as (door, stats):
        asked = offer()
        run = new_run(door, asked)
        turns = await run_workload(door, asked, run, door)
        assert (run.turns, len(run.values("answer")), run.failed) == (len(turns), len(turns), {})
        assert stats == UpstreamStats(begun=len(turns), ended=len(turns))
    assert all(
        answer >= waited >= 0.01
        for answer, waited in zip(run.values("answer"), run.values("waited"), strict=True)
    )
    assert run.times["at"] == [turn.due_at for turn in turns]
    assert all(late >= 0 for late in run.values("late"))


async def test_callers_who_hang_up_leave_and_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.generate.workload.LATER", 0.2)
    async with run_upstream() as (door, stats):
        asked = offer("first=60", 0.1, rate=50, hang_up=1.0)
        run = new_run(door, asked)
        turns = await run_workload(door, asked, run, door)
        assert (run.turns, run.left, run.failed) == (len(turns), len(turns), {})
        assert stats.begun == len(turns)


async def test_a_generator_made_late_voids_its_run() -> None:
    def busy(at: float, streams: int) -> None:
        time.sleep(0.05)

    async with run_upstream() as (door, _):
        asked = offer()
        run = new_run(door, asked)
        await run_workload(door, asked, run, door, busy)
    assert run.void.startswith("the generator was late")


async def test_an_agent_that_was_not_asked_voids_the_run() -> None:
    async with run_upstream() as (door, _), run_upstream() as (other, _):
        asked = offer(seconds=0.05)
        run = new_run(door, asked)
        await run_workload(door, asked, run, other)
    assert run.void.startswith("the generator was late") or run.void.endswith("the agent was asked 0 times")


async def test_what_was_measured_before_the_run_was_stopped_is_kept() -> None:
    async with run_upstream() as (door, _):
        asked = offer(seconds=30.0)
        run = new_run(door, asked)
        heard = asyncio.Event()

        def seen(at: float, streams: int) -> None:
            if at > 0.2:
                heard.set()

        driving = asyncio.create_task(run_workload(door, asked, run, door, seen))
        await heard.wait()
        driving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await driving
    assert run.void == STOPPED_EARLY
    assert 0 < len(run.values("answer")) == run.turns < 100
    assert run.failed == {}


async def test_a_search_keeps_every_step() -> None:
    results = Results({})
    async with run_upstream() as (door, _):
        held = await search_knee(door, offer(seconds=0.05, rate=20), Thresholds(0.0, 0.0), 2, results, door)
    assert held == 0.0
    assert [run.offered for run in results.runs] == [20, 10]


def test_nobody_there_is_told_and_void(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, url = tmp_path / "open.json", f"http://127.0.0.1:{free_port()}"
    code = open_loop.main(["--target", url, "--rate", "20", "--seconds", "0.1", "--json", str(file)])
    kept = Results.read(file)
    assert set(kept.runs[0].failed) == {"could not connect: ConnectionRefusedError"}
    assert (code, bool(kept.runs[0].void)) == (1, True)
    assert "turns/s" in capsys.readouterr().out
    assert open_loop.main(["--target", url, "--upstream", url, "--seconds", "0.1"]) == 1
    assert "not measured to the end: nobody answers at 127.0.0.1:" in capsys.readouterr().out


def test_a_search_says_which_larger_rates_proved_nothing() -> None:
    runs = [Run("voicegw", "S", "open", rate, 1.0) for rate in (20.0, 40.0, 28.3)]
    runs[1].void = "the generator was late"
    assert describe_knee(28.3, offer("voice"), Thresholds(), runs) == (
        "voicegw held 28 turns/s of voice: p99 added below 50 ms, longest gap below 1 s; "
        "40 turns/s proved nothing: the generator was late"
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
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(wrong: str) -> None:
    with pytest.raises(SystemExit) as refused:
        open_loop.main(wrong.split())
    assert refused.value.code == 2
