"""The served gateway when it has no file descriptors left."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.server import HttpClient, Server, wait_until

pytestmark = pytest.mark.wire

CONFIG = """
[agents.echo]
kind = "scripted"
script = "echo"

[agents.waiting]
kind = "python"
target = "agents:waiting"
"""
AGENTS = """
import os

FILES = []


async def waiting(turn):
    if turn.said == "take":
        try:
            while True:
                FILES.append(os.dup(2))
        except OSError:
            pass
    else:
        while FILES:
            os.close(FILES.pop())
    yield "done"
"""


def ask(client: HttpClient, text: str) -> str:
    client.post_chat({"model": "waiting", "messages": [{"role": "user", "content": text}]})
    return client.read_response().text


def test_callers_are_served_while_a_stranger_holds_idle_connections(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, CONFIG, agents=AGENTS, max_files=120))
        for _ in range(300):
            stack.enter_context(HttpClient(server))
        with HttpClient(server) as client:
            client.post_chat({"model": "echo", "stream": False})
            assert client.read_response().status == 200
            assert client.get("/readyz").status == 200
        assert server.metric("voicegw_idle_connections_closed_total") >= 190
        assert server.log.count("files run low, so idle connections are closed") <= 3


def test_readiness_and_log_show_that_no_files_are_left_until_they_are_again(tmp_path: Path) -> None:
    with Server(tmp_path, CONFIG, agents=AGENTS, max_files=120) as server, HttpClient(server) as client:
        assert ask(client, "take") == "done"
        wait_until(lambda: client.get("/readyz").status == 503)
        assert client.get("/healthz").status == 200
        wait_until(lambda: "out of files: raise the limit of open files (LimitNOFILE)" in server.log)
        ask(client, "give back")
        wait_until(lambda: client.get("/readyz").status == 200)
        wait_until(lambda: "files are available again" in server.log)
        assert server.metric("voicegw_exhaustions_total") >= 1
        assert server.metric("voicegw_exhausted") == 0
