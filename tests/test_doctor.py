"""The doctor with well and sick agents: every step is told, every failure is a sentence, nothing stays."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.agents.upstream import Act, Upstream
from tests.house import now, settings
from tests.script import Script, script
from voicegw.agents.openai import OpenAI
from voicegw.checkup import Checkup
from voicegw.cli import FAILED, MISUSED, OK, main
from voicegw.doctor import LONG, QUESTION, examine
from voicegw.errors import AgentRefused, AgentUnavailable, ConfigError
from voicegw.events import Doing


async def examined(agent: Script, within: float = 60.0) -> tuple[Checkup, list[str]]:
    told: list[str] = []
    [found] = await examine(
        settings(), ["desk"], told.append, within=within, make=lambda table, config: agent, now=now
    )
    return found, told


async def test_a_well_agent_is_asked_once_and_interrupted_once() -> None:
    agent = script(0.3, "One", 0.1, " two", 0.1, " three", 0.1, " four", 0.2, closing=0.05)
    found, told = await examined(agent)
    assert told == [
        "desk: making it",
        "desk: getting it ready",
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
    assert (agent.warmed, agent.gone) == (1, 1)


async def test_silent_work_is_seen() -> None:
    found, _ = await examined(script(0.2, Doing("searching"), 3.0, "One two three four five."))
    assert found.answer is not None
    assert found.answer.work == [(0.2, "searching")]


class Unready(Script):
    async def warm(self, call: str | None = None) -> None:
        raise AgentRefused("http://127.0.0.1/v1 answered 401", "bad key")


@pytest.mark.parametrize(
    ("agent", "step", "failure"),
    [
        (Unready(), "ready", "http://127.0.0.1/v1 answered 401: bad key"),
        (script(AgentUnavailable("nobody there")), "answer", "nobody there"),
        (script(), "answer", "it said nothing"),
        (script("  ", "\n"), "answer", "it said nothing"),
        (script(0.1, "One", 100), "answer", "nothing within 5 s"),
        (script(ZeroDivisionError("oops")), "answer", "ZeroDivisionError: oops"),
    ],
)
async def test_what_fails_is_named_and_the_agent_let_go(agent: Script, step: str, failure: str) -> None:
    found, _ = await examined(agent, within=5.0)
    assert (found.step, found.failure, found.well) == (step, failure, False)
    assert agent.gone == 1


async def test_an_agent_that_cannot_be_made_is_told_of() -> None:
    def make(table: Any, config: Any) -> Script:
        raise ConfigError("there is no such file")

    [found] = await examine(settings(), ["desk"], lambda text: None, make=make)
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
        ((), "answer", "nothing within 0.5 s"),
    ],
    ids=["well", "401", "reset", "garbled", "silent"],
)
async def test_a_server_is_tried_as_it_is(
    replies: tuple[Any, ...], step: str, failure: str, tmp_path: Path
) -> None:
    async with Upstream(*replies) as upstream:
        config = settings(agents={"model": {"kind": "openai", "url": f"{upstream.url}/v1"}})
        [found] = await examine(
            config,
            ["model"],
            lambda text: None,
            within=0.5,
            make=lambda table, _: OpenAI(table.url),  # type: ignore[union-attr]
        )
    assert found.connected is not None
    assert (found.step, failure in found.failure) == (step, True), found.failure
    if not step:
        assert found.answer is not None
        assert found.answer.replayed


@pytest.mark.wire
def test_the_command_tells_steps_and_table_and_fails_with_the_first_sick_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = file(tmp_path, "http://127.0.0.1:1/v1")
    assert main(["doctor", config]) == FAILED
    told = capsys.readouterr()
    assert "model: connecting to 127.0.0.1 port 1" in told.err
    assert "model: failed at connect: " in told.out
    assert "desk " in told.out, "the others are examined all the same"
    assert main(["doctor", config, "--agent", "desk", "--json"]) == OK
    [found] = json.loads(capsys.readouterr().out)
    assert (found["agent"], found["well"], found["replayed"]) == ("desk", True, False)


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
