"""A real OpenHands behind the gateway, lean and as it is: asked by HTTP, and called on the phone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.sync.client import ClientConnection

from tests.e2e.server import Caller, Server, eventually
from tests.e2e.test_phone import dial, hears, required, says
from tests.real.examined import examined
from tests.real.model import FILLER, Asked, Model
from tests.real.servers import Server as Agent
from tests.real.servers import missing, openhands
from tests.real.setup import OPENHANDS
from voicegw.turns.phrases import PHRASES

pytestmark = [pytest.mark.wire, pytest.mark.skipif(bool(missing(OPENHANDS)), reason=missing(OPENHANDS))]

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
def model() -> Iterator[Model]:
    with Model() as model:
        yield model


def http(office: Agent) -> httpx.Client:
    headers = {"X-Session-API-Key": office.key}
    return httpx.Client(base_url=office.url, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def office(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An OpenHands with one LLM profile, whose model it would ask without streaming."""
    with openhands(tmp_path_factory.mktemp("openhands"), model.url) as agent, http(agent) as client:
        llm = {"model": "openai/fake", "base_url": model.url, "api_key": "sk-of-the-model"}
        saved = client.post("/api/profiles/voice", json={"llm": llm, "include_secrets": True})
        assert saved.status_code == 201, saved.text
        yield agent


@pytest.fixture(scope="module")
def gateway(office: Agent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ, config = {"OPENHANDS": office.key, "RETELL": RETELL}, CONFIG.format(url=office.url)
    with Server(tmp_path_factory.mktemp("gateway"), config, environ=environ) as server:
        yield server
    secrets = (office.key, "sk-of-the-model", "gAAAA")
    assert not [word for word in (*secrets, "Traceback") if word in server.log], server.log


def body(name: str, *said: str, system: str = "Be brief.") -> dict[str, Any]:
    """A conversation in turns."""
    spoken = [
        {"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(said)
    ]
    return {"model": name, "messages": [{"role": "system", "content": system}, *spoken]}


def ask(gateway: Server, name: str, *said: str, **headers: str) -> str:
    """What the gateway answers to the last words of a conversation."""
    with Caller(gateway) as caller:
        caller.ask(body(name, *said), **headers)
        reply = caller.reply()
    assert reply.status == 200
    return reply.text


def told(asked: Asked) -> list[tuple[str, list[str]]]:
    """What the model was told, but for its instructions."""
    return [(m["role"], texts(m["content"])) for m in asked.messages if m["role"] != "system"]


def texts(content: Any) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content]


def conversations(office: Agent) -> int:
    with http(office) as client:
        return int(client.get("/api/conversations/count").json())


@AGENTS
def test_text_streams_and_a_conversation_without_a_call_is_deleted(
    gateway: Server, office: Agent, model: Model, name: str
) -> None:
    before = conversations(office)
    assert ask(gateway, name, "I am Ada.", "Hello Ada.", "Who am I? [words=3]").split() == [
        "word0",
        "word1",
        "word2",
    ]
    asked = model.asked[-1]
    assert asked.body["stream"] is True
    assert "Be brief." in str(asked.messages[0]["content"])
    assert told(asked)[0][1][0].endswith("Caller: I am Ada.\nYou: Hello Ada.\n)\n\nWho am I? [words=3]")
    eventually(lambda: conversations(office) == before)


@AGENTS
def test_a_call_keeps_its_conversation_over_turns(gateway: Server, model: Model, name: str) -> None:
    call = f"{name}-{uuid4()}"
    first = "Hello [words=2]"
    assert ask(gateway, name, first, x_voicegw_call=call).split() == ["word0", "word1"]
    assert ask(gateway, name, first, "word0 word1", "More [words=1]", x_voicegw_call=call) == "word0"
    assert told(model.asked[-1]) == [
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
    gateway: Server, office: Agent
) -> None:
    talk, call = "Talk [words=60]", str(uuid4())
    ask(gateway, "lean", talk, x_voicegw_call=call)
    ours, theirs = [], []
    for place in range(3):
        with Caller(gateway) as caller:
            began = time.monotonic()
            caller.ask(body("lean", *[talk, "Fine."] * (place + 1), talk), x_voicegw_call=call)
            caller.until(b"word0")
            ours.append(time.monotonic() - began)
            caller.until(b"[DONE]")
        with http(office) as client:
            began = time.monotonic()
            asked = body("openhands_voice", talk) | {"stream": True}
            with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
                next(line for line in answer.iter_lines() if "word0" in line)
            theirs.append(time.monotonic() - began)
    print(f"first word: {sorted(ours)[1]:.3f} s here, {sorted(theirs)[1]:.3f} s by /v1")
    assert sorted(ours)[1] * 4 < sorted(theirs)[1]


@AGENTS
def test_a_caller_who_hangs_up_stops_the_model(gateway: Server, model: Model, name: str) -> None:
    before = len(cancelled(gateway, name))
    with Caller(gateway) as caller:
        talk = body(name, f"Talk, {name} [every=0.05 words=400]")
        caller.ask(talk, x_voicegw_call=str(uuid4()))
        caller.until(b"word1")
        asked = model.asked[-1]
    assert asked.over.wait(5)
    assert asked.left is not None
    eventually(lambda: len(cancelled(gateway, name)) > before)
    took = cancelled(gateway, name)[-1]["stop_ms"]
    print(f"stopped after {took:.0f} ms ({name})")
    assert took < 1000


def cancelled(gateway: Server, name: str) -> list[dict[str, Any]]:
    """The turns of an agent that were cancelled so far."""
    return [x for x in gateway.lines("turn") if (x["outcome"], x["agent"]) == ("cancelled", name)]


@AGENTS
def test_a_failing_model_becomes_an_apology(gateway: Server, name: str) -> None:
    assert PHRASES["en"].failure in ask(gateway, name, f"Fail, {name} [fail 400]")
    failed = (name, "AgentError")
    eventually(lambda: [line for line in gateway.lines("turn") if (line["agent"], line["error"]) == failed])


def test_a_profile_is_a_model_of_the_gateway(gateway: Server) -> None:
    assert ask(gateway, "openhands_voice", "Hello [words=1]") == "word0"


def test_a_client_of_the_openai_interface_continues_by_the_same_header(
    gateway: Server, model: Model
) -> None:
    """Such a client says only what is new, since over there the server remembers the rest."""
    header = {"x_openhands_serverconversation_id": str(uuid4())}
    for said in ("I am Ada. [words=2]", "Who am I? [words=1]"):
        with Caller(gateway) as caller:
            caller.ask(body("openhands_voice", said), **header)
            reply = caller.reply()
        assert reply.headers["x-openhands-serverconversation-id"] == next(iter(header.values()))
    assert told(model.asked[-1]) == [
        ("user", ["I am Ada. [words=2]"]),
        ("assistant", ["word0 word1 "]),
        ("user", ["Who am I? [words=1]"]),
    ]


DOCTORED = """
[agents.hands]
kind = "openhands"
url = "{url}"
key_env = "OPENHANDS"
profile = "{profile}"
tools = ["terminal"]
"""


def test_the_doctor_finds_no_fault_and_leaves_no_conversation(office: Agent, tmp_path: Path) -> None:
    before = conversations(office)
    table = DOCTORED.format(url=office.url, profile="voice")
    status, found = examined(tmp_path, table, OPENHANDS=office.key)
    assert (status, found["failure"]) == (0, None)
    assert (found["replayed"], found["deltas"], found["models"]) == (False, 20, ["openhands_voice"])
    assert conversations(office) == before


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
    office: Agent, tmp_path: Path, profile: str, key: str | None, step: str, failure: str, advice: str
) -> None:
    table = DOCTORED.format(url=office.url, profile=profile)
    status, found = examined(tmp_path, table, OPENHANDS=key or office.key)
    assert (status, found["failed_at"], found["failure"]) == (1, step, office.url + failure)
    assert found["advice"] == [advice]


