"""A real OpenHands behind the gateway, with a lean agent and its agent profile: over HTTP and in calls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.sync.client import ClientConnection

from tests.e2e.server import HttpClient, Server, wait_until
from tests.e2e.test_phone import connect_call, receive_frame, response_required, send_frame
from tests.real.doctor import run_doctor
from tests.real.model import FILLER, FakeModel, ModelRequest
from tests.real.servers import AgentServer, missing_reason, serve_openhands
from tests.real.setup import OPENHANDS
from voicegw.turns.phrases import PHRASES

pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(bool(missing_reason(OPENHANDS)), reason=missing_reason(OPENHANDS)),
]

RETELL = "retell-s3cret-0123456789"
CONFIG = """
[agents.lean]
kind = "openhands"
url = "{url}"
key_env = "OPENHANDS"
tools = ["terminal"]
ack.after = "off"

[agents.denied]
kind = "openhands"
url = "{url}"
key_env = "OPENHANDS"
profile = "voice"
tools = ["terminal"]
confirm = "deny"
ack.after = "off"

[agents.full]
kind = "openhands"
url = "{url}"
key_env = "OPENHANDS"
ack.after = "off"

[retell]
secret_env = "RETELL"
greeting = "Good morning."
"""
AGENTS = pytest.mark.parametrize("name", ["lean", "full"])
GREETING = "Good morning."


@pytest.fixture(scope="module")
def model() -> Iterator[FakeModel]:
    with FakeModel() as model:
        yield model


def http_client(openhands_server: AgentServer) -> httpx.Client:
    headers = {"X-Session-API-Key": openhands_server.key}
    return httpx.Client(base_url=openhands_server.url, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def openhands_server(model: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    """An OpenHands server with one LLM profile, whose settings do not stream."""
    with (
        serve_openhands(tmp_path_factory.mktemp("openhands"), model.url) as agent,
        http_client(agent) as client,
    ):
        llm = {"model": "openai/fake", "base_url": model.url, "api_key": "sk-of-the-model"}
        saved = client.post("/api/profiles/voice", json={"llm": llm, "include_secrets": True})
        assert saved.status_code == 201, saved.text
        yield agent


@pytest.fixture(scope="module")
def gateway(openhands_server: AgentServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ, config = (
        {"OPENHANDS": openhands_server.key, "RETELL": RETELL},
        CONFIG.format(url=openhands_server.url),
    )
    with Server(tmp_path_factory.mktemp("gateway"), config, environ=environ) as server:
        yield server
    secrets = (openhands_server.key, "sk-of-the-model", "gAAAA")
    assert not [word for word in (*secrets, "Traceback") if word in server.log], server.log


def chat_body(name: str, *texts: str, system: str = "Be brief.") -> dict[str, Any]:
    """Return a chat body in which the caller and the agent alternate."""
    dialog = [
        {"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(texts)
    ]
    return {"model": name, "messages": [{"role": "system", "content": system}, *dialog]}


def ask(gateway: Server, name: str, *texts: str, **headers: str) -> str:
    """Return the answer of the gateway to the last of the texts."""
    with HttpClient(gateway) as caller:
        caller.post_chat(chat_body(name, *texts), **headers)
        reply = caller.read_response()
    assert reply.status == 200
    return reply.text


def dialog_of(request: ModelRequest) -> list[tuple[str, list[str]]]:
    """Return the messages of a request without the instructions."""
    return [(m["role"], content_texts(m["content"])) for m in request.messages if m["role"] != "system"]


def content_texts(content: Any) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content]


def count_conversations(openhands_server: AgentServer) -> int:
    with http_client(openhands_server) as client:
        return int(client.get("/api/conversations/count").json())


@AGENTS
def test_text_streams_and_a_conversation_without_a_call_is_deleted(
    gateway: Server, openhands_server: AgentServer, model: FakeModel, name: str
) -> None:
    before = count_conversations(openhands_server)
    assert ask(gateway, name, "I am Ada.", "Hello Ada.", "Who am I? [words=3]").split() == [
        "word0",
        "word1",
        "word2",
    ]
    request = model.requests[-1]
    assert request.body["stream"] is True
    assert "Be brief." in str(request.messages[0]["content"])
    assert dialog_of(request)[0][1][0].endswith(
        "Caller: I am Ada.\nYou: Hello Ada.\n)\n\nWho am I? [words=3]"
    )
    wait_until(lambda: count_conversations(openhands_server) == before)


@AGENTS
def test_a_call_keeps_its_conversation_over_turns(gateway: Server, model: FakeModel, name: str) -> None:
    call = f"{name}-{uuid4()}"
    first = "Hello [words=2]"
    assert ask(gateway, name, first, x_voicegw_call=call).split() == ["word0", "word1"]
    assert ask(gateway, name, first, "word0 word1", "More [words=1]", x_voicegw_call=call) == "word0"
    assert dialog_of(model.requests[-1]) == [
        ("user", [first]),
        ("assistant", ["word0 word1 "]),
        ("user", ["More [words=1]"]),
    ]


@AGENTS
def test_a_tool_runs_between_texts(gateway: Server, name: str) -> None:
    assert ask(gateway, name, "Look [run echo found] [words=2]").split() == [
        *FILLER.split(),
        "word0",
        "word1",
    ]


def test_an_answer_in_the_finish_tool_is_spoken(gateway: Server) -> None:
    assert ask(gateway, "full", "Are we done? [finish We are done.]") == "We are done."


def test_the_first_token_comes_long_before_that_of_the_openai_interface(
    gateway: Server, openhands_server: AgentServer
) -> None:
    long_request, call = "Talk [words=60]", str(uuid4())
    ask(gateway, "lean", long_request, x_voicegw_call=call)
    gateway_times, openai_times = [], []
    for place in range(3):
        with HttpClient(gateway) as caller:
            began = time.monotonic()
            caller.post_chat(
                chat_body("lean", *[long_request, "Fine."] * (place + 1), long_request), x_voicegw_call=call
            )
            caller.read_until(b"word0")
            gateway_times.append(time.monotonic() - began)
            caller.read_until(b"[DONE]")
        with http_client(openhands_server) as client:
            began = time.monotonic()
            request = chat_body("openhands_voice", long_request) | {"stream": True}
            with client.stream("POST", "/v1/chat/completions", json=request) as answer:
                next(line for line in answer.iter_lines() if "word0" in line)
            openai_times.append(time.monotonic() - began)
    print(f"first word: {sorted(gateway_times)[1]:.3f} s here, {sorted(openai_times)[1]:.3f} s by /v1")
    assert sorted(gateway_times)[1] * 4 < sorted(openai_times)[1]


@AGENTS
def test_a_caller_who_hangs_up_stops_the_model(gateway: Server, model: FakeModel, name: str) -> None:
    before = len(cancelled_turns(gateway, name))
    with HttpClient(gateway) as caller:
        body = chat_body(name, f"Talk, {name} [every=0.05 words=400]")
        caller.post_chat(body, x_voicegw_call=str(uuid4()))
        caller.read_until(b"word1")
        request = model.requests[-1]
    assert request.closed.wait(5)
    assert request.left_at is not None
    wait_until(lambda: len(cancelled_turns(gateway, name)) > before)
    took = cancelled_turns(gateway, name)[-1]["stop_ms"]
    print(f"stopped after {took:.0f} ms ({name})")
    assert took < 1000


def cancelled_turns(gateway: Server, name: str) -> list[dict[str, Any]]:
    """Return the cancelled turns of an agent so far."""
    return [x for x in gateway.log_records("turn") if (x["outcome"], x["agent"]) == ("cancelled", name)]


@AGENTS
def test_a_failing_model_becomes_an_apology(gateway: Server, name: str) -> None:
    assert PHRASES["en"].failure in ask(gateway, name, f"Fail, {name} [fail 400]")
    failed = (name, "AgentError")
    wait_until(
        lambda: [line for line in gateway.log_records("turn") if (line["agent"], line["error"]) == failed]
    )


def test_a_profile_is_a_model_of_the_gateway(gateway: Server) -> None:
    assert ask(gateway, "openhands_voice", "Hello [words=1]") == "word0"


def test_a_client_of_the_openai_interface_continues_by_the_same_header(
    gateway: Server, model: FakeModel
) -> None:
    """Such a client sends only new messages, because the server keeps the rest."""
    header = {"x_openhands_serverconversation_id": str(uuid4())}
    for said in ("I am Ada. [words=2]", "Who am I? [words=1]"):
        with HttpClient(gateway) as caller:
            caller.post_chat(chat_body("openhands_voice", said), **header)
            reply = caller.read_response()
        assert reply.headers["x-openhands-serverconversation-id"] == next(iter(header.values()))
    assert dialog_of(model.requests[-1]) == [
        ("user", ["I am Ada. [words=2]"]),
        ("assistant", ["word0 word1 "]),
        ("user", ["Who am I? [words=1]"]),
    ]


DOCTOR_CONFIG = """
[agents.openhands]
kind = "openhands"
url = "{url}"
key_env = "OPENHANDS"
profile = "{profile}"
tools = ["terminal"]
"""


def test_the_doctor_finds_no_fault_and_leaves_no_conversation(
    openhands_server: AgentServer, tmp_path: Path
) -> None:
    before = count_conversations(openhands_server)
    table = DOCTOR_CONFIG.format(url=openhands_server.url, profile="voice")
    status, report = run_doctor(tmp_path, table, OPENHANDS=openhands_server.key)
    assert (status, report["failure"]) == (0, None)
    assert (report["replayed"], report["deltas"], report["models"]) == (False, 20, ["openhands_voice"])
    assert count_conversations(openhands_server) == before


@pytest.mark.parametrize(
    ("profile", "key", "step", "failure", "advice"),
    [
        (
            "vioce",
            None,
            "open",
            "/api/profiles/vioce answered 404: Profile 'vioce' not found",
            "Save that LLM profile on its server, as docs/agents.md shows, or correct `profile`.",
        ),
        (
            "voice",
            "wrong-0123456789",
            "ready",
            "/api/profiles answered 401: Unauthorized",
            "It does not take the key in OPENHANDS: compare it with the one that it knows.",
        ),
    ],
)
def test_the_doctor_advises_on_a_wrong_profile_or_key(
    openhands_server: AgentServer,
    tmp_path: Path,
    profile: str,
    key: str | None,
    step: str,
    failure: str,
    advice: str,
) -> None:
    table = DOCTOR_CONFIG.format(url=openhands_server.url, profile=profile)
    status, report = run_doctor(tmp_path, table, OPENHANDS=key or openhands_server.key)
    assert (status, report["failed_at"], report["failure"]) == (1, step, openhands_server.url + failure)
    assert report["advice"] == [advice]


@pytest.mark.parametrize(("answer", "done"), [("Yes, please.", True), ("Rather not.", False)])
def test_the_caller_confirms_or_rejects_an_action(
    gateway: Server, openhands_server: AgentServer, answer: str, done: bool
) -> None:
    proof, call = openhands_server.folder / f"proof-{done}", str(uuid4())
    action_request = f"Do it [risk HIGH] [run touch {proof}] [words=2]"
    question = ask(gateway, "lean", action_request, x_voicegw_call=call)
    assert question == f"{FILLER}Run a command: Shall I go ahead?"
    assert not proof.exists()
    said = ask(gateway, "lean", action_request, question, answer, x_voicegw_call=call)
    assert said.startswith("word0 ")
    assert proof.exists() is done


def test_denied_actions_are_rejected_without_a_question(
    gateway: Server, openhands_server: AgentServer
) -> None:
    proof = openhands_server.folder / "proof-denied"
    action_request = f"Do it [risk HIGH] [run touch {proof}] [words=2]"
    assert ask(gateway, "denied", action_request) == f"{FILLER}word0 word1"
    assert not proof.exists()


def read_response(phone: ClientConnection, number: int) -> str:
    """Return the text of one response to its end; skip frames of others."""
    words, is_complete = "", False
    while not is_complete:
        if (frame := receive_frame(phone)).get("response_id") == number:
            words, is_complete = words + frame["content"], frame["content_complete"]
    return words


def test_an_interrupted_call_continues_from_the_heard_part(
    gateway: Server, openhands_server: AgentServer, model: FakeModel
) -> None:
    long_request, before = "Talk [every=0.05 words=400]", count_conversations(openhands_server)
    with connect_call(gateway, f"/retell/{RETELL}/call_1") as phone:
        for _ in range(2):
            receive_frame(phone)
        wait_until(lambda: count_conversations(openhands_server) == before + 1)
        send_frame(phone, response_required(1, GREETING, long_request))
        assert receive_frame(phone)["content"].split()[0] == "word0"
        request = model.requests[-1]
        send_frame(phone, response_required(2, GREETING, long_request, "word0", "Stop [words=2]"))
        assert read_response(phone, 2).split() == ["word0", "word1"]
    assert request.closed.wait(5)
    assert request.left_at is not None
    first, second = dialog_of(model.requests[-1])[-1][1]
    assert first.endswith(f"\nYou: {GREETING}\n)\n\n{long_request}")
    assert second == (
        '(The caller interrupted you: of your last answer they heard only "word0".)\n\nStop [words=2]'
    )


def test_interrupting_a_tool_does_not_wait_for_its_end(gateway: Server, model: FakeModel) -> None:
    work, stop = "Work [run sleep 60]", "Never mind [words=1]"
    with connect_call(gateway, f"/retell/{RETELL}/call_2") as phone:
        for _ in range(2):
            receive_frame(phone)
        send_frame(phone, response_required(1, GREETING, work))
        while "check" not in receive_frame(phone)["content"]:
            pass
        time.sleep(0.3)
        began = time.monotonic()
        send_frame(phone, response_required(2, GREETING, work, FILLER, stop))
        assert read_response(phone, 2).split() == ["word0"]
    assert time.monotonic() - began < 2
