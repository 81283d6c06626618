"""The doctor with well and sick agents: every step is told, every failure is a sentence, nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import socket
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.client import test_http
from tests.agents.upstream import Act, Upstream
from tests.support.gateway import now, settings
from tests.support.script import Script, script
from voicegw import cli
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.cli import FAILED, INTERRUPTED, MISUSED, OK, main
from voicegw.commands.doctor import examine as doctor
from voicegw.commands.doctor.examine import LONG, QUESTION, diagnosis, examine
from voicegw.commands.doctor.report import AgentReport
from voicegw.errors import AgentRejected, AgentUnavailable, ConfigError
from voicegw.events import Activity, Event, Turn

certificate = test_http.certificate


async def examined(agent: Script, within: float = 60.0) -> tuple[AgentReport, list[str]]:
    told: list[str] = []
    found: list[AgentReport] = []
    await examine(
        settings(),
        ["desk"],
        told.append,
        found.append,
        within=within,
        make=lambda table, config: agent,
        now=now,
    )
    return found[0], told


async def test_a_well_agent_is_asked_once_and_interrupted_once() -> None:
    agent = script(0.3, "One", 0.1, " two", 0.1, " three", 0.1, " four", 0.2, closing=0.05)
    found, told = await examined(agent)
    assert told == [
        "desk: making it",
        "desk: getting it ready",
        "desk: opening a call",
        "desk: asking it to count to ten",
        "desk: interrupting it",
    ]
    answer, cut = found.answer, found.cut
    assert answer is not None
    assert cut is not None
    assert [round(at, 9) for at in answer.deltas] == [0.3, 0.4, 0.5, 0.6]
    assert round(answer.over or 0.0, 9) == 0.85
    assert (len(cut.deltas), cut.over, round(cut.stopped or 0.0, 9)) == (1, None, 0.05)
    assert found.well
    assert [turn.said for turn in agent.turns] == [QUESTION, LONG]
    assert agent.left == [turn.call for turn in agent.turns], "the calls are over for the agent, too"
    assert (agent.warmed, agent.gone) == (2, 1), "once at start, and once as a call opens"


async def test_silent_work_is_seen() -> None:
    found, _ = await examined(script(0.2, Activity("searching"), 3.0, "One two three four five."))
    assert found.answer is not None
    assert found.answer.work == [(0.2, "searching")]


class Unready(Script):
    async def warm(self, call: str | None = None) -> None:
        raise AgentRejected("http://127.0.0.1/v1 answered 401", "bad key")


class Closed(Script):
    async def warm(self, call: str | None = None) -> None:
        await asyncio.sleep(0.02)
        if call is not None:
            raise AgentRejected("http://127.0.0.1/profiles answered 404", "no such profile")


class Stubborn(Script):
    """Goes on for long when it is interrupted."""

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        self.turns.append(turn)
        try:
            yield "One"
        finally:
            await asyncio.sleep(100 if turn.said == LONG else 0)


class Slow(Script):
    async def warm(self, call: str | None = None) -> None:
        await asyncio.sleep(3 if call is None else 0.4)


async def test_getting_ready_and_opening_a_call_are_measured_by_themselves() -> None:
    found, _ = await examined(Slow(0.2, "One two three four."))
    assert found.answer is not None
    assert (found.ready, round(found.opened or 0, 9), round(found.answer.first or 0, 9)) == (3.0, 0.4, 0.2)


@pytest.mark.parametrize(
    ("agent", "step", "failure"),
    [
        (Unready(), "ready", "http://127.0.0.1/v1 answered 401: bad key"),
        (Closed(), "open", "http://127.0.0.1/profiles answered 404: no such profile"),
        (script(AgentUnavailable("nobody there")), "answer", "nobody there"),
        (script(), "answer", "it said nothing"),
        (script("  ", "\n"), "answer", "it said nothing"),
        (script(100, "One"), "answer", "not a word within 5 s"),
        (script(0.1, "One", 100), "answer", "no end of its answer within 5 s"),
        (Stubborn(), "stop", "it did not stop within 5 s"),
        (script(ZeroDivisionError("oops")), "answer", "ZeroDivisionError: oops"),
    ],
)
async def test_what_fails_is_named_and_the_agent_let_go(agent: Script, step: str, failure: str) -> None:
    found, _ = await examined(agent, within=5.0)
    assert (found.step, found.failure, found.well) == (step, failure, False)
    assert agent.gone == 1
    assert agent.left == [turn.call for turn in agent.turns] or step == "open"


async def test_an_agent_that_cannot_be_made_is_told_of() -> None:
    def make(table: Any, config: Any) -> Script:
        raise ConfigError("there is no such file")

    kept: list[AgentReport] = []
    await examine(settings(), ["desk"], lambda text: None, kept.append, make=make)
    [found] = kept
    assert (found.step, found.failure) == ("make", "there is no such file")


async def test_an_agent_that_does_not_let_go_is_left_behind() -> None:
    class Clinging(Script):
        async def aclose(self) -> None:
            await asyncio.sleep(1000)

    began = now()
    found, _ = await examined(Clinging("One"))
    assert found.well
    assert now() - began < 10


def file(folder: Path, url: str) -> str:
    path = folder / "voicegw.toml"
    path.write_text(
        f'[agents.model]\nkind = "openai"\nurl = "{url}"\n[agents.desk]\nkind = "scripted"\n', "utf-8"
    )
    return str(path)


def answer(*words: str) -> bytes:
    events = [{"choices": [{"delta": {"content": word}}]} for word in words]
    events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    body = (
        b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    )
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


REFUSED = b'HTTP/1.1 401 Unauthorized\r\ncontent-length: 32\r\n\r\n{"error":{"message":"wrong key"}}'


@pytest.mark.wire
@pytest.mark.parametrize(
    ("replies", "step", "failure"),
    [
        (((0.12, answer("One", " two", " three", " four")),) * 3, "", ""),
        (((REFUSED,),) * 3, "answer", "answered 401"),
        (((Act.RESET,),) * 3, "answer", "connection"),
        (
            ((b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhuh", Act.CLOSE),) * 3,
            "answer",
            "broke off in the middle of an event",
        ),
        ((), "answer", "not a word within 0.5 s"),
    ],
    ids=["well", "401", "reset", "garbled", "silent"],
)
async def test_a_server_is_tried_as_it_is(
    replies: tuple[Any, ...], step: str, failure: str, tmp_path: Path
) -> None:
    async with Upstream(*replies) as upstream:
        config = settings(agents={"model": {"kind": "openai", "url": f"{upstream.url}/v1"}})
        kept: list[AgentReport] = []
        await examine(
            config,
            ["model"],
            lambda text: None,
            kept.append,
            within=0.5,
            make=lambda table, _: OpenAIAgent(table.url),  # type: ignore[union-attr]
        )
    [found] = kept
    assert found.connected is not None
    assert (found.step, failure in found.failure) == (step, True), found.failure
    if not step:
        assert found.answer is not None
        assert (len(found.answer.deltas), found.answer.text) == (4, "One two three four")


@pytest.mark.wire
def test_the_command_tells_steps_and_table_and_fails_with_the_first_sick_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = file(tmp_path, "http://127.0.0.1:1/v1")
    assert main(["doctor", config]) == FAILED
    told = capsys.readouterr()
    assert told.err == "", "nobody watches"
    assert "model: failed at connect: nobody listens there\nmodel: Start its server" in told.out
    assert "desk " in told.out, "the others are examined all the same"
    assert main(["doctor", config, "--agent", "desk", "--json"]) == OK
    [found] = json.loads(capsys.readouterr().out)
    assert (found["agent"], found["well"], found["replayed"]) == ("desk", True, False)


@pytest.mark.parametrize(
    ("error", "said", "remedy"),
    [
        (
            ConnectionRefusedError(111, "refused"),
            "nobody listens there",
            "Start its server, or correct `url`.",
        ),
        (socket.gaierror(-2, "unknown"), "there is no host of that name", "Correct `url`."),
        (OSError(113, "No route to host"), "it cannot be reached: No route to host", "Start its server"),
        (OSError("odd"), "it cannot be reached: odd", "Start its server"),
        (ssl.SSLError(1, "wrong version"), "it does not speak TLS", "begin `url` with http://."),
        (ConfigError("no such file"), "no such file", ""),
        (ZeroDivisionError("oops"), "ZeroDivisionError: oops", ""),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(error: Exception, said: str, remedy: str) -> None:
    table = settings(agents={"model": {"kind": "openai", "url": "http://127.0.0.1:1/v1"}}).agents["model"]
    found = diagnosis(error, table)
    assert (found[0], remedy in found[1]) == (said, True)


async def test_a_connection_that_never_comes_blames_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def reach(*_: object) -> Any:
        await asyncio.sleep(100)

    monkeypatch.setattr(doctor, "connect", reach)
    found: list[AgentReport] = []
    config = settings(agents={"model": {"kind": "openai", "url": "http://127.0.0.1:1/v1"}})
    await examine(config, ["model"], lambda text: None, found.append, within=5.0)
    assert (found[0].step, found[0].failure) == ("connect", "nothing within 5 s")
    assert found[0].remedy == "Start its server, or correct `url`."


@pytest.mark.wire
async def test_a_certificate_is_looked_at(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of the refusal
    async with Upstream(*[(answer("One", " two", " three", " four"),)] * 5, tls=serving) as upstream:
        model = {"kind": "openai", "url": f"{upstream.url}/v1"}
        config = settings(agents={"stranger": model, "known": model | {"ca_file": str(certificate)}})
        found: list[AgentReport] = []
        await examine(config, ["stranger", "known"], lambda text: None, found.append)
    stranger, known = found
    assert (stranger.step, stranger.secured) == ("TLS", None)
    assert stranger.failure.startswith("its certificate is not trusted: self")
    assert stranger.remedy == "Name its certificate, or that of who signed it, in `ca_file`."
    assert known.well, known.failure
    assert known.secured is not None


@pytest.mark.wire
def test_who_watches_sees_the_steps(tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as err:
        with contextlib.redirect_stderr(err):
            assert main(["doctor", file(tmp_path, "http://127.0.0.1:1/v1"), "--agent", "model"]) == FAILED
        told = os.read(screen, 4096).decode()
    os.close(screen)
    assert told.split("\r\n") == ["model: making it", "model: connecting to 127.0.0.1 port 1", ""]


@pytest.mark.wire
def test_what_was_found_before_ctrl_c_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def examine(_: Any, names: Any, tell: Any, keep: Any, **how: Any) -> None:
        keep(AgentReport(names[0], "openai", failure="nobody listens there", step="connect"))
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "examine", examine)
    config = file(tmp_path, "http://127.0.0.1:1/v1")
    assert main(["doctor", config]) == INTERRUPTED
    assert "model: failed at connect" in capsys.readouterr().out
    assert main(["doctor", config, "--json"]) == INTERRUPTED
    assert [found["agent"] for found in json.loads(capsys.readouterr().out)] == ["model"]


@pytest.mark.wire
@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--agent", "nobody"], FAILED, "there is no agent 'nobody'; known are model, desk"),
        (["--within", "0"], MISUSED, "must be a number of seconds"),
        (["--within", "soon"], MISUSED, "must be a number of seconds"),
    ],
)
def test_wrong_use_is_told(
    words: list[str], status: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended = main(["doctor", file(tmp_path, "http://127.0.0.1:1/v1"), *words])
    except SystemExit as exited:
        ended = int(str(exited.code))
    assert (ended, says in capsys.readouterr().err) == (status, True)