@pytest.mark.parametrize(("answer", "done"), [("Yes, please.", True), ("Rather not.", False)])
def test_the_caller_confirms_or_rejects_an_action(gateway: Server, office: Agent, answer: str, done: bool) -> None:
    proof, call = office.folder / f"proof-{done}", str(uuid4())
    wanted = f"Do it [risk HIGH] [run touch {proof}] [words=2]"
    question = ask(gateway, "lean", wanted, x_voicegw_call=call)
    assert question == f"{FILLER}Run a command: Shall I go ahead?"
    assert not proof.exists()
    said = ask(gateway, "lean", wanted, question, answer, x_voicegw_call=call)
    assert said.startswith("word0 ")
    assert proof.exists() is done


def test_denied_actions_are_rejected_without_a_question(gateway: Server, office: Agent) -> None:
    proof = office.folder / "proof-denied"
    wanted = f"Do it [risk HIGH] [run touch {proof}] [words=2]"
    assert ask(gateway, "denied", wanted) == f"{FILLER}word0 word1"
    assert not proof.exists()


def answer(phone: ClientConnection, number: int) -> str:
    """The words of one response to its end; those of others are passed over."""
    words, over = "", False
    while not over:
        if (frame := hears(phone)).get("response_id") == number:
            words, over = words + frame["content"], frame["content_complete"]
    return words


def test_an_interrupted_call_continues_from_the_heard_part(
    gateway: Server, office: Agent, model: Model
) -> None:
    talk, before = "Talk [every=0.05 words=400]", conversations(office)
    with dial(gateway, f"/retell/{RETELL}/call_1") as phone:
        for _ in range(2):
            hears(phone)
        eventually(lambda: conversations(office) == before + 1)
        says(phone, required(1, GREETING, talk))
        assert hears(phone)["content"].split()[0] == "word0"
        asked = model.asked[-1]
        says(phone, required(2, GREETING, talk, "word0", "Stop [words=2]"))
        assert answer(phone, 2).split() == ["word0", "word1"]
    assert asked.over.wait(5)
    assert asked.left is not None
    first, second = told(model.asked[-1])[-1][1]
    assert first.endswith(f"\nYou: {GREETING}\n)\n\n{talk}")
    assert second == (
        '(The caller interrupted you: of your last answer they heard only "word0".)\n\nStop [words=2]'
    )


def test_interrupting_a_tool_does_not_wait_for_its_end(gateway: Server, model: Model) -> None:
    work, stop = "Work [run sleep 60]", "Never mind [words=1]"
    with dial(gateway, f"/retell/{RETELL}/call_2") as phone:
        for _ in range(2):
            hears(phone)
        says(phone, required(1, GREETING, work))
        while "check" not in hears(phone)["content"]:
            pass
        time.sleep(0.3)
        began = time.monotonic()
        says(phone, required(2, GREETING, work, FILLER, stop))
        assert answer(phone, 2).split() == ["word0"]
    assert time.monotonic() - began < 2
