"""ElevenLabs' Speech Engine, played: frames, a whole call, their own library in our place, any answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from tests.app import test_platforms as test_desks
from tests.simulate.stage import Flaw, sound, stage
from tests.support.gateway import gateway
from tests.support.script import script
from voicegw.platforms.elevenlabs.token import verify_token
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import CheckResult, evaluate_checks
from voicegw.simulate.platforms.speech_engine import TOKEN_HEADER, MALFORMED_FRAMES, SimulatedSpeechEngine, issue_token
from voicegw.simulate.recording import AnswerEnded, PongSeen, Recording, TextHeard, Violation
from voicegw.simulate.script import CallScript

URL = "ws://127.0.0.1:8080/elevenlabs/speech-engine"
EVERYTHING = CallScript.model_validate(
    {
        "greeting": "Good morning.",
        "turns": [
            {"say": "Hello?", "wait": 0.5},
            {"say": "When?", "interrupt": 0.4},
            {"say": "What?", "again": 0.1},
            {"say": "How", "next": 0.2},
            {"say": "How much?"},
            {"say": "Are you there?", "drop": 0.2},
            {"say": "Odd.", "nonsense": True},
            {"silent": True, "wait": 1},
            {"press": "1"},
            {"say": "Bye.", "partial": ["B", "By"]},
            {"say": "Gone.", "hang_up": 0.1},
        ],
    }
)
FILE = '[agents.desk]\nkind = "scripted"\nack.after = 0\n[elevenlabs]\napi_key_env = "ENGINE"\n'
STEPS = (0.3, "We are open", 0.5, " from nine to five.")
KEY, NOW = "sk_0123456789abcdef", 1_763_640_000


def caller(told: CallScript = EVERYTHING, secret: str = "") -> SimulatedSpeechEngine:
    return SimulatedSpeechEngine(told, secret, random_hex=lambda count: "0" * 2 * count)


def ours(*steps: Any, after: float | str = 0) -> ASGIApp:
    """Our gateway, without a key."""
    return gateway(script(*(steps or STEPS)), desk={"ack": {"after": after}}, elevenlabs={})


async def rehearsed(
    app: ASGIApp,
    flaw: Flaw = sound,
    *,
    told: CallScript = EVERYTHING,
    url: str = URL,
    secret: str = "",
    proof: bool = False,
) -> tuple[Recording, list[CheckResult]]:
    """What became of a call into this application."""
    engine = SimulatedSpeechEngine(told, secret, now=time.time())
    tape = await CallRunner(engine, told, url, stage(app, flaw), try_forged=proof).run()
    return tape, evaluate_checks(engine.checks, tape, told)


def plain(frames: Any) -> list[Any]:
    return [json.loads(frame) for frame in frames]


def response(content: str = "Yes.", id: Any = 1, final: Any = False, **fields: Any) -> str:
    frame = {"type": "agent_response", "content": content, "event_id": id, "is_final": final, **fields}
    return json.dumps(frame)


def test_every_transcript_is_the_whole_conversation_under_the_next_number() -> None:
    engine = caller()
    assert engine.build_url(URL) == URL
    assert plain(engine.start(reconnecting=False)) == [{"type": "init", "conversation_id": "conv_" + "0" * 26}]
    entries = [{"role": "agent", "content": "Good morning."}, {"role": "user", "content": "Hello?"}]

    def asked(id: int) -> list[Any]:
        return [{"type": "user_transcript", "user_transcript": entries, "event_id": id}]

    assert plain(engine.ask("Hello?")) == asked(1)
    engine.receive(response("We are "))
    engine.receive(response("open."))
    engine.receive(response("", final=True))
    entries += [{"role": "agent", "content": "We are open."}, {"role": "user", "content": "When?"}]
    assert plain(engine.ask("When?")) == asked(2) == plain(engine.repeat())
    engine.receive(response("From nine to five.", 2))
    assert engine.interrupt("From nine") == ()
    engine.receive(response(" Or ten.", 2))
    entries += [{"role": "agent", "content": "From nine"}]
    assert plain(engine.ask(None)) == asked(3)


def test_what_the_platform_does_not_have_is_not_played() -> None:
    engine = caller()
    assert (engine.encode_partial("Hel"), engine.press("1")) == ((), ())
    assert plain([*engine.ping(), *engine.hang_up()]) == [{"type": "ping"}, {"type": "close"}]
    assert engine.ping_interval == 2.0
    assert engine.encode_malformed() == MALFORMED_FRAMES


def test_a_conversation_that_comes_back_asks_again_what_was_not_answered() -> None:
    engine = caller()
    [begin] = engine.start(reconnecting=False)
    [question] = engine.ask("Hello?")
    engine.receive(response("Well"))
    assert engine.start(reconnecting=True) == (begin, question)
    engine.receive(response("", final=True))
    assert engine.start(reconnecting=True) == (begin,)


@pytest.mark.parametrize("key", [KEY, f" {KEY}_residency_eu\n"])
def test_the_token_is_one_that_elevenlabs_own_library_takes(key: str) -> None:
    resource = pytest.importorskip("elevenlabs.speech_engine.resource")
    [(name, value)] = SimulatedSpeechEngine(EVERYTHING, key, now=time.time()).build_headers(URL).items()
    assert name == TOKEN_HEADER == "X-Elevenlabs-Speech-Engine-Authorization"
    assert resource.verify_speech_engine_jwt(value, KEY)["exp"] > time.time()


def test_a_forged_token_is_of_another_key_and_without_one_nothing_is_shown() -> None:
    assert verify_token(issue_token(KEY, NOW), KEY, NOW)
    engine = SimulatedSpeechEngine(EVERYTHING, KEY, now=NOW)
    assert not verify_token(engine.build_headers(URL, forged=True)[TOKEN_HEADER], KEY, NOW)
    assert caller().build_headers(URL) == {}
    assert not verify_token(caller().build_headers(URL, forged=True)[TOKEN_HEADER], KEY, NOW)


def test_each_message_is_read_for_what_it_means() -> None:
    engine = caller()
    engine.ask("Hello?")
    assert engine.receive('{"type":"pong"}') == (PongSeen(),)
    assert engine.receive(response("Well")) == (TextHeard(0, "Well"),)
    engine.ask("Wait.")
    assert engine.receive(response(", yes")) == (TextHeard(0, ", yes"),), "of an older answer"
    assert engine.receive(response("What?", 2)) == (TextHeard(1, "What?"),)
    engine.interrupt("")
    assert engine.receive(response(" When?", 2)) == (), "nobody hears it"
    assert engine.receive(response("", 2, True)) == (AnswerEnded(1),)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("{", "no JSON: '{'"),
        ("[]", "JSON, but no object: '[]'"),
        (b"{}", "a binary frame of 2 bytes"),
        ("{}", "a frame of unknown type: null"),
        ('{"type":"audio"}', "a frame of unknown type: 'audio'"),
        ('{"type":"agent_response"}', "agent_response without content"),
        (response(id="1"), "agent_response: event_id does not fit: '1'"),
        (response(id=True), "agent_response: event_id does not fit: true"),
        (response(id=None), "agent_response: event_id does not fit: null"),
        (response(final="no"), "agent_response: is_final does not fit: 'no'"),
        (response(content=None), "agent_response: content does not fit: null"),  # type: ignore[arg-type]
        (response(id=7), "event_id 7 is no transcript's, the newest is 1"),
        (response(id=0), "event_id 0 is no transcript's, the newest is 1"),
    ],
)
def test_what_elevenlabs_does_not_take_is_named(frame: str | bytes, why: str) -> None:
    engine = caller()
    engine.ask("Hello?")
    assert engine.receive(frame) == (Violation("frames", why),)


async def test_our_gateway_holds_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.app.test_platforms.ENVIRON", {"ENGINE": KEY})
    agent = script(*STEPS)
    app = test_desks.gateway(tmp_path, agent, FILE)
    tape, found = await rehearsed(app, secret=KEY, proof=True)
    assert tape.failure == ""
    assert {verdict.item: verdict.state for verdict in found} == dict.fromkeys(
        (check.item for check in SimulatedSpeechEngine.checks), "held"
    )
    assert (tape.forged_status, tape.gateway_close, len(tape.turns)) == (401, None, 10)
    assert [turn.outcome for turn in tape.turns] == [
        *("answered", "stopped", "answered", "stopped"),
        *["answered"] * 5,
        "hung up",
    ]
    first = tape.turns[0]
    assert [round(at - first.asked_at, 9) for at in (*(at for at, _ in first.texts), *first.end_times)] == [
        *(0.0, 0.3, 0.8, 0.8)
    ]
    assert [turn.stop_delay for turn in tape.turns if turn.stopped_at is not None] == [None, None]
    assert all(answered == sent for sent, answered in tape.pings)
    assert [message.text for message in agent.turns[3].messages][-3:] == [
        *("What?", "We are open from nine to five.", "How")
    ]
    assert agent.turns[-1].messages[-1].text == "Gone."


async def test_elevenlabs_own_library_holds_everything_but_the_check_of_its_token() -> None:
    """What their server does is right by definition: so the checklist asks for nothing that they do not."""
    official = pytest.importorskip("elevenlabs.speech_engine")

    async def answer() -> AsyncGenerator[str, None]:
        for step in ("Well. ", *STEPS):
            if isinstance(step, str):
                yield step
            else:
                await asyncio.sleep(step)

    async def theirs(scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        session: Any = official.SpeechEngineSession(socket)
        session.on("user_transcript", lambda transcript: session.send_response(answer()))
        await session.run()

    tape, found = await rehearsed(theirs)
    assert tape.failure == ""
    assert [(verdict.item, verdict.violations) for verdict in found if verdict.state == "broken"] == []
    assert [verdict.item for verdict in found if verdict.state == "not tried"] == ["refuses"]


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["agent_response", "pong"]) | VALUES,
        "content": st.text(max_size=12) | VALUES,
        "event_id": st.integers(-1, 5) | VALUES,
        "is_final": st.booleans() | VALUES,
    },
)
ACTS = st.sampled_from(["ask", "silent", "repeat", "interrupt", "again"])
ITEMS = {check.item for check in SimulatedSpeechEngine.checks}


@given(
    st.lists(ACTS | st.text() | st.binary() | VALUES.map(json.dumps) | FRAMES.map(json.dumps), max_size=20)
)
def test_whatever_comes_is_read_without_an_error_and_belongs_to_a_turn_and_an_item(
    steps: list[str | bytes],
) -> None:
    engine = caller()
    acts: dict[str | bytes, Callable[[], Any]] = {
        "ask": lambda: engine.ask("Hello?"),
        "silent": lambda: engine.ask(None),
        "repeat": engine.repeat,
        "interrupt": lambda: engine.interrupt("We"),
        "again": lambda: engine.start(reconnecting=True),
    }
    for step in steps:
        if step in acts:
            acts[step]()
            continue
        for heard in engine.receive(step):
            if isinstance(heard, Violation):
                assert heard.item in ITEMS
            elif isinstance(heard, TextHeard | AnswerEnded):
                assert heard.turn in range(engine.newest_id)
