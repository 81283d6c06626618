"""Several workers behind one port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.server import TIMEOUT, HttpClient, Server, wait_until

pytestmark = pytest.mark.wire

CONFIG = """
limits.concurrent_turns = 100

[agents.pid]
kind = "python"
target = "agents:pid"
ack.after = "off"
"""
AGENTS = """
import os
import time


async def pid(turn):
    time.sleep(0.05)  # while one worker is busy, the other accepts the new connections
    yield str(os.getpid())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, CONFIG, "--workers", "2", agents=AGENTS) as server:
        yield server


def child_pids(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def answering_pids(server: Server, count: int) -> set[int]:
    """Send `count` requests at the same time; return the PIDs of the workers that answered."""
    with ExitStack() as stack:
        clients = [stack.enter_context(HttpClient(server)) for _ in range(count)]
        for client in clients:
            client.post_chat()
        return {int(client.read_response().text) for client in clients}


def test_workers_share_the_port_sum_their_metrics_and_end_on_one_signal(server: Server) -> None:
    requests, workers = 0, set[int]()
    while len(workers) < 2:
        assert requests < 400, "only one worker answers"
        workers |= answering_pids(server, 10)
        requests += 10
    children = child_pids(server.process.pid)
    assert workers < children, "the children are the workers and the resource tracker of multiprocessing"
    wait_until(lambda: server.metric("voicegw_turns_total") == requests)
    assert server.metric("voicegw_turns_running") == 0
    assert len(server.log_records("turn")) == requests
    assert "2 workers: limits are divided among them, metrics are summed" in server.log
    server.process.terminate()
    assert server.process.wait(TIMEOUT) == 0
    wait_until(lambda: not any(map(is_alive, children)))
    assert "Traceback" not in server.log


def test_workers_agree_to_which_request_an_idempotency_key_belongs(server: Server) -> None:
    key, answers, refusals, attempts = {"idempotency-key": "k"}, set[int](), set[int](), 0
    while len(answers) < 2 or attempts < 20:
        assert attempts < 400, "only one worker answers"
        with HttpClient(server) as same, HttpClient(server) as other:
            same.post_chat(**key)
            answers.add(int(same.read_response().text))
            other.post_chat({"user": "another"}, **key)
            refusals.add(other.read_response().status)
        attempts += 1
    assert refusals == {422}
