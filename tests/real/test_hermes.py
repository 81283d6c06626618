"""A real Hermes behind the gateway, by runs and by chats: over HTTP and in phone calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from tests.e2e.server import HttpClient, Server, wait_until
from tests.e2e.test_phone import connect_call, receive_frame, response_required, send_frame
from tests.real.doctor import run_doctor
from tests.real.model import FILLER, FakeModel, ModelRequest
from tests.real.servers import AgentServer, missing_reason, serve_hermes
from tests.real.setup import HERMES
from voicegw.turns.phrases import PHRASES

pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(bool(missing_reason(HERMES)), reason=missing_reason(HERMES)),
]

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
def model() -> Iterator[FakeModel]:
    with FakeModel() as model:
        yield model


@pytest.fixture(scope="module")
def hermes_server(model: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    with serve_hermes(tmp_path_factory.mktemp("hermes"), model.url) as agent:
        yield agent


@pytest.fixture(scope="module")
def gateway(
    hermes_server: AgentServer, model: FakeModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The gateway, after it warmed up Hermes."""
    environ, config = {"HERMES": hermes_server.key, "RETELL": RETELL}, CONFIG.format(url=hermes_server.url)
    with Server(tmp_path_factory.mktemp("gateway"), config, environ=environ) as server:
        wait_until(lambda: model.requests and model.requests[0].left_at, timeout=60)
        yield server
    assert not [word for word in (hermes_server.key, "Traceback") if word in server.log], server.log


def dialog_of(request: ModelRequest) -> list[tuple[str, str]]:
    """Return the messages of a request without the instructions."""
    return [(m["role"], str(m["content"])) for m in request.messages if m["role"] != "system"]


