"""SIGHUP puts the edited file in force: nothing is cut off, and an invalid file changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.e2e.server import ROOT, START_TIMEOUT, TIMEOUT, HttpClient, Server, wait_until
from voicegw.turns.phrases import PHRASES

pytestmark = pytest.mark.wire

CONFIG = """
server.shutdown_grace = 8.0

[keys.one]
hash = "sha256:ONE"

[agents.who]
kind = "python"
target = "agents:who"
ack.after = "off"

[agents.count]
kind = "scripted"
script = "count"
options = { to = 40, every = 0.1 }
ack.after = "off"

[agents.endless]
kind = "scripted"
script = "count"
options = { to = 100, every = 1.0 }
ack.after = "off"
"""
CONFIG = CONFIG.replace("ONE", hashlib.sha256(b"one").hexdigest())
SECOND_KEY = f'\n[keys.two]\nhash = "sha256:{hashlib.sha256(b"two").hexdigest()}"\n'
AGENTS = """
async def who(turn):
    yield "before"
"""
IN_FORCE = "reload: the configuration is in force"
KEPT = "reload: the old configuration stays in force"


@pytest.fixture(params=["1", "2"], ids=["one process", "two workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, CONFIG, "--workers", request.param, agents=AGENTS) as server:
        yield server


def reload_file(server: Server, config: str, *, agents: str = AGENTS, expected: str = IN_FORCE) -> None:
    """Write both files, send SIGHUP, and wait for the line in the log."""
    count = server.log.count(expected)
    (server.folder / "voicegw.toml").write_text(config, "utf-8")
    (server.folder / "agents.py").write_text(agents, "utf-8")
    server.send_signal(signal.SIGHUP)
    wait_until(lambda: server.log.count(expected) > count, START_TIMEOUT)


def status(server: Server, key: str) -> int:
    with HttpClient(server) as client:
        return client.get("/v1/models", authorization=f"Bearer {key}").status


def ask_who(server: Server, key: str = "one") -> str:
    with HttpClient(server) as client:
        client.post_chat({"model": "who"}, authorization=f"Bearer {key}")
        return client.read_response().text


def test_new_keys_and_code_are_in_force_and_a_running_turn_finishes(server: Server) -> None:
    with HttpClient(server) as client:
        client.post_chat({"model": "count"}, authorization="Bearer one")
        while b" two" not in client.buffer:
            client.read()
        assert status(server, "two") == 401
        reload_file(server, CONFIG + SECOND_KEY, agents=AGENTS.replace("before", "after a change"))
        wait_until(lambda: status(server, "two") == 200, START_TIMEOUT)
        wait_until(lambda: all(ask_who(server, "two") == "after a change" for _ in range(6)), START_TIMEOUT)
        assert client.read_response().text.endswith("thirty-nine forty")
        wait_until(lambda: any(turn["agent"] == "count" for turn in server.log_records("turn")))
    assert {turn["outcome"] for turn in server.log_records("turn")} == {"answered"}


def test_key_that_was_removed_is_refused_after_the_reload(server: Server) -> None:
    reload_file(server, CONFIG + SECOND_KEY)
    wait_until(lambda: status(server, "two") == 200, START_TIMEOUT)
    reload_file(server, CONFIG)
    wait_until(lambda: all(status(server, "two") == 401 for _ in range(10)), START_TIMEOUT)
    assert status(server, "one") == 200


INVALID = (
    ("[half an edit", AGENTS, "is not TOML"),
    (CONFIG + "\n[sever]\n", AGENTS, 'sever: unknown key; did you mean "server"?'),
    (CONFIG, "def who(turn):\n    yield (", "SyntaxError"),
)
"""Files that cannot be put in force: the configuration, the code, and the reason in the log."""


def test_invalid_files_change_nothing_and_the_log_says_why(server: Server) -> None:
    for config, agents, reason in INVALID:
        reload_file(server, config, agents=agents, expected=KEPT)
        assert reason in server.log
        assert [ask_who(server) for _ in range(4)] == ["before"] * 4
    reload_file(server, CONFIG + SECOND_KEY)
    wait_until(lambda: status(server, "two") == 200, START_TIMEOUT)


def test_change_between_one_process_and_several_needs_a_restart(tmp_path: Path) -> None:
    with Server(tmp_path, CONFIG, agents=AGENTS) as server:
        reload_file(server, CONFIG.replace("server.", "server.workers = 2\nserver.", 1), expected=KEPT)
        assert "server.workers: restart voicegw to change it" in server.log


def test_no_request_fails_during_reloads(server: Server) -> None:
    """Every request is a new connection: a kept one may be closed at any time, and is opened again then."""
    failures: list[str] = []
    is_over = threading.Event()

    def call() -> None:
        while not is_over.is_set():
            try:
                if ask_who(server) != "before":
                    failures.append("another answer")
            except (OSError, AssertionError, KeyError, ValueError) as error:
                failures.append(repr(error))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(3):
            reload_file(server, CONFIG)
    finally:
        is_over.set()
        for caller in callers:
            caller.join()
    assert failures == []


def test_websocket_call_goes_on_after_a_reload(server: Server) -> None:
    address = f"ws://127.0.0.1:{server.port}/v1/realtime?model=who"
    with connect(address, additional_headers={"authorization": "Bearer one"}) as call:

        def say() -> str:
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}
            call.send(json.dumps({"type": "conversation.item.create", "item": item}))
            call.send(json.dumps({"type": "response.create"}))
            words = ""
            while (event := json.loads(call.recv(TIMEOUT)))["type"] != "response.done":
                words += event.get("delta", "") if event["type"] == "response.output_text.delta" else ""
            return words

        assert say() == "before"
        reload_file(server, CONFIG, agents=AGENTS.replace("before", "after a change"))
        wait_until(lambda: all(ask_who(server) == "after a change" for _ in range(6)), START_TIMEOUT)
        assert [say(), say()] == ["before", "before"]


def test_stop_during_a_reload_waits_for_one_grace(server: Server) -> None:
    """The grace of 8 seconds, twice, would be longer than the test waits."""
    with HttpClient(server) as client:
        client.post_chat({"model": "endless"}, authorization="Bearer one")
        while b"one" not in client.buffer:
            client.read()
        reload_file(server, CONFIG)
        server.send_signal(signal.SIGTERM)
        assert server.process.wait(TIMEOUT) == 0, server.log
        assert client.read_response().text.endswith(PHRASES["en"].shutdown)


@contextmanager
def signal_handling(handler: Any) -> Iterator[None]:
    """Let processes that start within the block inherit this handling of SIGHUP."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


