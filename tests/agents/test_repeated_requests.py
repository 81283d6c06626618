"""A turn is sent a second time only if its agent is idempotent, for every kind that sends turns over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import pytest

from tests.agents.upstream import Action, Upstream, http_response
from tests.support.fake_agent import fake_agent
from voicegw.agents.anthropic.agent import AnthropicAgent
from voicegw.agents.bedrock.agent import BedrockAgent
from voicegw.agents.docker.agent import DockerApiAgent
from voicegw.agents.fallback import FallbackAgent, FallbackStep
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.presets import make_docker_chat, make_zeroclaw_chat
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentUnavailable
from voicegw.events import Agent, Event, Message, Turn

pytestmark = pytest.mark.wire

TURN = Turn("t1", (Message("user", "Book a table"),), call="c1")
MODELS = http_response(b'{"data": []}')
BUSY = http_response(b"", status="429 Busy")

KINDS: dict[str, tuple[Callable[[str, bool], Agent], tuple[bytes, ...], bytes]] = {
    "openai": (lambda url, again: OpenAIAgent(url, idempotent=again), (), b"POST /chat/completions"),
    "docker_chat": (
        lambda url, again: make_docker_chat(url, agent="a", keep_conversations=True, idempotent=again),
        (),
        b"POST /v1/chat/completions",
    ),
    "zeroclaw_chat": (
        lambda url, again: make_zeroclaw_chat(url, idempotent=again),
        (),
        b"POST /v1/chat/completions",
    ),
    "anthropic": (
        lambda url, again: AnthropicAgent(url, model="m", idempotent=again),
        (),
        b"POST /v1/messages",
    ),
    "bedrock": (
        lambda url, again: BedrockAgent("eu-west-1", "m", key="k" * 20, url=url, idempotent=again),
        (),
        b"POST /model/m/converse-stream",
    ),
    "hermes": (
        lambda url, again: HermesAgent(url, warm_up=False, idempotent=again),
        (MODELS,),
        b"POST /v1/runs",
    ),
    "hermes_chat": (
        lambda url, again: HermesAgent(url, warm_up=False, mode="chat", idempotent=again),
        (MODELS,),
        b"POST /v1/chat/completions",
    ),
    "docker_api": (
        lambda url, again: DockerApiAgent(url, idempotent=again),
        (http_response(b'[{"name": "t"}]'), http_response(b'{"id": "s1"}')),
        b"POST /api/sessions/s1/agent/t",
    ),
}
"""Each kind: makes the agent, the replies before the turn's request, and the start of that request."""


async def ask(kind: str, idempotent: bool, *ends: Action | bytes) -> tuple[AgentError, int, list[Event]]:
    """Ask over a connection that was opened before; `ends` are the replies to the turn's requests.

    Return the failure, the number of the turn's requests, and the events that a chain gave whose second agent
    answers. The chain gets its own server.
    """
    make, before, line = KINDS[kind]
    counts = []
    async with Upstream(*[(reply,) for reply in (*before, *ends)]) as upstream:
        agent = make(upstream.url, idempotent)
        await agent.warm(None)
        with pytest.raises(AgentError) as raised:
            async with aclosing(agent.reply(TURN)) as events:
                assert [event async for event in events] == []
        await agent.aclose()
        counts.append(sum(request.startswith(line) for request in upstream.requests))
    async with Upstream(*[(reply,) for reply in (*before, *ends)]) as upstream:
        agent = make(upstream.url, idempotent)
        await agent.warm(None)
        chain = FallbackAgent((FallbackStep(agent, idempotent=idempotent), FallbackStep(fake_agent("Fine."))))
        try:
            events = [event async for event in chain.reply(TURN)]
        except AgentError:
            events = []
        await agent.aclose()
        counts.append(sum(request.startswith(line) for request in upstream.requests))
    assert counts[0] == counts[1]
    return raised.value, counts[0], events


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
@pytest.mark.parametrize("kind", KINDS)
async def test_turn_on_a_dying_connection_is_not_sent_again(kind: str, end: Action) -> None:
    error, count, events = await ask(kind, False, end, BUSY)
    assert (type(error), count, events) == (AgentProtocolError, 1, [])
    assert "before any answer" in error.summary


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
@pytest.mark.parametrize("kind", KINDS)
async def test_turn_of_an_idempotent_agent_is_sent_once_more(kind: str, end: Action) -> None:
    error, count, events = await ask(kind, True, end, BUSY)
    assert (type(error), count, events) == (AgentBusy, 2, ["Fine."])


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway"])
@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_failing_server_may_have_acted_on_the_turn(kind: str, idempotent: bool, status: str) -> None:
    error, count, events = await ask(kind, idempotent, http_response(b"", status=status))
    assert type(error) is (AgentUnavailable if idempotent else AgentError)
    assert (count, events) == (1, ["Fine."] if idempotent else [])
