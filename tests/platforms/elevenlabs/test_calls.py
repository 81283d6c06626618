"""Calls by ElevenLabs' Speech Engine through the whole gateway: tokens, numbers, pings and endings."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from tests.app.test_platforms import gateway
from tests.platforms.elevenlabs.test_token import claiming
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


def shown(late: float = 0.0) -> dict[str, str]:
    now = int(time.time() - late)
    token = claiming(iat=now, exp=now + 300)
    return {"x-elevenlabs-speech-engine-authorization": f"Bearer {token}", "host": "voice.example.com"}


def transcript(id: int | None, *entries: dict[str, str]) -> dict[str, Any]:
    return {"type": "user_transcript", "user_transcript": list(entries or HELLO), "event_id": id}


def response(content: str, id: int | None, final: bool = False) -> dict[str, Any]:
    return {"type": "agent_response", "content": content, "event_id": id, "is_final": final}


def said(phone: AsgiWebSocket) -> list[tuple[float, Any, str, bool]]:
    return [
        (when, frame["event_id"], frame["content"], frame["is_final"])
        for when, frame in phone.frames
        if frame["type"] == "agent_response"
    ]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Dials with a good token, unless told otherwise."""
    monkeypatch.setattr("tests.app.test_platforms.ENVIRON", {"ENGINE": "sk_0123456789abcdef"})
    apps: dict[int, Any] = {}

    def dialled(agent: FakeAgent, **how: Any) -> Any:
        app = apps.setdefault(id(agent), None) or gateway(tmp_path, agent, FILE)
        apps[id(agent)] = app
        return connect_websocket(app, PATH, **{"headers": shown(), **how})

    return dialled


@pytest.mark.parametrize(
    "headers", [{}, {"x-elevenlabs-speech-engine-authorization": "no.to.ken"}, shown(late=1000)]
)
async def test_without_a_good_token_the_upgrade_is_refused(call: Any, headers: dict[str, str]) -> None:
    async with call(fake_agent("Hi."), headers=headers) as phone:
        await asyncio.sleep(0)
    assert (phone.status, json.loads(phone.body)["error"]["type"]) == (401, "authentication_error")


async def test_the_acknowledgement_leaves_at_once_and_the_answer_ends_once(call: Any) -> None:
    agent = fake_agent(0.3, "We are open.")
    async with call(agent) as phone:
        phone.send_frame(INIT)
        phone.send_frame(transcript(7))
        await asyncio.sleep(0.1)
        phone.send_frame({"type": "ping"})
        await asyncio.sleep(0.9)
    assert phone.frames == [
        (0.0, response("Let me see... ", 7)),
        (0.1, {"type": "pong"}),
        (0.3, response("We are open.", 7)),
        (0.3, response("", 7, final=True)),
    ]
    [turn] = agent.turns
    assert [message.text for message in turn.messages] == ["Good morning.", "Hello?"]
    assert (turn.tenant, turn.extra["call"]) == ("@elevenlabs", {"conversation_id": "conv_1"})


async def test_nothing_is_said_before_somebody_speaks(call: Any) -> None:
    agent = fake_agent("Hi.")
    async with call(agent) as phone:
        phone.send_frame(INIT)
        await asyncio.sleep(1)
    assert (phone.frames, agent.turns) == ([], [])


async def test_a_newer_transcript_stops_the_agent_and_the_older_one_has_no_end(call: Any) -> None:
    agent = fake_agent("Well", 0.5, " then.")
    async with call(agent) as phone:
        phone.send_frame(INIT)
        phone.send_frame(transcript(1))
        await asyncio.sleep(0.2)
        phone.send_frame(transcript(1))
        await asyncio.sleep(0.1)
        phone.send_frame(
            transcript(2, *HELLO, {"role": "agent", "content": "Well"}, {"role": "user", "content": "Stop."})
        )
        await asyncio.sleep(1)
    ends = [(when, id) for when, id, _, final in said(phone) if final]
    assert ends == [(0.8, 2)]
    assert [id for _, id, _, _ in said(phone)] == sorted(id for _, id, _, _ in said(phone))
    assert (agent.start_times, agent.close_times) == ([0.0, 0.3], [0.3, 0.8])
    assert agent.turns[1].messages[-2].text == "Well"