RUN_ON_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "voicegw", "serve", *sys.argv[1:]])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("is_nohup", [False, True], ids=["default", "nohup"])
def test_terminal_that_closes_ends_the_server_unless_it_runs_under_nohup(
    tmp_path: Path, workers: str, is_nohup: bool
) -> None:
    (tmp_path / "voicegw.toml").write_text(CONFIG, "utf-8")
    (tmp_path / "agents.py").write_text(AGENTS, "utf-8")
    log = tmp_path / "log"
    terminal, inside = pty.openpty()
    options = ["--config", str(tmp_path / "voicegw.toml"), "--port", "0", "--workers", workers]
    with signal_handling(signal.SIG_IGN if is_nohup else signal.SIG_DFL), log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN_ON_A_TERMINAL, *options],
            cwd=ROOT,
            stdin=inside,
            stdout=inside,
            stderr=stderr,
        )
    os.close(inside)
    try:
        wait_until(lambda: "try it" in log.read_text("utf-8"), START_TIMEOUT)
        wait_until(has_handler_of_sighup(process.pid))
        os.close(terminal)
        if is_nohup:
            wait_until(lambda: IN_FORCE in log.read_text("utf-8"), START_TIMEOUT)
            process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0, log.read_text("utf-8")
        assert (IN_FORCE in log.read_text("utf-8")) == is_nohup
    finally:
        process.kill()
        process.wait()


def has_handler_of_sighup(pid: int) -> Callable[[], bool]:
    def has_handler() -> bool:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        [caught] = [line for line in lines if line.startswith("SigCgt:")]
        return bool(int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1)

    return has_handler
