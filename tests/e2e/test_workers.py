"""Several workers behind one port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.server import PATIENCE, Caller, Server, eventually

pytestmark = pytest.mark.wire

CONFIG = """
limits.concurrent_turns = 100

[agents.who]
kind = "python"
target = "agents:who"
ack.after = "off"
"""
AGENTS = """
import os
import time


async def who(turn):
    time.sleep(0.05)  # a busy worker leaves new connections to the other one
    yield str(os.getpid())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, CONFIG, "--workers", "2", agents=AGENTS) as server:
        yield server


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ask_at_once(server: Server, count: int) -> set[int]:
    """The processes that answered so many callers at the same time."""
    with ExitStack() as stack:
        callers = [stack.enter_context(Caller(server)) for _ in range(count)]
        for caller in callers:
            caller.ask()
        return {int(caller.reply().text) for caller in callers}


def test_all_workers_answer_metrics_are_summed_and_a_signal_ends_them_all(server: Server) -> None:
    asked, answered = 0, set[int]()
    while len(answered) < 2:
        assert asked < 400, "only one worker answers"
        answered |= ask_at_once(server, 10)
        asked += 10
    family = children(server.process.pid)
    assert answered < family, "the workers are ours, and so is one process that tracks what they share"
    eventually(lambda: server.count("voicegw_turns_total") == asked)
    assert server.count("voicegw_turns_running") == 0
    assert len(server.lines("turn")) == asked
    assert "2 workers: limits are divided among them, metrics are summed" in server.log
    server.process.terminate()
    assert server.process.wait(PATIENCE) == 0
    eventually(lambda: not any(map(alive, family)))
    assert "Traceback" not in server.log
