"""Calls by the Realtime protocol through the whole gateway: events, their times, and the agent's turns."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.app.test_platforms import create_gateway
from tests.support.asgi_websocket import AsgiWebSocket, connect_websocket
from tests.support.fake_agent import FakeAgent, fake_agent
from voicegw.calls.caller_input import MAX_TURNS
from voicegw.calls.playback import GATHER_SECONDS
from voicegw.errors import AgentUnavailable
from voicegw.events import ToolCall
from voicegw.turns.phrases import PHRASES
from voicegw.turns.prompts import CALL_START_PROMPT

FILE = """
[limits]
concurrent_turns = 2

[realtime]
concurrent_calls = 2

[agents.first]
kind = "scripted"
ack.after = "off"
"""
PATH = "/v1/realtime"
CREATE = {"type": "response.create"}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


def create_app(folder: Path, agent: FakeAgent, text: str = FILE) -> ASGIApp:
    return create_gateway(folder, agent, text)


def item(words: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": words}]
    return {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": content},
    }


def send_text(websocket: AsgiWebSocket, words: str) -> None:
    websocket.send_frame(item(words))
    websocket.send_frame(CREATE)


def event_types(websocket: AsgiWebSocket) -> list[str]:
    return [frame["type"] for _, frame in websocket.frames]


def deltas(websocket: AsgiWebSocket) -> list[tuple[float, str]]:
    return [
        (when, frame["delta"])
        for when, frame in websocket.frames
        if frame["type"] == "response.output_text.delta"
    ]


def end_statuses(websocket: AsgiWebSocket) -> list[tuple[float, str]]:
    return [
        (when, frame["response"]["status"])
        for when, frame in websocket.frames
        if frame["type"] == "response.done"
    ]


async def test_response_begins_at_once_and_its_first_delta_is_not_delayed(tmp_path: Path) -> None:
    agent = fake_agent(0.01, "Hello", 0.01, " there.")
    async with connect_websocket(create_app(tmp_path, agent), PATH) as websocket:
        send_text(websocket, "Hello?")
        await asyncio.sleep(1)
    created = next(when for when, frame in websocket.frames if frame["type"] == "response.created")
    assert (created, deltas(websocket), end_statuses(websocket)) == (
        0.0,
        [(0.01, "Hello"), (0.02, " there.")],
        [(0.02, "completed")],
    )


async def test_close_deltas_share_an_event(tmp_path: Path) -> None:
    async with connect_websocket(
        create_app(tmp_path, fake_agent("x", 0.001, " y", 0.001, " z", 1)), PATH
    ) as websocket:
        send_text(websocket, "Hello?")
        await asyncio.sleep(0.5)
        assert deltas(websocket) == [(0.0, "x"), (GATHER_SECONDS, " y z")]


async def test_new_item_supersedes_and_a_repeated_request_does_not(tmp_path: Path) -> None:
    agent = fake_agent("Well", 0.5, " then.")
    async with connect_websocket(create_app(tmp_path, agent), PATH) as websocket:
        send_text(websocket, "Hello?")
        await asyncio.sleep(0.1)
        websocket.send_frame({**CREATE, "event_id": "again"})
        await asyncio.sleep(0.1)
        send_text(websocket, "Are you there?")
        await asyncio.sleep(1)
    errors = [frame["error"] for _, frame in websocket.frames if frame["type"] == "error"]
    assert [(error["code"], error["event_id"]) for error in errors] == [
        ("conversation_already_has_active_response", "again")
    ]
    assert end_statuses(websocket) == [(0.2, "cancelled"), (0.7, "completed")]
    assert (agent.start_times, agent.close_times) == ([0.0, 0.2], [0.2, 0.7])


async def test_tool_result_reaches_the_agent(tmp_path: Path) -> None:
    agent = fake_agent(ToolCall("c1", "weather", "{}"))
    async with connect_websocket(create_app(tmp_path, agent), PATH) as websocket:
        websocket.send_frame({"type": "session.update", "session": {"type": "realtime", "tools": [WEATHER]}})
        send_text(websocket, "How is the weather?")
        await asyncio.sleep(0.1)
        [call] = websocket.frames[-1][1]["response"]["output"]
        agent.steps = ("Sunny.",)
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
        websocket.send_frame({"type": "conversation.item.create", "item": output})
        websocket.send_frame(CREATE)
        await asyncio.sleep(0.1)
    assert [status for _, status in end_statuses(websocket)] == ["completed", "completed"]
    first, second = agent.turns
    assert [tool.name for tool in first.tools] == ["weather"]
    assert [(message.role, message.text) for message in second.messages] == [
        ("user", "How is the weather?"),
        ("assistant", ""),
        ("tool", "sun"),
    ]


async def test_agent_may_speak_first_with_a_call_start_prompt(tmp_path: Path) -> None:
    agent = fake_agent("Good morning.")
    async with connect_websocket(create_app(tmp_path, agent), PATH) as websocket:
        websocket.send_frame(CREATE)
        await asyncio.sleep(0.1)
    assert [message.text for message in agent.turns[0].messages] == [CALL_START_PROMPT]
    assert deltas(websocket) == [(0.0, "Good morning.")]


async def test_agent_failure_is_spoken(tmp_path: Path) -> None:
    async with connect_websocket(
        create_app(tmp_path, fake_agent(0.1, AgentUnavailable("gone"))), PATH
    ) as websocket:
        send_text(websocket, "Hello?")
        await asyncio.sleep(1)
    assert (deltas(websocket), end_statuses(websocket)) == (
        [(0.1, PHRASES["en"].failure)],
        [(0.1, "completed")],
    )


async def test_requests_beyond_the_turn_rate_are_answered_without_the_agent(tmp_path: Path) -> None:
    agent = fake_agent("Hi.")
    async with connect_websocket(create_app(tmp_path, agent), PATH) as websocket:
        for number in range(3 * MAX_TURNS):
            send_text(websocket, f"Question {number}")
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
    assert event_types(websocket).count("response.created") == len(end_statuses(websocket)) == 3 * MAX_TURNS
    assert len(agent.turns) == MAX_TURNS


async def test_call_beyond_the_limit_is_refused_before_the_upgrade(tmp_path: Path) -> None:
    app = create_app(tmp_path, fake_agent("Hi."))
    async with (
        connect_websocket(app, PATH),
        connect_websocket(app, PATH),
        connect_websocket(app, PATH) as third,
    ):
        await asyncio.sleep(0)
    assert (third.status, json.loads(third.body)["error"]["type"]) == (429, "rate_limit_error")


async def test_second_socket_of_a_call_replaces_the_first(tmp_path: Path) -> None:
    agent = fake_agent("Well", 5)
    app = create_app(tmp_path, agent)
    named = {"x-voicegw-call": "17"}
    async with connect_websocket(app, PATH, headers=named) as first, connect_websocket(app, PATH) as other:
        send_text(first, "Hello?")
        await asyncio.sleep(0.1)
        async with connect_websocket(app, PATH, headers=named) as second:
            await asyncio.sleep(0.1)
            assert (first.close_code, second.close_code, other.close_code) == (1001, None, None)
    assert (end_statuses(first), agent.close_times) == ([(0.1, "cancelled")], [0.1])


@pytest.mark.parametrize("name", ["/v1/realtime", "/realtime"])
async def test_offered_subprotocol_is_accepted(tmp_path: Path, name: str) -> None:
    app = create_app(tmp_path, fake_agent())
    sent: list[dict[str, Any]] = []

    async def gone() -> dict[str, Any]:
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message)

    async with connect_websocket(app, name):
        pass
    for offered, given in (
        (["realtime", "openai-beta.realtime-v1"], "realtime"),
        (["other"], None),
        ([], None),
    ):
        sent.clear()
        scope = {
            "type": "websocket",
            "path": name,
            "raw_path": name.encode(),
            "query_string": b"",
            "subprotocols": offered,
            "scheme": "ws",
            "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"127.0.0.1")],
            "state": {},
            "extensions": {},
        }
        await app(scope, gone, send)
        assert sent[0] == {"type": "websocket.accept", **({"subprotocol": given} if given else {})}


async def test_unnamed_call_is_forgotten_with_its_socket(tmp_path: Path) -> None:
    agent = fake_agent("Hi.")
    app = create_app(tmp_path, agent)
    async with (
        connect_websocket(app, PATH) as websocket,
        connect_websocket(app, PATH, headers={"x-voicegw-call": "17"}) as named,
    ):
        send_text(websocket, "Hello?")
        send_text(named, "Hello?")
        await asyncio.sleep(0.1)
    await asyncio.sleep(0)
    gone = [turn.call for turn in agent.turns if not turn.extra]
    assert agent.ended_calls == gone
    assert len(gone) == 1


async def test_many_events_at_once_are_all_answered(tmp_path: Path) -> None:
    async with connect_websocket(create_app(tmp_path, fake_agent("Hi.")), PATH) as websocket:
        for number in range(3000):
            websocket.send_frame(item(f"{number} {'x' * 200}"))
        websocket.send_frame(CREATE)
        await asyncio.sleep(1)
        assert websocket.close_code is None
    assert event_types(websocket).count("conversation.item.done") == 3000 + 1
    assert event_types(websocket).count("response.created") == len(end_statuses(websocket)) == 1


async def test_exception_before_the_upgrade_is_a_500_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(tmp_path, fake_agent())
    monkeypatch.setattr("voicegw.platforms.realtime.handshake.resolve_call_id", lambda *_, **__: 1 / 0)
    async with connect_websocket(app, PATH, query="model=s3cret") as websocket:
        await asyncio.sleep(0)
    assert (websocket.status, json.loads(websocket.body)["error"]["type"]) == (500, "server_error")
    assert "s3cret" not in caplog.text
