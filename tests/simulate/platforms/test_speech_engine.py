"""The simulated Speech Engine: frames, a full call, ElevenLabs' own server, and arbitrary frames."""

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

from tests.app import test_platforms
from tests.simulate.asgi_websocket import Flaw, sockets_to_app, unchanged
from tests.support.fake_agent import fake_agent
from tests.support.gateway import create_gateway
from voicegw.platforms.elevenlabs.token import verify_token
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import CheckResult, evaluate_checks
from voicegw.simulate.platforms.speech_engine import (
    MALFORMED_FRAMES,
    TOKEN_HEADER,
    SimulatedSpeechEngine,
    issue_token,
)
from voicegw.simulate.recording import AnswerEnded, PongSeen, Recording, TextHeard, Violation
from voicegw.simulate.script import CallScript

URL = "ws://127.0.0.1:8080/elevenlabs/speech-engine"
FULL_SCRIPT = CallScript.model_validate(
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


def make_platform(call_script: CallScript = FULL_SCRIPT, secret: str = "") -> SimulatedSpeechEngine:
    return SimulatedSpeechEngine(call_script, secret, random_hex=lambda count: "0" * 2 * count)


def our_gateway(*steps: Any, after: float | str = 0) -> ASGIApp:
    """Return our gateway, without a key."""
    return create_gateway(
        fake_agent(*(steps or STEPS)), agent_section={"ack": {"after": after}}, elevenlabs={}
    )


async def run_call(
    app: ASGIApp,
    flaw: Flaw = unchanged,
    *,
    call_script: CallScript = FULL_SCRIPT,
    url: str = URL,
    secret: str = "",
    try_forged: bool = False,
) -> tuple[Recording, list[CheckResult]]:
    """Run a call into this application, and evaluate its checks."""
    platform = SimulatedSpeechEngine(call_script, secret, now=time.time())
    recording = await CallRunner(
        platform, call_script, url, sockets_to_app(app, flaw), try_forged=try_forged
    ).run()
    return recording, evaluate_checks(platform.checks, recording, call_script)


def decode_all(frames: Any) -> list[Any]:
    return [json.loads(frame) for frame in frames]


def response_frame(content: str = "Yes.", id: Any = 1, final: Any = False, **fields: Any) -> str:
    frame = {"type": "agent_response", "content": content, "event_id": id, "is_final": final, **fields}
    return json.dumps(frame)


def test_each_transcript_is_the_whole_conversation_with_the_next_event_id() -> None:
    platform = make_platform()
    assert platform.build_url(URL) == URL
    assert decode_all(platform.start(reconnecting=False)) == [
        {"type": "init", "conversation_id": "conv_" + "0" * 26}
    ]
    entries = [{"role": "agent", "content": "Good morning."}, {"role": "user", "content": "Hello?"}]

    def asked(id: int) -> list[Any]:
        return [{"type": "user_transcript", "user_transcript": entries, "event_id": id}]

    assert decode_all(platform.ask("Hello?")) == asked(1)
    platform.receive(response_frame("We are "))
    platform.receive(response_frame("open."))
    platform.receive(response_frame("", final=True))
    entries += [{"role": "agent", "content": "We are open."}, {"role": "user", "content": "When?"}]
    assert decode_all(platform.ask("When?")) == asked(2) == decode_all(platform.repeat())
    platform.receive(response_frame("From nine to five.", 2))
    assert platform.interrupt("From nine") == ()
    platform.receive(response_frame(" Or ten.", 2))
    entries += [{"role": "agent", "content": "From nine"}]
    assert decode_all(platform.ask(None)) == asked(3)


def test_partials_and_keys_give_no_frames() -> None:
    platform = make_platform()
    assert (platform.encode_partial("Hel"), platform.press("1")) == ((), ())
    assert decode_all([*platform.ping(), *platform.hang_up()]) == [{"type": "ping"}, {"type": "close"}]
    assert platform.ping_interval == 2.0
    assert platform.encode_malformed() == MALFORMED_FRAMES


def test_reconnected_conversation_repeats_the_unanswered_transcript() -> None:
    platform = make_platform()
    [begin] = platform.start(reconnecting=False)
    [question] = platform.ask("Hello?")
    platform.receive(response_frame("Well"))
    assert platform.start(reconnecting=True) == (begin, question)
    platform.receive(response_frame("", final=True))
    assert platform.start(reconnecting=True) == (begin,)


@pytest.mark.parametrize("key", [KEY, f" {KEY}_residency_eu\n"])
def test_elevenlabs_own_library_accepts_the_token(key: str) -> None:
    resource = pytest.importorskip("elevenlabs.speech_engine.resource")
    [(name, value)] = SimulatedSpeechEngine(FULL_SCRIPT, key, now=time.time()).build_headers(URL).items()
    assert name == TOKEN_HEADER == "X-Elevenlabs-Speech-Engine-Authorization"
    assert resource.verify_speech_engine_jwt(value, KEY)["exp"] > time.time()


def test_forged_token_has_another_key_and_no_token_without_a_key() -> None:
    assert verify_token(issue_token(KEY, NOW), KEY, NOW)
    platform = SimulatedSpeechEngine(FULL_SCRIPT, KEY, now=NOW)
    assert not verify_token(platform.build_headers(URL, forged=True)[TOKEN_HEADER], KEY, NOW)
    assert make_platform().build_headers(URL) == {}
    assert not verify_token(make_platform().build_headers(URL, forged=True)[TOKEN_HEADER], KEY, NOW)


def test_each_message_gives_its_observations() -> None:
    platform = make_platform()
    platform.ask("Hello?")
    assert platform.receive('{"type":"pong"}') == (PongSeen(),)
    assert platform.receive(response_frame("Well")) == (TextHeard(0, "Well"),)
    platform.ask("Wait.")
    assert platform.receive(response_frame(", yes")) == (TextHeard(0, ", yes"),), (
        "it belongs to an older answer"
    )
    assert platform.receive(response_frame("What?", 2)) == (TextHeard(1, "What?"),)
    platform.interrupt("")
    assert platform.receive(response_frame(" When?", 2)) == (), "it is not played"
    assert platform.receive(response_frame("", 2, True)) == (AnswerEnded(1),)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("{", "not JSON: '{'"),
        ("[]", "JSON, but not an object: '[]'"),
        (b"{}", "a binary frame of 2 bytes"),
        ("{}", "a frame of unknown type: null"),
        ('{"type":"audio"}', "a frame of unknown type: 'audio'"),
        ('{"type":"agent_response"}', "agent_response without content"),
        (response_frame(id="1"), "agent_response: event_id does not fit: '1'"),
        (response_frame(id=True), "agent_response: event_id does not fit: true"),
        (response_frame(id=None), "agent_response: event_id does not fit: null"),
        (response_frame(final="no"), "agent_response: is_final does not fit: 'no'"),
        (response_frame(content=None), "agent_response: content does not fit: null"),  # type: ignore[arg-type]
        (response_frame(id=7), "event_id 7 is no transcript's, the newest is 1"),
        (response_frame(id=0), "event_id 0 is no transcript's, the newest is 1"),
    ],
)
def test_invalid_frames_are_violations_with_a_reason(frame: str | bytes, reason: str) -> None:
    platform = make_platform()
    platform.ask("Hello?")
    assert platform.receive(frame) == (Violation("frames", reason),)


