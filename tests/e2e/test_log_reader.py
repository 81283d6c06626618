"""A reader of the log that stops or goes away holds up nothing; the lines that it misses are counted."""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import TIMEOUT, HttpClient, Server, wait_until
from voicegw.telemetry.log_output import MAX_WAITING_BYTES

pytestmark = pytest.mark.wire

PIPE_BYTES = 4096
"""The smallest size of a pipe."""
MIN_LINE_BYTES = 450
"""Bytes of a turn's line, at least."""
DROPPED = 'voicegw_telemetry_dropped_total{what="log"}'
CONFIG = """
server.shutdown_grace = 5.0

[agents.echo]
kind = "scripted"
script = "echo"
ack.after = "off"

[agents.count]
kind = "scripted"
script = "count"
options = { to = 30, every = 0.1 }
ack.after = "off"

[agents.broken]
kind = "python"
target = "agents:broken"
"""
AGENTS = """
async def broken(turn):
    yield "Well"
    raise ValueError("my number is 4711")


async def warm(call=None):
    raise ValueError("my number is 4711")


broken.warm = warm
"""


class PipedServer(Server):
    """A server whose log is a pipe. `log` reads what is in it, until `stop_reading` or `close_pipe`."""

    def __init__(self, folder: Path, config: str, *flags: str) -> None:
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.text, self.is_reading = "", True
        super().__init__(folder, config, *flags, agents=AGENTS, stderr=writer)
        os.close(writer)

    @property
    def log(self) -> str:
        while self.is_reading:
            try:
                data = os.read(self.reader, 1 << 20)
            except BlockingIOError:
                break
            self.text += data.decode()
            if not data:
                break
        return self.text

    def close_pipe(self) -> None:
        self.is_reading = False
        os.close(self.reader)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PipedServer]:
    with PipedServer(tmp_path, CONFIG) as server:
        yield server
    if server.is_reading:
        server.close_pipe()


def ask(client: HttpClient, count: int) -> None:
    for number in range(count):
        body = {"messages": [{"role": "user", "content": f"turn {number}"}]}
        client.post_chat(body, x_request_id="x" * 120)
        assert client.read_response().text == f"turn {number}"


def reports(server: Server) -> list[dict[str, Any]]:
    return server.log_records("telemetry")


def test_stopped_reader_holds_up_no_turn_and_learns_how_many_lines_it_lost(server: PipedServer) -> None:
    server.is_reading = False
    count = 2 * (MAX_WAITING_BYTES + PIPE_BYTES) // MIN_LINE_BYTES
    with HttpClient(server) as stream, HttpClient(server) as client:
        stream.post_chat({"model": "count"})
        ask(client, count)
        assert stream.read_response().text.endswith("thirty")
        wait_until(lambda: server.metric("voicegw_turns_total") == count + 1)
        wait_until(lambda: server.metric(DROPPED) > count // 4)
        server.is_reading = True
        wait_until(lambda: reports(server))
        ask(client, 1)
        [report] = reports(server)
        assert server.metric(DROPPED) == report["lost_lines"]
        assert report["why"] == "the reader of the log does not read"
    wait_until(lambda: len(server.log_records("turn")) + report["lost_lines"] == count + 2)


def test_closed_pipe_loses_lines_and_no_turn(server: PipedServer) -> None:
    server.close_pipe()
    with HttpClient(server) as client:
        ask(client, 20)
        wait_until(lambda: server.metric(DROPPED) == 20)
        assert server.metric("voicegw_turns_total") == 20
        server.send_signal(signal.SIGTERM)
    assert server.process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_line_is_out_at_a_normal_end(tmp_path: Path, workers: str) -> None:
    with Server(tmp_path, CONFIG, "--workers", workers, agents=AGENTS) as server:
        with HttpClient(server) as client:
            ask(client, 50)
        server.send_signal(signal.SIGTERM)
        assert server.process.wait(TIMEOUT) == 0
    assert len(server.log_records("turn")) == 50
    for line in server.log.splitlines():
        assert not line.startswith("{") or json.loads(line)


def test_log_holds_no_message_of_an_exception(tmp_path: Path) -> None:
    with Server(tmp_path, CONFIG, agents=AGENTS) as server, HttpClient(server) as client:
        client.post_chat({"model": "broken"})
        client.read_response()
        wait_until(lambda: server.log_records("turn"))
    turns = server.log_records("turn")
    assert len(turns) == 1, server.log
    turn = turns[0]
    assert turn["why"].startswith("agents:broken raised ValueError at ")
    assert "4711" not in server.log
