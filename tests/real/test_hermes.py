"""A real Hermes behind the gateway, by runs and by chats: asked by HTTP, and called on the phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from tests.e2e.server import Caller, Server, eventually
from tests.e2e.test_phone import dial, hears, required, says
from tests.real.examined import examined
from tests.real.model import FILLER, Asked, Model
from tests.real.servers import Server as Agent
from tests.real.servers import hermes, missing
from tests.real.setup import HERMES
from voicegw.turns.phrases import PHRASES

pytestmark = [pytest.mark.wire, pytest.mark.skipif(bool(missing(HERMES)), reason=missing(HERMES))]

RETELL = "retell-s3cret-0123456789"
CONFIG = """
[agents.runs]
kind = "hermes"
url = "{url}"
key_env = "HERMES"
ack.after = "off"

[agents.chat]
kind = "hermes"
url = "{url}/v1"
key_env = "HERMES"
mode = "chat"
warm = false
ack.after = "off"

[retell]
secret_env = "RETELL"
greeting = "Good morning."
"""
MODES = pytest.mark.parametrize("mode", ["runs", "chat"])


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model() as model:
        yield model


@pytest.fixture(scope="module")
def messenger(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with hermes(tmp_path_factory.mktemp("hermes"), model.url) as agent:
        yield agent


@pytest.fixture(scope="module")
def gateway(messenger: Agent, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway, once it has warmed Hermes up."""
    environ, config = {"HERMES": messenger.key, "RETELL": RETELL}, CONFIG.format(url=messenger.url)
    with Server(tmp_path_factory.mktemp("gateway"), config, environ=environ) as server:
        eventually(lambda: model.asked and model.asked[0].left, within=60)
        yield server
    assert not [word for word in (messenger.key, "Traceback") if word in server.log], server.log


def told(asked: Asked) -> list[tuple[str, str]]:
    """What the model was told, but for its instructions."""
    return [(m["role"], str(m["content"])) for m in asked.messages if m["role"] != "system"]


def ask(gateway: Server, mode: str, *said: str, **headers: str) -> str:
    """One question with what was said before it, in turns; what the gateway answers."""
    roles = ("user", "assistant")
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    messages += [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]
    with Caller(gateway) as caller:
        caller.ask({"model": mode, "messages": messages}, **headers)
        reply = caller.reply()
    assert reply.status == 200
    return reply.text


@MODES
def test_text_streams_and_the_history_is_sent(gateway: Server, model: Model, mode: str) -> None:
    history = ("I am Ada.", "Hello Ada.")
    assert ask(gateway, mode, *history, "Who am I? [words=3]").split() == ["word0", "word1", "word2"]
    system = str(model.asked[-1].messages[0]["content"])
    assert "Be brief." in system
    assert told(model.asked[-1]) == [
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
        ("user", "Who am I? [words=3]"),
    ]


@MODES
def test_a_tool_runs_between_texts(gateway: Server, mode: str) -> None:
    assert ask(gateway, mode, f"Look, {mode} [run echo found] [words=2]").split() == [
        *FILLER.split(),
        "word0",
        "word1",
    ]


@MODES
def test_callers_with_the_same_words_do_not_share_a_folder(
    gateway: Server, model: Model, mode: str
) -> None:
    places = []
    for call in ("first", "second", "first"):
        ask(gateway, mode, f"Hello? {mode} [run pwd; cd /] [words=1]", x_voicegw_call=f"{mode}-{call}")
        places.append(str(model.asked[-1].messages[-1]["content"]))
    assert places[0] == places[1]
    assert (places[2] == places[0]) is (mode == "runs"), "a run begins at home, a chat goes on where it was"


@MODES
def test_dangerous_actions_are_never_approved(gateway: Server, tmp_path: Path, mode: str) -> None:
    note = tmp_path / "note"
    note.write_text("Keep me.", "utf-8")
    assert ask(gateway, mode, f"Delete [run rm -rf {tmp_path}] [words=2]").split()[-2:] == ["word0", "word1"]
    assert note.read_text("utf-8") == "Keep me."