async def test_our_gateway_passes_all_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.app.test_platforms.ENVIRON", {"ENGINE": KEY})
    agent = fake_agent(*STEPS)
    app = test_platforms.create_gateway(tmp_path, agent, FILE)
    recording, found = await run_call(app, secret=KEY, try_forged=True)
    assert recording.failure == ""
    assert {result.item: result.state for result in found} == dict.fromkeys(
        (check.item for check in SimulatedSpeechEngine.checks), "held"
    )
    assert (recording.forged_status, recording.gateway_close, len(recording.turns)) == (401, None, 10)
    assert [turn.outcome for turn in recording.turns] == [
        *("answered", "stopped", "answered", "stopped"),
        *["answered"] * 5,
        "hung up",
    ]
    first = recording.turns[0]
    assert [round(at - first.asked_at, 9) for at in (*(at for at, _ in first.texts), *first.end_times)] == [
        *(0.0, 0.3, 0.8, 0.8)
    ]
    assert [turn.stop_delay for turn in recording.turns if turn.stopped_at is not None] == [None, None]
    assert all(answered == sent for sent, answered in recording.pings)
    assert [message.text for message in agent.turns[3].messages][-3:] == [
        *("What?", "We are open from nine to five.", "How")
    ]
    assert agent.turns[-1].messages[-1].text == "Gone."


async def test_elevenlabs_own_server_passes_all_checks_but_the_token() -> None:
    """The behaviour of their own server is correct by definition, so no check may fail on it."""
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

    recording, found = await run_call(theirs)
    assert recording.failure == ""
    assert [(result.item, result.violations) for result in found if result.state == "broken"] == []
    assert [result.item for result in found if result.state == "not tried"] == ["refuses"]


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
CALLER_ACTIONS = st.sampled_from(["ask", "silent", "repeat", "interrupt", "again"])
ITEMS = {check.item for check in SimulatedSpeechEngine.checks}


@given(
    st.lists(
        CALLER_ACTIONS | st.text() | st.binary() | VALUES.map(json.dumps) | FRAMES.map(json.dumps),
        max_size=20,
    )
)
def test_any_frames_give_observations_of_known_turns_and_checks(
    steps: list[str | bytes],
) -> None:
    platform = make_platform()
    actions: dict[str | bytes, Callable[[], Any]] = {
        "ask": lambda: platform.ask("Hello?"),
        "silent": lambda: platform.ask(None),
        "repeat": platform.repeat,
        "interrupt": lambda: platform.interrupt("We"),
        "again": lambda: platform.start(reconnecting=True),
    }
    for step in steps:
        if step in actions:
            actions[step]()
            continue
        for observation in platform.receive(step):
            if isinstance(observation, Violation):
                assert observation.item in ITEMS
            elif isinstance(observation, TextHeard | AnswerEnded):
                assert observation.turn in range(platform.newest_id)
