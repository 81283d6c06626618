"""Calls of ElevenLabs' Speech Engine through the whole gateway."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from tests.app.test_platforms import create_gateway
from tests.platforms.elevenlabs.test_token import token_with
from tests.support.asgi_websocket import AsgiWebSocket, connect_websocket
from tests.support.fake_agent import FakeAgent, fake_agent
from voicegw.errors import AgentUnavailable
from voicegw.turns.phrases import PHRASES

PATH = "/elevenlabs/speech-engine"
FILE = """
[limits]
concurrent_calls = 2

[agents.first]
kind = "scripted"
ack.after = 0

[elevenlabs]
api_key_env = "ENGINE"
"""
INIT = {"type": "init", "conversation_id": "conv_1"}
HELLO = [{"role": "agent", "content": "Good morning."}, {"role": "user", "content": "Hello?"}]


def token_headers(late: float = 0.0) -> dict[str, str]:
    now = int(time.time() - late)
    token = token_with(iat=now, exp=now + 300)
    return {"x-elevenlabs-speech-engine-authorization": f"Bearer {token}", "host": "voice.example.com"}


def transcript(id: int | None, *entries: dict[str, str]) -> dict[str, Any]:
    return {"type": "user_transcript", "user_transcript": list(entries or HELLO), "event_id": id}


def response(content: str, id: int | None, final: bool = False) -> dict[str, Any]:
    return {"type": "agent_response", "content": content, "event_id": id, "is_final": final}


def responses(websocket: AsgiWebSocket) -> list[tuple[float, Any, str, bool]]:
    return [
        (when, frame["event_id"], frame["content"], frame["is_final"])
        for when, frame in websocket.frames
        if frame["type"] == "agent_response"
    ]


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that connects with a valid token, unless other headers are given."""
    monkeypatch.setattr("tests.app.test_platforms.ENVIRON", {"ENGINE": "sk_0123456789abcdef"})
    apps: dict[int, Any] = {}

    def connect_call(agent: FakeAgent, **how: Any) -> Any:
        app = apps.setdefault(id(agent), None) or create_gateway(tmp_path, agent, FILE)
        apps[id(agent)] = app
        return connect_websocket(app, PATH, **{"headers": token_headers(), **how})

    return connect_call


@pytest.mark.parametrize(
    "headers", [{}, {"x-elevenlabs-speech-engine-authorization": "no.to.ken"}, token_headers(late=1000)]
)
async def test_handshake_without_a_valid_token_is_refused(connect: Any, headers: dict[str, str]) -> None:
    async with connect(fake_agent("Hi."), headers=headers) as websocket:
        await asyncio.sleep(0)
    assert (websocket.status, json.loads(websocket.body)["error"]["type"]) == (401, "authentication_error")


async def test_acknowledgement_is_sent_at_once_and_the_reply_ends_once(connect: Any) -> None:
    agent = fake_agent(0.3, "We are open.")
    async with connect(agent) as websocket:
        websocket.send_frame(INIT)
        websocket.send_frame(transcript(7))
        await asyncio.sleep(0.1)
        websocket.send_frame({"type": "ping"})
        await asyncio.sleep(0.9)
    assert websocket.frames == [
        (0.0, response("Let me see... ", 7)),
        (0.1, {"type": "pong"}),
        (0.3, response("We are open.", 7)),
        (0.3, response("", 7, final=True)),
    ]
    [turn] = agent.turns
    assert [message.text for message in turn.messages] == ["Good morning.", "Hello?"]
    assert (turn.tenant, turn.extra["call"]) == ("@elevenlabs", {"conversation_id": "conv_1"})


async def test_nothing_is_sent_before_a_transcript(connect: Any) -> None:
    agent = fake_agent("Hi.")
    async with connect(agent) as websocket:
        websocket.send_frame(INIT)
        await asyncio.sleep(1)
    assert (websocket.frames, agent.turns) == ([], [])


