"""A quick load test: every phase is measured, every check is made, and everything is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loadtests import load
from loadtests.generate.response_plan import FAULTS
from loadtests.report.results import ROOT, Check, Results, Run

CHECKS_AT_REST = [
    *("agent runs still alive", "connections to the agent", "turns, by the metrics"),
    *(
        "calls on websockets, by the metrics",
        "agent runs not closed, by the metrics",
        "tasks, by the metrics",
    ),
    *("open files except those", "resident memory, MB"),
    "CPU at rest, x idle uvicorn",
]


@pytest.mark.wire
def test_a_quick_load_measures_every_phase_and_makes_every_check(tmp_path: Path) -> None:
    out = tmp_path / "load.json"
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.load", "--quick", "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    results = Results.read(out)
    assert (done.returncode, done.stderr) == (int(not load.is_passed(results)), "")
    assert [run.target for run in results.runs if run.scenario == "S1"] == [
        *("direct", "voicegw", "voicegw", "direct")
    ]
    assert list(dict.fromkeys(run.scenario for run in results.runs)) == [
        "S1",
        "S2",
        "knee",
        "storm",
        "faults",
    ]
    assert all(run.turns for run in results.runs)
    assert all(run.samples for run in results.runs if run.target == "voicegw")
    storm, faults = results.runs[-2:]
    assert [check.ok for check in storm.checks] == [True]
    assert storm.left > 0
    assert faults.turns >= len(FAULTS)
    assert [check.name for check in faults.checks] == [
        "turns of breaking agents that ended in words",
        *CHECKS_AT_REST,
    ]
    assert [check for check in faults.checks if not check.ok] == []
    assert "<html" in out.with_suffix(".html").read_text()
    assert str(out) in done.stdout


def interrupt(args: object, results: Results) -> None:
    results.runs.append(Run("voicegw", "S1", "open", 100.0, 1.0))
    raise KeyboardInterrupt


def test_results_before_ctrl_c_are_written_and_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load, "measure", interrupt)
    assert load.main(["--out", str(tmp_path / "load.json")]) == 130
    assert [run.scenario for run in Results.read(tmp_path / "load.json").runs] == ["S1"]
    assert "stopped early" in capsys.readouterr().out


def lose_upstream(args: object, results: Results) -> None:
    results.runs.append(Run("voicegw", "S1", "open", 100.0, 1.0))
    raise ConnectionResetError("the upstream is gone")


def test_results_before_the_upstream_died_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load, "measure", lose_upstream)
    assert load.main(["--out", str(tmp_path / "load.json")]) == 1
    assert [run.scenario for run in Results.read(tmp_path / "load.json").runs] == ["S1"]
    assert "the measurement broke off: the upstream is gone" in capsys.readouterr().out


def run(scenario: str, void: str = "", *checks: Check) -> Run:
    return Run("voicegw", scenario, "open", 1.0, 1.0, void=void, checks=list(checks))


def test_a_failed_check_or_a_void_phase_sets_the_exit_code() -> None:
    good, bad = Check("a", True, "0", "0"), Check("b", False, "1", "0")
    assert load.is_passed(
        Results({}, [run("S1"), run("S1", "late"), run("storm", "", good), run("knee", "late")])
    )
    assert not load.is_passed(Results({}, [run("S1", "late")]))
    assert not load.is_passed(Results({}))
    assert not load.is_passed(Results({}, [run("S1"), run("storm", "", good, bad)]))


@pytest.mark.parametrize(
    "wrong",
    ["--target http://127.0.0.1:1", "--target http://10.0.0.1 --upstream http://127.0.0.1:1", "--upstream x"],
)
def test_invalid_options_are_refused_before_any_server_starts(wrong: str) -> None:
    with pytest.raises(SystemExit) as refused:
        load.main(wrong.split())
    assert refused.value.code == 2
