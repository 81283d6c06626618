"""Faulty Python agents behind the served gateway: the log names the fault, the caller hears an apology."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ROOT, HttpClient, Server, wait_until
from voicegw.turns.phrases import PHRASES

pytestmark = pytest.mark.wire

APOLOGY = PHRASES["en"].failure
SHUTDOWN_TIMEOUT = 10.0
"""Seconds in which the gateway exits, even if its agents continue."""
NAMES = (
    "echoing",
    "numbers",
    "raising",
    "midway",
    "silent",
    "endless",
    "blocking",
    "returning",
    "uncancellable",
    "blocked_thread",
)
CONFIG = """
[server]
shutdown_grace = 0

[agents.spare]
kind = "scripted"
script = "echo"
ack.after = "off"

[agents.flaky]
kind = "python"
target = "agents:raising"
idempotent = true
fallback = ["spare"]
ack.after = "off"
""" + "".join(
    f"""
[agents.{name}]
kind = "python"
target = "agents:{name}"
first_token = 0.5
ack.after = "off"
"""
    for name in NAMES
)
AGENTS = """
import asyncio
import time


async def echoing(turn):
    yield turn.said


async def numbers(turn):
    yield 42


async def raising(turn):
    raise LookupError("no such table")
    yield "never"


async def midway(turn):
    yield "Well"
    raise LookupError("no such table")


async def silent(turn):
    if turn.said == "speak":
        yield "Hello"


async def endless(turn):
    while True:
        await asyncio.sleep(0.01)
    yield "never"


async def blocking(turn):
    time.sleep(1)
    yield "Done."


def returning(turn):
    return 42


async def uncancellable(turn):
    yield "Well"
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


def blocked_thread(turn):
    yield "Well"
    time.sleep(600)
"""


def line_number(text: str) -> int:
    """Return the number of the first line of `agents.py` that holds this text."""
    return AGENTS[: AGENTS.index(text)].count("\n") + 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("bad"), CONFIG, agents=AGENTS) as server:
        yield server


def get_answer(server: Server, model: str) -> str:
    with HttpClient(server) as client:
        client.post_chat({"model": model})
        response = client.read_response()
        assert response.status == 200
        return response.text


def turn_record(server: Server, agent: str) -> dict[str, Any]:
    """Wait for the log record of the agent's only turn, and return it."""
    wait_until(lambda: [turn for turn in server.log_records("turn") if turn["agent"] == agent])
    [record] = [turn for turn in server.log_records("turn") if turn["agent"] == agent]
    return record


TIMED_OUT = "the agent took too long before its first output"
EXPECTED_EVENTS = "expected are str, ToolCall, Activity, Usage, Finish"


@pytest.mark.parametrize(
    ("agent", "answer", "cause"),
    [
        ("numbers", APOLOGY, f"agents:numbers yielded int; {EXPECTED_EVENTS}"),
        ("returning", APOLOGY, f"agents:returning yielded int; {EXPECTED_EVENTS}"),
        ("raising", APOLOGY, f"agents:raising raised LookupError at FILE:{line_number('raise LookupError')}"),
        (
            "midway",
            f"Well... {APOLOGY}",
            f"agents:midway raised LookupError at FILE:{line_number('raise LookupError') + 6}",
        ),
        ("silent", APOLOGY, "the agent said nothing"),
        ("endless", APOLOGY, TIMED_OUT),
    ],
    ids=["numbers", "returning", "raising", "midway", "silent", "endless"],
)
def test_faulty_agent_is_named_in_the_log_and_the_caller_hears_an_apology(
    agent: str, answer: str, cause: str, server: Server
) -> None:
    assert get_answer(server, agent) == answer
    record = turn_record(server, agent)
    assert (record["outcome"], record["why"]) == (
        "failed",
        cause.replace("FILE", str(server.folder / "agents.py")),
    )
    assert get_answer(server, "echoing") == "Hello?"


def test_fallback_answers_for_an_agent_that_fails_before_its_first_output(server: Server) -> None:
    assert get_answer(server, "flaky") == "Hello?"


def test_blocked_event_loop_is_logged_with_file_and_line(server: Server) -> None:
    assert get_answer(server, "blocking") == "Done."
    wait_until(lambda: server.log_records("blocked"))
    [record] = server.log_records("blocked")
    assert record["where"] == f"{server.folder / 'agents.py'}:{line_number('time.sleep(1)')}"
    assert get_answer(server, "echoing") == "Hello?"


def test_serve_reports_all_invalid_targets_at_once(tmp_path: Path) -> None:
    targets = {
        "absent": "no_such_agents:reply",
        "misspelt": "bad_agents:replly",
        "missing_import": "bad_import:reply",
        "no_parameter": "bad_agents:no_parameter",
        "coroutine": "bad_agents:coroutine",
    }
    tables = (f'[agents.{name}]\nkind = "python"\ntarget = "{target}"\n' for name, target in targets.items())
    (tmp_path / "voicegw.toml").write_text("\n".join(tables), "utf-8")
    (tmp_path / "bad_import.py").write_text("import no_such_library\n", "utf-8")
    (tmp_path / "bad_agents.py").write_text(
        "async def reply(turn):\n    yield ''\n\nasync def no_parameter():\n    yield ''\n\n"
        "async def coroutine(turn):\n    return ''\n",
        "utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "voicegw",
        "serve",
        "--port",
        "0",
        "--config",
        str(tmp_path / "voicegw.toml"),
    ]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode != 0
    lines = process.stderr.splitlines()
    for name, problem in {
        "absent": 'there is no module "no_such_agents"',
        "misspelt": 'there is no "replly" in bad_agents; did you mean "reply"?',
        "missing_import": 'module "bad_import" imports "no_such_library", which is not installed',
        "no_parameter": "bad_agents:no_parameter() does not fit: too many positional arguments",
        "coroutine": "bad_agents:coroutine is a coroutine function: it has no `yield`",
    }.items():
        assert any(f"agents.{name}: " in line and problem in line for line in lines), name
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("agent", ["uncancellable", "blocked_thread"])
def test_agent_that_does_not_stop_neither_delays_other_turns_nor_the_shutdown(
    agent: str, tmp_path: Path
) -> None:
    with Server(tmp_path, CONFIG, agents=AGENTS) as server:
        with HttpClient(server) as client:
            client.post_chat({"model": agent})
            client.read_until(b'"content":"Well"')
        assert turn_record(server, agent)["stop_ms"] is None, "the agent has not stopped"
        assert get_answer(server, "echoing") == "Hello?"
        server.send_signal(signal.SIGTERM)
        assert server.process.wait(SHUTDOWN_TIMEOUT) == 0, server.log
        assert "the agent did not close in time" in server.log