async def test_newer_transcript_stops_the_agent_without_a_final_message(connect: Any) -> None:
    agent = fake_agent("Well", 0.5, " then.")
    async with connect(agent) as websocket:
        websocket.send_frame(INIT)
        websocket.send_frame(transcript(1))
        await asyncio.sleep(0.2)
        websocket.send_frame(transcript(1))
        await asyncio.sleep(0.1)
        websocket.send_frame(
            transcript(2, *HELLO, {"role": "agent", "content": "Well"}, {"role": "user", "content": "Stop."})
        )
        await asyncio.sleep(1)
    ends = [(when, id) for when, id, _, final in responses(websocket) if final]
    assert ends == [(0.8, 2)]
    assert [id for _, id, _, _ in responses(websocket)] == sorted(id for _, id, _, _ in responses(websocket))
    assert (agent.start_times, agent.close_times) == ([0.0, 0.3], [0.3, 0.8])
    assert agent.turns[1].messages[-2].text == "Well"


async def test_agent_gets_the_heard_text_of_its_last_reply(connect: Any) -> None:
    agent = fake_agent("We are open from nine to five.")
    async with connect(agent) as websocket:
        websocket.send_frame(INIT)
        websocket.send_frame(transcript(1))
        await asyncio.sleep(1)
        cut = {"role": "agent", "content": "Let me see... We are open from..."}
        websocket.send_frame(transcript(2, *HELLO, cut, {"role": "user", "content": "And today?"}))
        await asyncio.sleep(1)
    assert agent.turns[1].heard == "We are open from"


async def test_agent_failure_is_spoken_before_the_final_message(connect: Any) -> None:
    async with connect(fake_agent(0.1, AgentUnavailable("gone"))) as websocket:
        websocket.send_frame(INIT)
        websocket.send_frame(transcript(1))
        await asyncio.sleep(1)
    assert responses(websocket)[1:] == [(0.1, 1, PHRASES["en"].failure, False), (0.1, 1, "", True)]


async def test_close_message_stops_the_agent_and_ends_the_call(connect: Any) -> None:
    agent = fake_agent("Well", 5, " then.")
    async with connect(agent) as websocket:
        websocket.send_frame(INIT)
        websocket.send_frame(transcript(1))
        await asyncio.sleep(0.2)
        websocket.send_frame({"type": "close"})
        await asyncio.sleep(0.1)
        assert (websocket.close_code, agent.close_times) == (1000, [0.2])
    assert [final for _, _, _, final in responses(websocket)] == [False, False]


async def test_reconnected_socket_waits_for_the_transcript(connect: Any) -> None:
    agent = fake_agent("Well", 0.5, " then.")
    async with connect(agent) as websocket:
        websocket.send_frame(INIT)
        websocket.send_frame(transcript(1))
        await asyncio.sleep(0.2)
        async with connect(agent) as second:
            second.send_frame(INIT)
            await asyncio.sleep(0.1)
            assert (websocket.close_code, second.frames, len(agent.turns)) == (1012, [], 1)
            second.send_frame(transcript(1))
            await asyncio.sleep(1)
    assert [final for _, _, _, final in responses(second)][-1] is True


async def test_without_capacity_the_socket_is_closed_with_1013(
    connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    agent = fake_agent("Hi.")
    async with connect(agent) as one, connect(agent) as two, connect(agent) as three:
        for number, websocket in enumerate((one, two, three)):
            websocket.send_frame({**INIT, "conversation_id": f"conv_{number}"})
        await asyncio.sleep(0.1)
        assert (one.close_code, two.close_code, three.close_code, three.frames) == (None, None, 1013, [])
    refused = [json.loads(line) for line in caplog.messages if '"refusal"' in line]
    assert [line["status"] for line in refused] == [429]


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        b"\xff",
        '{"type":"error","message":"secret words"}',
        '{"type":"user_transcript","event_id":"7"}',
        "{}",
    ],
)
async def test_invalid_message_is_ignored(
    connect: Any, message: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connect(fake_agent("Hi.")) as websocket:
        websocket.send_frame(INIT)
        websocket.send_frame(message)
        websocket.send_frame(transcript(1))
        await asyncio.sleep(0.1)
        assert websocket.close_code is None
    assert responses(websocket)[-1][3] is True
    assert sum('"odd"' in line for line in caplog.messages) == 1
    assert not any("secret words" in line for line in caplog.messages)
