"""The doctor with working and failing agents: it announces steps, explains failures and closes agents."""

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
from tests.agents.upstream import Action, Upstream
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import loop_time, make_config
from voicegw import cli
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.cli import FAILED, INTERRUPTED, MISUSED, OK, main
from voicegw.commands.doctor import examine as doctor
from voicegw.commands.doctor.examine import LONG_QUESTION, QUESTION, diagnose, examine
from voicegw.commands.doctor.report import AgentReport
from voicegw.errors import AgentRejected, AgentUnavailable, ConfigError
from voicegw.events import Activity, Event, Turn

certificate = test_http.certificate


async def run_examine(agent: FakeAgent, step_timeout: float = 60.0) -> tuple[AgentReport, list[str]]:
    """Examine one agent; return its report and the steps that the doctor announced."""
    steps: list[str] = []
    reports: list[AgentReport] = []
    await examine(
        make_config(),
        ["desk"],
        steps.append,
        reports.append,
        step_timeout=step_timeout,
        factory=lambda settings, config: agent,
        now=loop_time,
    )
    return reports[0], steps


async def test_a_working_agent_answers_once_and_is_interrupted_once() -> None:
    agent = fake_agent(0.3, "One", 0.1, " two", 0.1, " three", 0.1, " four", 0.2, closing=0.05)
    report, steps = await run_examine(agent)
    assert steps == [
        "desk: creating the agent",
        "desk: preparing it",
        "desk: opening a call",
        "desk: asking it to count to ten",
        "desk: interrupting it",
    ]
    answer, interrupted = report.answer, report.interrupted_answer
    assert answer is not None
    assert interrupted is not None
    assert [round(at, 9) for at in answer.delta_times] == [0.3, 0.4, 0.5, 0.6]
    assert round(answer.total_seconds or 0.0, 9) == 0.85
    assert (len(interrupted.delta_times), interrupted.total_seconds) == (1, None)
    assert round(interrupted.stop_seconds or 0.0, 9) == 0.05
    assert report.is_well
    assert [turn.said for turn in agent.turns] == [QUESTION, LONG_QUESTION]
    assert agent.ended_calls == [turn.call for turn in agent.turns], "the agent is told that calls end"
    assert (agent.warm_count, agent.aclose_count) == (2, 1), "once at start, and once as a call opens"


async def test_activities_are_recorded_with_their_time() -> None:
    report, _ = await run_examine(fake_agent(0.2, Activity("searching"), 3.0, "One two three four five."))
    assert report.answer is not None
    assert report.answer.activities == [(0.2, "searching")]


class FailsAtStart(FakeAgent):
    async def warm(self, call: str | None = None) -> None:
        raise AgentRejected("http://127.0.0.1/v1 answered 401", "bad key")


class FailsAtOpen(FakeAgent):
    async def warm(self, call: str | None = None) -> None:
        await asyncio.sleep(0.02)
        if call is not None:
            raise AgentRejected("http://127.0.0.1/profiles answered 404", "no such profile")


class StopsSlowly(FakeAgent):
    """Takes 100 s to stop when it is interrupted."""

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        self.turns.append(turn)
        try:
            yield "One"
        finally:
            await asyncio.sleep(100 if turn.said == LONG_QUESTION else 0)


class PreparesSlowly(FakeAgent):
    async def warm(self, call: str | None = None) -> None:
        await asyncio.sleep(3 if call is None else 0.4)


async def test_preparation_at_start_and_at_a_call_are_measured_apart() -> None:
    report, _ = await run_examine(PreparesSlowly(0.2, "One two three four."))
    assert report.answer is not None
    assert (report.ready_seconds, round(report.open_seconds or 0, 9)) == (3.0, 0.4)
    assert round(report.answer.first_token or 0, 9) == 0.2