def ask(gateway: Server, mode: str, *texts: str, **headers: str) -> str:
    """Ask the last of the texts after the history before it. Return the answer of the gateway."""
    roles = ("user", "assistant")
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    messages += [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    with HttpClient(gateway) as caller:
        caller.post_chat({"model": mode, "messages": messages}, **headers)
        reply = caller.read_response()
    assert reply.status == 200
    return reply.text


@MODES
def test_text_streams_and_the_history_is_sent(gateway: Server, model: FakeModel, mode: str) -> None:
    history = ("I am Ada.", "Hello Ada.")
    assert ask(gateway, mode, *history, "Who am I? [words=3]").split() == ["word0", "word1", "word2"]
    system = str(model.requests[-1].messages[0]["content"])
    assert "Be brief." in system
    assert dialog_of(model.requests[-1]) == [
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
    gateway: Server, model: FakeModel, mode: str
) -> None:
    folders = []
    for call in ("first", "second", "first"):
        ask(gateway, mode, f"Hello? {mode} [run pwd; cd /] [words=1]", x_voicegw_call=f"{mode}-{call}")
        folders.append(str(model.requests[-1].messages[-1]["content"]))
    assert folders[0] == folders[1]
    assert (folders[2] == folders[0]) is (mode == "runs"), (
        "a run begins in the home folder, a chat continues in its folder"
    )


@MODES
def test_dangerous_actions_are_never_approved(gateway: Server, tmp_path: Path, mode: str) -> None:
    note = tmp_path / "note"
    note.write_text("Keep me.", "utf-8")
    assert ask(gateway, mode, f"Delete [run rm -rf {tmp_path}] [words=2]").split()[-2:] == ["word0", "word1"]
    assert note.read_text("utf-8") == "Keep me."


@MODES
def test_a_caller_who_hangs_up_stops_hermes_and_its_model(
    gateway: Server, model: FakeModel, mode: str
) -> None:
    with HttpClient(gateway) as caller:
        messages = [{"role": "user", "content": f"Talk, {mode} [every=0.05 words=400]"}]
        caller.post_chat({"model": mode, "messages": messages})
        caller.read_until(b"word1")
        request = model.requests[-1]
    assert request.closed.wait(5)
    assert request.left_at is not None


@MODES
def test_a_failing_model_becomes_an_apology(gateway: Server, mode: str) -> None:
    failed = (mode, "AgentError")
    assert PHRASES["en"].failure in ask(gateway, mode, f"Fail, {mode} [fail 400]")
    wait_until(
        lambda: [line for line in gateway.log_records("turn") if (line["agent"], line["error"]) == failed]
    )


def read_response(phone: ClientConnection, number: int) -> str:
    """Return the text of one response to its end; skip frames of others."""
    words, is_complete = "", False
    while not is_complete:
        if (frame := receive_frame(phone)).get("response_id") == number:
            words, is_complete = words + frame["content"], frame["content_complete"]
    return words


def test_an_interrupted_call_continues_from_the_heard_part(gateway: Server, model: FakeModel) -> None:
    greeting, long_request = "Good morning.", "Talk [every=0.05 words=400]"
    with connect_call(gateway, f"/retell/{RETELL}/call_1") as phone:
        assert receive_frame(phone)["response_type"] == "config"
        assert receive_frame(phone)["content"] == greeting
        send_frame(phone, response_required(1, greeting, long_request))
        assert receive_frame(phone)["content"].split()[0] == "word0"
        request = model.requests[-1]
        send_frame(phone, response_required(2, greeting, long_request, "word0 word1", "Stop [words=2]"))
        assert read_response(phone, 2).split() == ["word0", "word1"]
    assert request.closed.wait(5)
    assert request.left_at is not None
    assert dialog_of(model.requests[-1]) == [
        ("assistant", greeting),
        ("user", long_request),
        ("assistant", "word0 word1"),
        ("user", "Stop [words=2]"),
    ]


def logged_call_turns(gateway: Server) -> list[dict[str, Any]]:
    """Return the logged turns of calls so far."""
    return [line for line in gateway.log_records("turn") if line["key"] == "@retell"]


def test_interrupting_a_tool_does_not_wait_for_its_end(gateway: Server, model: FakeModel) -> None:
    tool_request, stop, before = (
        "Work [run sleep 60]",
        "Never mind [run ] [words=1]",
        len(logged_call_turns(gateway)),
    )
    with connect_call(gateway, f"/retell/{RETELL}/call_2") as phone:
        for _ in range(2):
            receive_frame(phone)
        send_frame(phone, response_required(1, "Good morning.", tool_request))
        while "check" not in receive_frame(phone)["content"]:
            pass
        send_frame(phone, response_required(2, "Good morning.", tool_request, FILLER, stop))
        assert read_response(phone, 2).split() == ["word0"]
    wait_until(lambda: len(logged_call_turns(gateway)) == before + 2)
    stopped, answered = sorted(logged_call_turns(gateway)[before:], key=lambda line: str(line["turn"]))
    assert (stopped["outcome"], answered["outcome"]) == ("cancelled", "answered")
    assert stopped["stop_ms"] < 1000, "stopping must not wait for the tool"
    assert dialog_of(model.requests[-1])[-1][1].endswith(stop)


def test_the_doctor_finds_no_fault_or_advises_on_a_wrong_key(
    hermes_server: AgentServer, tmp_path: Path
) -> None:
    table = f'[agents.hermes]\nkind = "hermes"\nurl = "{hermes_server.url}"\nkey_env = "HERMES"\n'
    status, report = run_doctor(tmp_path, table, HERMES=hermes_server.key)
    assert (status, report["failure"]) == (0, None)
    assert (report["replayed"], report["deltas"]) == (False, 20)
    status, report = run_doctor(tmp_path, table, HERMES="wrong-0123456789")
    assert (status, report["failed_at"]) == (1, "ready")
    assert report["failure"] == f"{hermes_server.url}/v1/models answered 401: Invalid API key"
    assert report["advice"] == ["It does not take the key in HERMES: compare it with the one that it knows."]