async def test_what_the_caller_did_not_hear_of_the_last_answer_is_told(call: Any) -> None:
    agent = fake_agent("We are open from nine to five.")
    async with call(agent) as phone:
        phone.send_frame(INIT)
        phone.send_frame(transcript(1))
        await asyncio.sleep(1)
        cut = {"role": "agent", "content": "One moment... We are open from..."}
        phone.send_frame(transcript(2, *HELLO, cut, {"role": "user", "content": "And today?"}))
        await asyncio.sleep(1)
    assert agent.turns[1].heard == "We are open from"


async def test_a_failing_agent_is_a_sentence_and_the_one_end(call: Any) -> None:
    async with call(fake_agent(0.1, AgentUnavailable("gone"))) as phone:
        phone.send_frame(INIT)
        phone.send_frame(transcript(1))
        await asyncio.sleep(1)
    assert said(phone)[1:] == [(0.1, 1, PHRASES["en"].failure, False), (0.1, 1, "", True)]


async def test_the_platform_s_farewell_stops_the_agent_and_ends_the_call(call: Any) -> None:
    agent = fake_agent("Well", 5, " then.")
    async with call(agent) as phone:
        phone.send_frame(INIT)
        phone.send_frame(transcript(1))
        await asyncio.sleep(0.2)
        phone.send_frame({"type": "close"})
        await asyncio.sleep(0.1)
        assert (phone.close_code, agent.close_times) == (1000, [0.2])
    assert [final for _, _, _, final in said(phone)] == [False, False]


async def test_a_lost_socket_is_replaced_and_nothing_is_asked_before_the_transcript_comes(call: Any) -> None:
    agent = fake_agent("Well", 0.5, " then.")
    async with call(agent) as phone:
        phone.send_frame(INIT)
        phone.send_frame(transcript(1))
        await asyncio.sleep(0.2)
        async with call(agent) as second:
            second.send_frame(INIT)
            await asyncio.sleep(0.1)
            assert (phone.close_code, second.frames, len(agent.turns)) == (1012, [], 1)
            second.send_frame(transcript(1))
            await asyncio.sleep(1)
    assert [final for _, _, _, final in said(second)][-1] is True


async def test_for_a_call_too_many_there_is_no_answer_but_a_code(
    call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    agent = fake_agent("Hi.")
    async with call(agent) as one, call(agent) as two, call(agent) as three:
        for number, phone in enumerate((one, two, three)):
            phone.send_frame({**INIT, "conversation_id": f"conv_{number}"})
        await asyncio.sleep(0.1)
        assert (one.close_code, two.close_code, three.close_code, three.frames) == (None, None, 1013, [])
    refused = [json.loads(line) for line in caplog.messages if '"refusal"' in line]
    assert [line["status"] for line in refused] == [429]


@pytest.mark.parametrize(
    "nonsense",
    [
        "{",
        "[]",
        b"\xff",
        '{"type":"error","message":"secret words"}',
        '{"type":"user_transcript","event_id":"7"}',
        "{}",
    ],
)
async def test_nonsense_is_passed_over(
    call: Any, nonsense: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with call(fake_agent("Hi.")) as phone:
        phone.send_frame(INIT)
        phone.send_frame(nonsense)
        phone.send_frame(transcript(1))
        await asyncio.sleep(0.1)
        assert phone.close_code is None
    assert said(phone)[-1][3] is True
    assert sum('"odd"' in line for line in caplog.messages) == 1
    assert not any("secret words" in line for line in caplog.messages)
