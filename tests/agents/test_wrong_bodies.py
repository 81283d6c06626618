"""Every kind of agent against a good status with an error in JSON, or a page, instead of an answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import pytest

from tests.agents.upstream import Upstream, http_response
from voicegw.agents.anthropic.agent import AnthropicAgent
from voicegw.agents.bedrock.agent import BedrockAgent
from voicegw.agents.docker.agent import DockerApiAgent
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected
from voicegw.events import Agent, Message, Turn

pytestmark = pytest.mark.wire

TURN = Turn("t1", (Message("user", "Hi"),))
TYPES = ("application/json", "application/problem+json", "text/event-stream", "text/plain", "text/html", "")
KINDS: dict[str, Callable[[str], Agent]] = {
    "openai": lambda url: OpenAIAgent(url),
    "openai_whole": lambda url: OpenAIAgent(url, stream=False),
    "anthropic": lambda url: AnthropicAgent(url, model="m"),
    "hermes": lambda url: HermesAgent(url),
    "hermes_chat": lambda url: HermesAgent(url, mode="chat"),
    "docker": lambda url: DockerApiAgent(url, team="t"),
}
"""The kinds that read JSON or an event stream, and ask by one request first."""


async def failure_of(agent: Agent) -> AgentError:
    async with aclosing(agent.reply(TURN)) as events:
        with pytest.raises(AgentError) as raised:
            await anext(events)
    await agent.aclose()
    return raised.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize(
    ("body", "error_class", "quote"),
    [
        (b'{"error":{"type":"rate_limit_error","message":"slow down"}}', AgentBusy, "slow down"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"full"}}', AgentBusy, "full"),
        (b'{"error":{"type":"authentication_error","message":"bad key"}}', AgentRejected, "bad key"),
        (b'[{"error":{"code":429,"message":"quota"}}]', AgentBusy, "quota"),
        (b'{"error":"rate limit"}', AgentBusy, "rate limit"),
    ],
)
async def test_error_in_a_good_response_is_the_one_that_it_reports(
    kind: str, content_type: str, body: bytes, error_class: type[AgentError], quote: str
) -> None:
    headers = [f"content-type: {content_type}"] if content_type else []
    async with Upstream((http_response(body, *headers),)) as upstream:
        error = await failure_of(KINDS[kind](upstream.url))
        assert (type(error), error.quote) == (error_class, quote)
        assert error.summary.startswith(upstream.url)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content_type", ["text/html", "application/json", "text/event-stream", ""])
async def test_page_in_a_good_response_is_a_protocol_error(kind: str, content_type: str) -> None:
    headers = [f"content-type: {content_type}"] if content_type else []
    page = b"<html><h1>Sign in</h1></html>"
    async with Upstream((http_response(page, *headers),)) as upstream:
        error = await failure_of(KINDS[kind](upstream.url))
        assert type(error) is AgentProtocolError
        assert error.summary.startswith(upstream.url)


@pytest.mark.parametrize(
    ("body", "headers", "error_class"),
    [
        (b'{"message":"Too many requests"}', ("x-amzn-errortype: ThrottlingException",), AgentBusy),
        (b'{"__type":"com.amazon#ThrottlingException","message":"slow"}', (), AgentBusy),
        (b'{"__type":"AccessDeniedException","message":"no"}', (), AgentRejected),
        (b'{"message":"rate limit"}', (), AgentBusy),
        (b'{"error":"rate limit"}', (), AgentBusy),
        (b"<html>", (), AgentProtocolError),
    ],
)
async def test_error_of_bedrock_in_a_good_response(
    body: bytes, headers: tuple[str, ...], error_class: type[AgentError]
) -> None:
    reply = http_response(body, "content-type: application/json", *headers)
    async with Upstream((reply,)) as upstream:
        agent = BedrockAgent("eu-west-1", "m", key="k", url=upstream.url)
        assert type(await failure_of(agent)) is error_class