@pytest.mark.parametrize(
    ("agent", "step", "failure"),
    [
        (FailsAtStart(), "ready", "http://127.0.0.1/v1 answered 401: bad key"),
        (FailsAtOpen(), "open", "http://127.0.0.1/profiles answered 404: no such profile"),
        (fake_agent(AgentUnavailable("no such server")), "answer", "no such server"),
        (fake_agent(), "answer", "its answer is empty"),
        (fake_agent("  ", "\n"), "answer", "its answer is empty"),
        (fake_agent(100, "One"), "answer", "no word of an answer within 5 s"),
        (fake_agent(0.1, "One", 100), "answer", "no end of its answer within 5 s"),
        (StopsSlowly(), "stop", "it did not stop within 5 s"),
        (fake_agent(ZeroDivisionError("oops")), "answer", "ZeroDivisionError: oops"),
    ],
)
async def test_a_failure_names_its_step_and_the_agent_is_closed(
    agent: FakeAgent, step: str, failure: str
) -> None:
    report, _ = await run_examine(agent, step_timeout=5.0)
    assert (report.failed_step, report.failure, report.is_well) == (step, failure, False)
    assert agent.aclose_count == 1
    assert agent.ended_calls == [turn.call for turn in agent.turns] or step == "open"


async def test_an_agent_that_cannot_be_made_fails_at_make() -> None:
    def factory(settings: Any, config: Any) -> FakeAgent:
        raise ConfigError("there is no such file")

    reports: list[AgentReport] = []
    await examine(make_config(), ["desk"], lambda text: None, reports.append, factory=factory)
    [report] = reports
    assert (report.failed_step, report.failure) == ("make", "there is no such file")


async def test_an_agent_that_never_closes_does_not_block_the_doctor() -> None:
    class NeverCloses(FakeAgent):
        async def aclose(self) -> None:
            await asyncio.sleep(1000)

    start = loop_time()
    report, _ = await run_examine(NeverCloses("One"))
    assert report.is_well
    assert loop_time() - start < 10


def write_config(folder: Path, url: str) -> str:
    path = folder / "voicegw.toml"
    path.write_text(
        f'[agents.model]\nkind = "openai"\nurl = "{url}"\n[agents.desk]\nkind = "scripted"\n', "utf-8"
    )
    return str(path)


def http_answer(*words: str) -> bytes:
    """Return an HTTP response with a streamed chat completion of these words."""
    events = [{"choices": [{"delta": {"content": word}}]} for word in words]
    events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    body = (
        b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    )
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


UNAUTHORIZED = b'HTTP/1.1 401 Unauthorized\r\ncontent-length: 32\r\n\r\n{"error":{"message":"wrong key"}}'


