"""Shutdown of the served gateway: running turns finish within the grace, and new connections are refused."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.server import LAST_CHUNK, TIMEOUT, HttpClient, HttpResponse, Server, wait_until
from tests.support.chat_lint import lint
from voicegw.turns.phrases import PHRASES

pytestmark = pytest.mark.wire

CONFIG = """
server.shutdown_grace = GRACE

[agents.count]
kind = "scripted"
script = "count"
options = { to = 15, every = 0.1 }
ack.after = "off"

[agents.waiting]
kind = "python"
target = "agents:waiting"
options = { folder = "FOLDER" }
ack.after = "off"
"""
AGENTS = """
import asyncio
from pathlib import Path


async def waiting(turn, folder):
    try:
        yield "Well"
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.05)
        Path(folder, "closed").touch()
"""


@contextmanager
def start_server(folder: Path, shutdown_grace: float, *flags: str) -> Iterator[Server]:
    config = CONFIG.replace("GRACE", str(shutdown_grace)).replace("FOLDER", str(folder))
    with Server(folder, config, *flags, agents=AGENTS) as server:
        yield server


def refuses_connections(server: Server) -> bool:
    try:
        with HttpClient(server):
            return False
    except ConnectionRefusedError:
        return True


def read_whole_stream(client: HttpClient) -> HttpResponse:
    """Read the response to its last chunk, check its events, and return it."""
    response = client.read_response()
    assert response.raw.endswith(LAST_CHUNK)
    lint(response.body)
    return response


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_running_turn_finishes_and_new_connections_are_refused(
    tmp_path: Path, signal_number: signal.Signals
) -> None:
    with start_server(tmp_path, shutdown_grace=20) as server, HttpClient(server) as client:
        client.post_chat({"model": "count"})
        while b" three" not in client.buffer:
            client.read()
        server.send_signal(signal_number)
        wait_until(lambda: refuses_connections(server))
        assert b"fifteen" not in client.buffer
        assert read_whole_stream(client).text.endswith("thirteen fourteen fifteen")
        assert server.process.wait(TIMEOUT) == 0, server.log
        assert client.is_closed()
    assert server.log_records("turn")[-1]["outcome"] == "answered"


def test_turn_ends_with_the_shutdown_phrase_after_the_grace(tmp_path: Path) -> None:
    with start_server(tmp_path, shutdown_grace=0.3) as server, HttpClient(server) as client:
        client.post_chat({"model": "waiting"})
        while b"Well" not in client.buffer:
            client.read()
        server.send_signal(signal.SIGTERM)
        response = read_whole_stream(client)
        assert response.text == f"Well... {PHRASES['en'].shutdown}"
        assert server.process.wait(TIMEOUT) == 0, server.log
    assert (tmp_path / "closed").exists()
    assert [turn["error"] for turn in server.log_records("turn")] == ["ShuttingDown"]
    assert "Traceback" not in server.log


def test_completion_without_a_stream_fails_with_a_5xx_after_the_grace(tmp_path: Path) -> None:
    with start_server(tmp_path, shutdown_grace=0.3) as server, HttpClient(server) as client:
        client.post_chat({"model": "waiting", "stream": False})
        wait_until(lambda: server.metric("voicegw_turns_running") == 1)
        server.send_signal(signal.SIGTERM)
        response = client.read_response()
        assert (response.status // 100, response.error["type"]) == (5, "server_error")
        assert server.process.wait(TIMEOUT) == 0, server.log
    assert (tmp_path / "closed").exists()


def test_idle_server_exits_at_once_despite_an_open_connection(tmp_path: Path) -> None:
    with start_server(tmp_path, shutdown_grace=600) as server, HttpClient(server) as client:
        assert client.get("/readyz").status == 200
        server.send_signal(signal.SIGTERM)
        assert client.is_closed()
        assert server.process.wait(TIMEOUT) == 0, server.log


@pytest.mark.parametrize(
    ("signal_number", "workers"), [(signal.SIGINT, "1"), (signal.SIGTERM, "1"), (signal.SIGTERM, "2")]
)
def test_second_signal_exits_without_waiting_for_turns(
    tmp_path: Path, signal_number: signal.Signals, workers: str
) -> None:
    with start_server(tmp_path, 600, "--workers", workers) as server, HttpClient(server) as client:
        client.post_chat({"model": "waiting"})
        while b"Well" not in client.buffer:
            client.read()
        server.send_signal(signal_number)
        wait_until(lambda: "stop again to end them at once" in server.log)
        server.send_signal(signal_number)
        assert server.process.wait(TIMEOUT) == 0, server.log
