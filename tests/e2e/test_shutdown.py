"""How the served gateway ends: nobody is cut off, and nothing takes forever."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.server import LAST, PATIENCE, Caller, Reply, Server, eventually
from tests.support.chat_lint import lint
from voicegw.turns.phrases import PHRASES

pytestmark = pytest.mark.wire

CONFIG = """
server.drain = DRAIN

[agents.count]
kind = "scripted"
script = "count"
options = { to = 15, every = 0.1 }
ack.after = "off"

[agents.patient]
kind = "python"
target = "agents:patient"
options = { folder = "FOLDER" }
ack.after = "off"
"""
AGENTS = """
import asyncio
from pathlib import Path


async def patient(turn, folder):
    try:
        yield "Well"
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.05)
        Path(folder, "closed").touch()
"""


@contextmanager
def serving(folder: Path, drain: float) -> Iterator[Server]:
    config = CONFIG.replace("DRAIN", str(drain)).replace("FOLDER", str(folder))
    with Server(folder, config, agents=AGENTS) as server:
        yield server


def refused(server: Server) -> bool:
    try:
        with Caller(server):
            return False
    except ConnectionRefusedError:
        return True


def rest(caller: Caller) -> Reply:
    """The whole answer, whose head is still unread."""
    reply = caller.reply()
    assert reply.raw.endswith(LAST)
    lint(reply.body)
    return reply


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_turn_finishes_and_nobody_new_comes_in(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, shutdown_grace=20) as server, Caller(server) as caller:
        caller.ask({"model": "count"})
        while b" three" not in caller.buffer:
            caller.read()
        server.tell(number)
        eventually(lambda: refused(server))
        assert b"fifteen" not in caller.buffer
        assert rest(caller).text.endswith("thirteen fourteen fifteen")
        assert server.process.wait(PATIENCE) == 0, server.log
        assert caller.gone()
    assert server.lines("turn")[-1]["outcome"] == "answered"


def test_after_the_time_for_it_a_turn_hears_a_farewell_and_ends_well(tmp_path: Path) -> None:
    with serving(tmp_path, shutdown_grace=0.3) as server, Caller(server) as caller:
        caller.ask({"model": "patient"})
        while b"Well" not in caller.buffer:
            caller.read()
        server.tell(signal.SIGTERM)
        reply = rest(caller)
        assert reply.text == f"Well... {PHRASES['en'].shutdown}"
        assert server.process.wait(PATIENCE) == 0, server.log
    assert (tmp_path / "closed").exists()
    assert [line["error"] for line in server.lines("turn")] == ["ShuttingDown"]
    assert "Traceback" not in server.log


def test_a_whole_answer_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, shutdown_grace=0.3) as server, Caller(server) as caller:
        caller.ask({"model": "patient", "stream": False})
        eventually(lambda: server.count("voicegw_turns_running") == 1)
        server.tell(signal.SIGTERM)
        reply = caller.reply()
        assert (reply.status // 100, reply.error["type"]) == (5, "server_error")
        assert server.process.wait(PATIENCE) == 0, server.log
    assert (tmp_path / "closed").exists()


def test_without_turns_the_end_comes_at_once_whoever_keeps_a_connection(tmp_path: Path) -> None:
    with serving(tmp_path, shutdown_grace=600) as server, Caller(server) as caller:
        assert caller.get("/readyz").status == 200
        server.tell(signal.SIGTERM)
        assert caller.gone()
        assert server.process.wait(PATIENCE) == 0, server.log


def test_a_second_ctrl_c_waits_for_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, shutdown_grace=600) as server, Caller(server) as caller:
        caller.ask({"model": "patient"})
        while b"Well" not in caller.buffer:
            caller.read()
        server.tell(signal.SIGINT)
        eventually(lambda: refused(server))
        time.sleep(0.3)  # signals that come together are one
        server.tell(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0, server.log