@pytest.mark.wire
@pytest.mark.parametrize(
    ("replies", "step", "failure"),
    [
        (((0.12, http_answer("One", " two", " three", " four")),) * 3, "", ""),
        (((UNAUTHORIZED,),) * 3, "answer", "answered 401"),
        (((Action.RESET,),) * 3, "answer", "connection"),
        (
            ((b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhuh", Action.CLOSE),) * 3,
            "answer",
            "no JSON where an answer should be",
        ),
        ((), "answer", "no word of an answer within 0.5 s"),
    ],
    ids=["well", "401", "reset", "garbled", "silent"],
)
async def test_an_agent_with_a_server_is_examined_over_its_connection(
    replies: tuple[Any, ...], step: str, failure: str, tmp_path: Path
) -> None:
    async with Upstream(*replies) as upstream:
        config = make_config(agents={"model": {"kind": "openai", "url": f"{upstream.url}/v1"}})
        reports: list[AgentReport] = []
        await examine(
            config,
            ["model"],
            lambda text: None,
            reports.append,
            step_timeout=0.5,
            factory=lambda settings, _: OpenAIAgent(settings.url),  # type: ignore[union-attr]
        )
    [report] = reports
    assert report.connect_seconds is not None
    assert (report.failed_step, failure in report.failure) == (step, True), report.failure
    if not step:
        assert report.answer is not None
        # The decoder joins the texts of one read.
        assert (len(report.answer.delta_times), report.answer.text) == (1, "One two three four")


@pytest.mark.wire
def test_the_command_prints_the_table_and_fails_if_an_agent_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1/v1")
    assert main(["doctor", config]) == FAILED
    printed = capsys.readouterr()
    assert printed.err == "", "steps are shown on a terminal only"
    assert "model: failed at connect: no server listens there\nmodel: Start its server" in printed.out
    assert "desk " in printed.out, "the other agents are examined, too"
    assert main(["doctor", config, "--agent", "desk", "--json"]) == OK
    [report] = json.loads(capsys.readouterr().out)
    assert (report["agent"], report["well"], report["replayed"]) == ("desk", True, False)


@pytest.mark.parametrize(
    ("error", "failure", "hint"),
    [
        (
            ConnectionRefusedError(111, "refused"),
            "no server listens there",
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
def test_errors_are_explained_in_plain_words(error: Exception, failure: str, hint: str) -> None:
    config = make_config(agents={"model": {"kind": "openai", "url": "http://127.0.0.1:1/v1"}})
    diagnosis = diagnose(error, config.agents["model"])
    assert (diagnosis[0], hint in diagnosis[1]) == (failure, True)


async def test_a_connection_timeout_points_to_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object) -> Any:
        await asyncio.sleep(100)

    monkeypatch.setattr(doctor, "connect", connect)
    reports: list[AgentReport] = []
    config = make_config(agents={"model": {"kind": "openai", "url": "http://127.0.0.1:1/v1"}})
    await examine(config, ["model"], lambda text: None, reports.append, step_timeout=5.0)
    assert (reports[0].failed_step, reports[0].failure) == ("connect", "no result within 5 s")
    assert reports[0].hint == "Start its server, or correct `url`."


@pytest.mark.wire
async def test_the_certificate_is_checked(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of the refusal
    async with Upstream(*[(http_answer("One", " two", " three", " four"),)] * 5, tls=context) as upstream:
        model = {"kind": "openai", "url": f"{upstream.url}/v1"}
        config = make_config(agents={"untrusted": model, "trusted": model | {"ca_file": str(certificate)}})
        reports: list[AgentReport] = []
        await examine(config, ["untrusted", "trusted"], lambda text: None, reports.append)
    untrusted, trusted = reports
    assert (untrusted.failed_step, untrusted.tls_seconds) == ("TLS", None)
    assert untrusted.failure.startswith("its certificate is not trusted: self")
    assert untrusted.hint == "Name its certificate, or that of its issuer, in `ca_file`."
    assert trusted.is_well, trusted.failure
    assert trusted.tls_seconds is not None


@pytest.mark.wire
def test_a_terminal_shows_the_steps(tmp_path: Path) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:1/v1")
    screen, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as err:
        with contextlib.redirect_stderr(err):
            assert main(["doctor", config, "--agent", "model"]) == FAILED
        steps = os.read(screen, 4096).decode()
    os.close(screen)
    assert steps.split("\r\n") == ["model: creating the agent", "model: connecting to 127.0.0.1 port 1", ""]


@pytest.mark.wire
def test_ctrl_c_still_prints_the_complete_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def examine(_: Any, names: Any, on_step: Any, on_report: Any, **options: Any) -> None:
        on_report(AgentReport(names[0], "openai", failure="no server listens there", failed_step="connect"))
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "examine", examine)
    config = write_config(tmp_path, "http://127.0.0.1:1/v1")
    assert main(["doctor", config]) == INTERRUPTED
    assert "model: failed at connect" in capsys.readouterr().out
    assert main(["doctor", config, "--json"]) == INTERRUPTED
    assert [report["agent"] for report in json.loads(capsys.readouterr().out)] == ["model"]


@pytest.mark.wire
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--agent", "nobody"], FAILED, "there is no agent 'nobody'; known are model, desk"),
        (["--within", "0"], MISUSED, "must be a number of seconds"),
        (["--within", "soon"], MISUSED, "must be a number of seconds"),
    ],
)
def test_wrong_use_is_reported(
    arguments: list[str], status: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        exit_status = main(["doctor", write_config(tmp_path, "http://127.0.0.1:1/v1"), *arguments])
    except SystemExit as exit_request:
        exit_status = int(str(exit_request.code))
    assert (exit_status, message in capsys.readouterr().err) == (status, True)
