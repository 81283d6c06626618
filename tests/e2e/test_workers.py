"""Several workers behind one port."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.server import START_TIMEOUT, TIMEOUT, HttpClient, Server, wait_until

pytestmark = pytest.mark.wire

CONFIG = """
limits.concurrent_turns = 100

[agents.pid]
kind = "python"
target = "agents:pid"
ack.after = "off"

[agents.waiting]
kind = "python"
target = "agents:waiting"
ack.after = "off"
"""
AGENTS = """
import asyncio
import os
import time


async def pid(turn):
    time.sleep(0.05)  # while one worker is busy, the other accepts the new connections
    yield str(os.getpid())


async def waiting(turn):
    yield "Well"
    await asyncio.sleep(600)
"""
EDITED = CONFIG.replace("[agents.pid]", "[keys.new]\nenv = 'NEW_KEY'\n\n[agents.pid]")
"""A file with a key, which refuses requests without one."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    environ = {"TMPDIR": str(tmp_path), "NEW_KEY": "vgw_a_new_key"}
    with Server(tmp_path, CONFIG, "--workers", "2", agents=AGENTS, environ=environ) as server:
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
    wait_until(lambda: len(server.log_records("turn")) == requests)
    assert "2 workers share the port and the metrics, and divide the limits among them" in server.log
    server.process.terminate()
    assert server.process.wait(TIMEOUT) == 0
    wait_until(lambda: not any(map(is_alive, children)))
    assert "Traceback" not in server.log


def test_workers_agree_to_which_request_an_idempotency_key_belongs(server: Server) -> None:
    key, answers, refusals, attempts = {"idempotency-key": "k"}, set[int](), set[int](), 0
    while len(answers) < 2 or attempts < 20:
        assert attempts < 400, "only one worker answers"
        if not attempts % 3:  # the workers may take connections in turn
            server.metric("voicegw_turns_total")
        with HttpClient(server) as same, HttpClient(server) as other:
            same.post_chat(**key)
            answers.add(int(same.read_response().text))
            other.post_chat({"user": "another"}, **key)
            refusals.add(other.read_response().status)
        attempts += 1
    assert refusals == {422}


def worker_pids(server: Server) -> set[int]:
    """Return the PIDs of the workers, without the resource tracker of multiprocessing."""
    pids = set[int]()
    for pid in child_pids(server.process.pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                pids.add(pid)
    return pids


def wait_for_workers(server: Server, count: int) -> set[int]:
    """Wait until so many workers answer, and return their PIDs."""
    found = set[int]()

    def have_answered() -> bool:
        found.update(answering_pids(server, 10))
        found.intersection_update(worker_pids(server))
        return len(found) == count

    wait_until(have_answered, START_TIMEOUT)
    return found


def test_worker_that_dies_is_logged_counted_and_replaced_with_the_same_configuration(server: Server) -> None:
    before = wait_for_workers(server, 2)
    (server.folder / "voicegw.toml").write_text(EDITED, "utf-8")
    with HttpClient(server) as client:
        client.post_chat({"model": "waiting"})
        while b"Well" not in client.buffer:
            client.read()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert client.is_closed() or client.read() == b""
    wait_until(lambda: len(server.log_records("worker")) == 2)
    deaths = server.log_records("worker")
    assert {death["pid"] for death in deaths} == before
    assert {death["why"] for death in deaths} == {"killed by SIGKILL"}
    assert sum(death["turns"] for death in deaths) == 1
    assert not before & wait_for_workers(server, 2)
    assert server.metric("voicegw_worker_deaths_total") == 2


def test_metrics_survive_the_removal_of_their_folder(server: Server) -> None:
    wait_for_workers(server, 2)
    turns = server.metric("voicegw_turns_total")
    [folder] = server.folder.glob("voicegw-*")
    wait_until(lambda: not shutil.rmtree(folder, ignore_errors=True) and not folder.exists())
    wait_until(lambda: server.metric("voicegw_turns_total") >= turns)
    os.kill(worker_pids(server).pop(), signal.SIGKILL)
    wait_until(lambda: server.log_records("worker"))
    wait_for_workers(server, 2)
    assert [death["error"] for death in server.log_records("worker")] == [None]


def test_failing_starts_back_off_and_the_reason_is_logged(server: Server) -> None:
    [first, second] = wait_for_workers(server, 2)
    (server.folder / "agents.py").write_text("async def pid(turn):\n    yield (", "utf-8")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(server.log_records("worker")) >= 3, START_TIMEOUT)
    assert len(worker_pids(server) - {second}) <= 1
    assert "SyntaxError" in server.log_records("worker")[1]["error"]
    assert answering_pids(server, 10) == {second}
    (server.folder / "agents.py").write_text(AGENTS, "utf-8")
    wait_for_workers(server, 2)


def test_workers_end_with_their_supervisor(server: Server) -> None:
    workers = wait_for_workers(server, 2)
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not any(map(is_alive, workers)))
    assert "the supervisor is gone" in server.log


def test_worker_that_is_told_to_end_is_replaced(server: Server) -> None:
    before = wait_for_workers(server, 2)
    os.kill(min(before), signal.SIGTERM)
    wait_until(lambda: min(before) not in worker_pids(server))
    assert min(before) not in wait_for_workers(server, 2)
    assert "Traceback" not in server.log