@MODES
def test_a_caller_who_hangs_up_stops_hermes_and_its_model(gateway: Server, model: Model, mode: str) -> None:
    with Caller(gateway) as caller:
        talk = [{"role": "user", "content": f"Talk, {mode} [every=0.05 words=400]"}]
        caller.ask({"model": mode, "messages": talk})
        caller.until(b"word1")
        asked = model.asked[-1]
    assert asked.over.wait(5)
    assert asked.left is not None


@MODES
def test_a_failing_model_becomes_an_apology(gateway: Server, mode: str) -> None:
    failed = (mode, "AgentError")
    assert PHRASES["en"].failure in ask(gateway, mode, f"Fail, {mode} [fail 400]")
    eventually(lambda: [line for line in gateway.lines("turn") if (line["agent"], line["error"]) == failed])


def answer(phone: ClientConnection, number: int) -> str:
    """The words of one response to its end; those of others are passed over."""
    words, over = "", False
    while not over:
        if (frame := hears(phone)).get("response_id") == number:
            words, over = words + frame["content"], frame["content_complete"]
    return words


def test_an_interrupted_call_continues_from_the_heard_part(gateway: Server, model: Model) -> None:
    greeting, talk = "Good morning.", "Talk [every=0.05 words=400]"
    with dial(gateway, f"/retell/{RETELL}/call_1") as phone:
        assert hears(phone)["response_type"] == "config"
        assert hears(phone)["content"] == greeting
        says(phone, required(1, greeting, talk))
        assert hears(phone)["content"].split()[0] == "word0"
        asked = model.asked[-1]
        says(phone, required(2, greeting, talk, "word0 word1", "Stop [words=2]"))
        assert answer(phone, 2).split() == ["word0", "word1"]
    assert asked.over.wait(5)
    assert asked.left is not None
    assert told(model.asked[-1]) == [
        ("assistant", greeting),
        ("user", talk),
        ("assistant", "word0 word1"),
        ("user", "Stop [words=2]"),
    ]


def called(gateway: Server) -> list[dict[str, Any]]:
    """The turns of calls so far."""
    return [line for line in gateway.lines("turn") if line["key"] == "@retell"]


def test_interrupting_a_tool_does_not_wait_for_its_end(gateway: Server, model: Model) -> None:
    work, stop, before = "Work [run sleep 60]", "Never mind [run ] [words=1]", len(called(gateway))
    with dial(gateway, f"/retell/{RETELL}/call_2") as phone:
        for _ in range(2):
            hears(phone)
        says(phone, required(1, "Good morning.", work))
        while "check" not in hears(phone)["content"]:
            pass
        says(phone, required(2, "Good morning.", work, FILLER, stop))
        assert answer(phone, 2).split() == ["word0"]
    eventually(lambda: len(called(gateway)) == before + 2)
    stopped, answered = sorted(called(gateway)[before:], key=lambda line: str(line["turn"]))
    assert (stopped["outcome"], answered["outcome"]) == ("cancelled", "answered")
    assert stopped["stop_ms"] < 1000, "a tool dies slower than that"
    assert told(model.asked[-1])[-1][1].endswith(stop)


def test_the_doctor_finds_no_fault_or_advises_on_a_wrong_key(
    messenger: Agent, tmp_path: Path
) -> None:
    table = f'[agents.hermes]\nkind = "hermes"\nurl = "{messenger.url}"\nkey_env = "HERMES"\n'
    status, found = examined(tmp_path, table, HERMES=messenger.key)
    assert (status, found["failure"]) == (0, None)
    assert (found["replayed"], found["deltas"]) == (False, 20)
    status, found = examined(tmp_path, table, HERMES="wrong-0123456789")
    assert (status, found["failed_at"]) == (1, "ready")
    assert found["failure"] == f"{messenger.url}/v1/models answered 401: Invalid API key"
    assert found["advice"] == ["It does not take the key in HERMES: compare it with the one that it knows."]
