"""A tool that is stopped by a signal writes its results and leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.generate import open_loop
from loadtests.generate.workload import Workload
from loadtests.report.results import ROOT, Results
from loadtests.servers import launch
from loadtests.servers.launch import run_server
from tests.loadtests.upstreams import run_upstream

pytestmark = pytest.mark.wire

TERMINATED = """\
import signal, uvloop, asyncio
from loadtests.generate.signals import interrupt_on_termination
signal.signal(signal.{0}, signal.SIG_DFL)  # nohup ignores it
interrupt_on_termination()
async def wait():
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.{0})
    await asyncio.Future()
try:
    uvloop.run(wait())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_termination_signal_acts_like_ctrl_c(name: str) -> None:
    argv = [sys.executable, "-c", TERMINATED.format(name)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_results_are_written_when_stdout_is_closed(tmp_path: Path) -> None:
    file, (read, write) = tmp_path / "open.json", os.pipe()
    os.close(read)
    argv = [
        sys.executable,
        "-m",
        "loadtests.generate.open_loop",
        "--target",
        "http://127.0.0.1:1",
        "--seconds",
        "0.05",
    ]
    with os.fdopen(write, "wb") as closed_pipe:
        done = subprocess.run(
            [*argv, "--json", str(file)],
            cwd=ROOT, stdout=closed_pipe, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    assert Results.read(file).runs[0].void


def test_a_second_ctrl_c_still_stops_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import signal, socket, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "s = socket.create_server(('127.0.0.1', {})); time.sleep(60)"
    )
    port, waits = launch.free_port(), []

    def interrupted(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        waits.append(timeout)
        if timeout is not None:
            raise KeyboardInterrupt
        return wait(self)

    wait = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    argv = [sys.executable, "-c", program.format(port)]
    server = run_server(argv, port, os.sched_getaffinity(0), tmp_path / "log", os.environ)
    with pytest.raises(KeyboardInterrupt), server as pid:
        pass
    assert waits == [launch.STOP_TIMEOUT, None]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_run_is_void_if_the_agent_loses_its_counts() -> None:
    async with run_upstream() as (target, stats):
        workload = Workload("S", ("quick",), 100, 0.05, 5)
        run = open_loop.new_run(target, workload)

        def lose_counts(at: float, streams: int) -> None:
            stats.left = "many"  # type: ignore[assignment]

        with pytest.raises(ConnectionError, match=r"not a loadtests\.servers\.upstream"):
            await open_loop.run_workload(target, workload, run, target, lose_counts)
    assert run.void.startswith("the request count of the agent is not known")
    await asyncio.sleep(0)
