"""The endpoint of chat completions: types, statuses and conflicts of responses, and the list of models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.agents.openai.test_agent import (
    EVENTS,
    FIRST_TURN,
    KEY,
    STREAM_BODY,
    TURN,
    events,
    reply_to,
    stream_of,
)
from tests.agents.upstream import Upstream, chunk, chunked_head, http_response
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)
from voicegw.events import Finish, Message, Turn

pytestmark = pytest.mark.wire

CONFLICT = (http_response(b'{"error":{"message":"in flight"}}', status="409 Conflict"),)
MODEL_LIST = http_response(b'{"data":[{"id":"root"},{"id":"clerk"}]}', "content-type: application/json")


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/octet-stream", "text/html"])
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_stream_of_a_wrong_type_is_decoded(kind: str, size: int) -> None:
    body = b"\r\n: hello\n\n" + STREAM_BODY
    pieces = [chunk(body[at : at + size]) for at in range(0, len(body), size)]
    assert await reply_to(chunked_head(f"content-type: {kind}"), *pieces, chunk(b"")) == EVENTS


@pytest.mark.parametrize("body", [b"", b" ", b"dat"])
async def test_body_that_ends_before_its_kind_is_clear_raises_a_protocol_error(body: bytes) -> None:
    with pytest.raises(AgentProtocolError, match="answered with a wrong content type: text/plain"):
        await reply_to(http_response(body, "content-type: text/plain"))


@pytest.mark.parametrize(
    ("url", "options", "role", "limit"),
    [
        ("http://127.0.0.1:8000/v1", {}, "system", "max_tokens"),
        ("https://api.openai.com/v1", {}, "developer", "max_completion_tokens"),
        ("https://desk.openai.azure.com/openai/v1", {}, "developer", "max_completion_tokens"),
        ("https://openai.com.example/v1", {}, "system", "max_tokens"),
        (
            "http://127.0.0.1:8000/v1",
            {"developer_role": "developer", "max_tokens_field": "max_completion_tokens"},
            "developer",
            "max_completion_tokens",
        ),
        (
            "https://api.openai.com/v1",
            {"developer_role": "system", "max_tokens_field": "max_tokens"},
            "system",
            "max_tokens",
        ),
    ],
)
def test_host_decides_about_names_that_are_not_configured(
    url: str, options: dict[str, Any], role: str, limit: str
) -> None:
    turn = Turn("t1", (Message("developer", "Be kind"), Message("user", "Hi")), options={"max_tokens": 5})
    body: Any = OpenAIAgent(url, **options)._request_body(turn, None)
    assert body["messages"][0]["role"] == role
    assert {name for name in body if name.startswith("max_")} == {limit}


async def test_other_content_type_raises_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="answered with a wrong content type: text/html"):
        await reply_to(http_response(b"<html>", "content-type: text/html"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, AgentProtocolError),
        (401, AgentRejected),
        (403, AgentRejected),
        (404, AgentRejected),
        (408, AgentTimeout),
        (413, AgentProtocolError),
        (422, AgentProtocolError),
        (429, AgentBusy),
        (500, AgentError),
        (502, AgentError),
        (503, AgentBusy),
        (504, AgentTimeout),
        (204, AgentProtocolError),
        (302, AgentUnavailable),
    ],
)
async def test_status_decides_the_error(status: int, kind: type[AgentError]) -> None:
    with pytest.raises(AgentError) as raised:
        await reply_to(http_response(b"", status=f"{status} X"))
    assert type(raised.value) is kind


async def test_refusal_has_the_words_of_the_server_without_secrets() -> None:
    body = orjson.dumps({"error": {"message": f"wrong key {KEY} or token-123"}})
    async with Upstream((http_response(body, status="401 No"),)) as upstream:
        agent = OpenAIAgent(f"{upstream.url}/v1?code=hidden", key=KEY, headers={"x-token": "token-123"})
        with pytest.raises(AgentRejected) as raised:
            await events(agent)
        await agent.aclose()
    assert raised.value.summary == f"{upstream.url}/v1/chat/completions answered 401"
    assert raised.value.quote == "wrong key *** or ***"
    assert KEY not in str(raised.value)


async def test_conflict_is_retried_on_the_same_connection() -> None:
    async with Upstream(CONFLICT, CONFLICT, CONFLICT, CONFLICT, stream_of("a")) as upstream:
        agent = OpenAIAgent(upstream.url, conversation_header="x-conversation-id")
        assert await events(agent, FIRST_TURN) == ["a", Finish()]
        assert len(upstream.requests) == 5
        assert upstream.connections == 1
        await agent.aclose()


async def test_persistent_conflict_raises_busy() -> None:
    async with Upstream(*([CONFLICT] * 5)) as upstream:
        agent = OpenAIAgent(upstream.url, conversation_header="x-conversation-id")
        with pytest.raises(AgentBusy, match="answered 409: in flight"):
            await events(agent, FIRST_TURN)
        assert len(upstream.requests) == 5
        await agent.aclose()


async def test_conflict_without_a_call_raises_busy_at_once() -> None:
    async with Upstream(CONFLICT) as upstream:
        agent = OpenAIAgent(upstream.url, conversation_header="x-conversation-id")
        with pytest.raises(AgentBusy):
            await events(agent)
        await agent.aclose()


async def test_models_are_listed_once_and_turns_may_name_them() -> None:
    async with Upstream((MODEL_LIST,), stream_of("a"), stream_of("b")) as upstream:
        agent = OpenAIAgent(f"{upstream.url}/v1?v=1", key=KEY, model="own", list_models=True)
        await agent.warm()
        await agent.warm("c1")
        assert agent.models == ("root", "clerk")
        await events(agent, replace(TURN, model="clerk"))
        await events(agent)
        await agent.aclose()
    assert upstream.requests[0].startswith(b"GET /v1/models?v=1 HTTP/1.1\r\n")
    assert f"authorization: Bearer {KEY}\r\n".encode() in upstream.requests[0]
    bodies = [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in upstream.requests[1:]]
    assert [body["model"] for body in bodies] == ["clerk", "own"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(http_response(b"", status="401 No"), AgentRejected), (http_response(b"[]"), AgentProtocolError)],
)
async def test_failed_model_list_raises_and_leaves_no_models(reply: bytes, kind: type[AgentError]) -> None:
    async with Upstream((reply,)) as upstream:
        agent = OpenAIAgent(upstream.url, list_models=True)
        with pytest.raises(kind):
            await agent.warm()
        assert agent.models == ()
        await agent.aclose()
