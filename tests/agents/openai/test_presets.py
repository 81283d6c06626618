"""Agents for servers with an OpenAI-compatible API."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import orjson
import pytest

from tests.agents.upstream import Upstream, chunk, chunked_head, http_response
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.presets import make_docker_chat, make_zeroclaw_chat
from voicegw.errors import AgentError
from voicegw.events import Activity, Event, Finish, Message, Tool, Turn, Usage

pytestmark = pytest.mark.wire

TURN = Turn(
    "t",
    (
        Message("developer", "Be kind"),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("tool", "42", tool_call_id="c"),
        Message("user", "When?"),
    ),
    model="asked",
    call="c1",
    tools=(Tool("end_call"),),
    options={"temperature": 0.5, "seed": 1},
)
MESSAGES = [
    {"role": "system", "content": "Be kind"},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "When?"},
]
STREAM = chunked_head("content-type: text/event-stream")
MODELS = http_response(b'{"object":"list","data":[{"id":"root"}]}', "content-type: application/json")


def sse_response(*values: Any) -> bytes:
    said = b"".join(b"data: %b\n\n" % (v if isinstance(v, bytes) else orjson.dumps(v)) for v in values)
    return STREAM + chunk(said + b"data: [DONE]\n\n") + chunk(b"")


def delta(finish: str | None = "", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


async def events(agent: OpenAIAgent, turn: Turn = TURN) -> list[Event]:
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply]


def body(request: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = orjson.loads(request.partition(b"\r\n\r\n")[2])
    return parsed


async def test_docker_chat_sends_texts_and_reports_tools() -> None:
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "shell", "arguments": "{}"}}
    run = sse_response(
        delta(role="assistant"),
        delta(content="a"),
        delta(tool_calls=[call]),
        delta(content="b"),
        delta("stop"),
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}},
    )
    async with Upstream((MODELS,), (run,)) as upstream:
        agent = make_docker_chat(upstream.url, key="docker-key")
        await agent.warm()
        assert agent.models == ("root",)
        assert await events(agent) == ["a", Activity("shell"), "b", Usage(5, 2), Finish()]
        await agent.aclose()
    assert upstream.requests[0].startswith(b"GET /v1/models ")
    assert upstream.requests[1].startswith(b"POST /v1/chat/completions ")
    assert b"x-conversation-id" not in upstream.requests[1]
    assert body(upstream.requests[1]) == {
        "model": "asked",
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_docker_chat_with_conversations_sends_the_call_id() -> None:
    async with Upstream((sse_response(delta("stop", content="a")),)) as upstream:
        agent = make_docker_chat(f"{upstream.url}/v1/", agent="clerk", keep_conversations=True)
        await agent.warm()
        await events(agent)
        await agent.aclose()
    assert upstream.requests[0].startswith(b"POST /v1/chat/completions ")
    assert b"x-conversation-id: c1\r\n" in upstream.requests[0]
    assert body(upstream.requests[0])["model"] == "clerk"


async def test_docker_error_in_the_stream_is_raised() -> None:
    failed = sse_response(
        delta(content="a"), {"error": {"message": "no model", "type": "internal_error"}}, delta("error")
    )
    async with Upstream((failed,)) as upstream:
        agent = make_docker_chat(upstream.url, agent="root")
        with pytest.raises(AgentError, match=r"reported an error: no model$"):
            await events(agent)
        await agent.aclose()


async def test_zeroclaw_chat_sends_only_necessary_fields() -> None:
    async with Upstream((sse_response(delta(None, role="assistant", content="a")),)) as upstream:
        agent = make_zeroclaw_chat(f"{upstream.url}/claw", agent="desk", key="claw-key")
        assert await events(agent) == ["a"]
        await agent.aclose()
    assert upstream.requests[0].startswith(b"POST /claw/v1/chat/completions ")
    assert body(upstream.requests[0]) == {"model": "zeroclaw/desk", "messages": MESSAGES, "stream": True}


async def test_zeroclaw_errors_in_the_stream_are_raised() -> None:
    named = STREAM + chunk(b'event: error\ndata: {"error":{"message":"no model"}}\n\n') + chunk(b"")
    for reply in (sse_response({"error": "no model"}), named):
        async with Upstream((reply,)) as upstream:
            agent = make_zeroclaw_chat(upstream.url)
            with pytest.raises(AgentError, match=r"reported an error: no model$"):
                await events(agent)
            await agent.aclose()
