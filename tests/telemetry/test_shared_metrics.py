"""Metrics of several processes are summed, and survive the removal of their files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.shared_metrics import FOLDER_VARIABLE, SharedFiles

ROOT = Path(__file__).parents[2]
OTHER = """
import sys, pathlib
from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.shared_metrics import SharedFiles
metrics = Metrics(SharedFiles(pathlib.Path(sys.argv[1])))
metrics.turns.labels("desk", "answered").inc(5)
metrics.turns_running.inc(2)
metrics.calls_open.labels("twilio").inc()
metrics.calls_open.labels("retell").inc(3)
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedFiles]:
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    yield SharedFiles(tmp_path / "metrics")
    values.close_all_multiprocess_files()


def run_other_process(folder: Path) -> int:
    """Count in another process, and return its PID."""
    process = subprocess.Popen([sys.executable, "-c", OTHER, str(folder)], cwd=ROOT)
    assert process.wait() == 0
    return process.pid


def samples(metrics: Metrics) -> dict[str, float]:
    lines = metrics.render()[0].decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


TURNS = 'voicegw_turns_total{agent="desk",outcome="answered"}'


def test_processes_are_summed_and_gauges_of_a_dead_one_can_be_read(files: SharedFiles) -> None:
    metrics = Metrics(files)
    metrics.turns.labels("desk", "answered").inc(2)
    pid = run_other_process(files.folder)
    assert samples(metrics)[TURNS] == 7
    gauges = files.read_gauges(pid)
    assert (gauges["voicegw_turns_running"], gauges["voicegw_calls_open"]) == (2, 4)
    assert files.read_gauges(0) == {}


@pytest.mark.parametrize("whole_folder", [True, False])
def test_removed_files_are_written_again_with_their_numbers(files: SharedFiles, whole_folder: bool) -> None:
    metrics = Metrics(files)
    counter = metrics.turns.labels("desk", "answered")
    counter.inc(3)
    metrics.turns_running.inc(4)
    metrics.restore()
    if whole_folder:
        shutil.rmtree(files.folder)
    else:
        for path in files.folder.glob("counter_*"):
            path.unlink()
    found = samples(metrics)
    assert (found[TURNS], found["voicegw_turns_running"]) == (3, 4)
    counter.inc()
    metrics.turns_running.dec(4)
    found = samples(metrics)
    assert (found[TURNS], found["voicegw_turns_running"]) == (4, 0)
    assert {path.name.partition(f"_{os.getpid()}")[2] for path in files.folder.iterdir()} == {".db"}


def test_files_that_are_there_stay(files: SharedFiles) -> None:
    metrics = Metrics(files)
    metrics.calls.labels("twilio").inc()
    assert [files.restore(), files.restore()] == [False, False]


def test_files_that_went_before_the_first_check_are_written_again(files: SharedFiles) -> None:
    metrics = Metrics(files)
    metrics.turns.labels("desk", "answered").inc(2)
    shutil.rmtree(files.folder)
    files.folder.mkdir()  # by another process
    assert samples(metrics)[TURNS] == 2
