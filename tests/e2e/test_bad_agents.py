"""Faulty Python agents, served: each is named, its caller hears a sentence, others hear their answers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ROOT, Caller, Server, eventually
from voicegw.turns.phrases import PHRASES

pytestmark = pytest.mark.wire

SORRY = PHRASES["en"].failure
QUICK = 10.0
"""Seconds in which the gateway ends, even if its agents go on."""
NAMES = (
    "echoing",
    "numbers",
    "raising",
    "midway",
    "mute",
    "endless",
    "blocking",
    "returning",
    "deaf",
    "jammed",
)
CONFIG = """
[server]
drain = 0

[agents.spare]
kind = "scripted"
script = "echo"
ack.after = "off"

[agents.flaky]
kind = "python"
target = "agents:raising"
repeatable = true
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


async def mute(turn):
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


async def deaf(turn):
    yield "Well"
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


def jammed(turn):
    yield "Well"
    time.sleep(600)
"""


def line(text: str) -> int:
    """The number of the first line of the agents' file with this text."""
    return AGENTS[: AGENTS.index(text)].count("\n") + 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("bad"), CONFIG, agents=AGENTS) as server:
        yield server


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    with Caller(server) as caller:
        yield caller


def ask(server: Server, model: str) -> str:
    with Caller(server) as caller:
        caller.ask({"model": model})
        reply = caller.reply()
        assert reply.status == 200
        return reply.text


def told(server: Server, agent: str) -> dict[str, Any]:
    """The line of the log about the one turn of an agent."""
    eventually(lambda: [line for line in server.lines("turn") if line["agent"] == agent])
    [found] = [line for line in server.lines("turn") if line["agent"] == agent]
    return found


TOO_LONG = "the agent took too long before its first output"
EXPECTED = "expected are str, ToolCall, Activity, Usage, Finish"


@pytest.mark.parametrize(
    ("agent", "says", "why"),
    [
        ("numbers", SORRY, f"agents:numbers yielded int; {EXPECTED}"),
        ("returning", SORRY, f"agents:returning yielded int; {EXPECTED}"),
        ("raising", SORRY, f"agents:raising raised LookupError at FILE:{line('raise LookupError')}"),
        (
            "midway",
            f"Well... {SORRY}",
            f"agents:midway raised LookupError at FILE:{line('raise LookupError') + 6}",
        ),
        ("mute", SORRY, "the agent said nothing"),
        ("endless", SORRY, TOO_LONG),
    ],
    ids=["numbers", "returning", "raising", "midway", "mute", "endless"],
)
def test_a_fault_is_named_in_the_log_and_the_caller_hears_a_sentence(
    agent: str, says: str, why: str, server: Server
) -> None:
    assert ask(server, agent) == says
    found = told(server, agent)
    assert (found["outcome"], found["why"]) == (
        "failed",
        why.replace("FILE", str(server.folder / "agents.py")),
    )
    assert ask(server, "echoing") == "Hello?"


def test_another_agent_answers_for_one_that_fails_before_its_first_word(server: Server) -> None:
    assert ask(server, "flaky") == "Hello?"


def test_who_blocks_the_loop_is_named_by_file_and_line(server: Server) -> None:
    assert ask(server, "blocking") == "Done."
    eventually(lambda: server.lines("blocked"))
    [found] = server.lines("blocked")
    assert found["where"] == f"{server.folder / 'agents.py'}:{line('time.sleep(1)')}"
    assert ask(server, "echoing") == "Hello?"


def test_what_cannot_answer_is_named_at_start_all_of_it_at_once(tmp_path: Path) -> None:
    wrong = {
        "absent": "no_such_agents:reply",
        "misspelt": "bad_agents:replly",
        "unmet": "bad_import:reply",
        "turnless": "bad_agents:turnless",
        "plain": "bad_agents:plain",
    }
    tables = (f'[agents.{name}]\nkind = "python"\ntarget = "{target}"\n' for name, target in wrong.items())
    (tmp_path / "voicegw.toml").write_text("\n".join(tables), "utf-8")
    (tmp_path / "bad_import.py").write_text("import no_such_library\n", "utf-8")
    (tmp_path / "bad_agents.py").write_text(
        "async def reply(turn):\n    yield ''\n\nasync def turnless():\n    yield ''\n\n"
        "async def plain(turn):\n    return ''\n",
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
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    for name, what in {
        "absent": 'there is no module "no_such_agents"',
        "misspelt": 'there is no "replly" in bad_agents; did you mean "reply"?',
        "unmet": 'module "bad_import" imports "no_such_library", which is not installed',
        "turnless": "bad_agents:turnless() does not fit: too many positional arguments",
        "plain": "bad_agents:plain is a coroutine function: it has no `yield`",
    }.items():
        assert any(f"agents.{name}: " in told and what in told for told in ended.stderr.splitlines()), name
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("agent", ["deaf", "jammed"])
def test_what_ignores_its_end_stays_alone_with_it(agent: str, tmp_path: Path) -> None:
    with Server(tmp_path, CONFIG, agents=AGENTS) as server:
        with Caller(server) as caller:
            caller.ask({"model": agent})
            caller.until(b'"content":"Well"')
        assert told(server, agent)["stop_ms"] is None, "it has not stopped, and that is told"
        assert ask(server, "echoing") == "Hello?"
        server.tell(signal.SIGTERM)
        assert server.process.wait(QUICK) == 0, server.log
        assert "the agent did not close in time" in server.log
