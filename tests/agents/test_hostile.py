"""Every kind of agent against a server whose responses are wrong in every way."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

import pytest

from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, http_response, wait_until
from voicegw.agents.docker import agent as docker_api
from voicegw.agents.docker.agent import DockerApiAgent
from voicegw.agents.hermes import agent as hermes
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.presets import make_docker_chat, make_zeroclaw_chat
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.agents.zeroclaw.agent import ZeroClawAgent
from voicegw.errors import AgentBusy, AgentError, AgentRejected, AgentTimeout, AgentUnavailable
from voicegw.events import Agent, Message, Turn
from voicegw.turns.run import Run
from voicegw.turns.timeouts import Timeouts

pytestmark = pytest.mark.wire

KEY = "key-of-the-house"
CALL = "6f0c1a2e-0000-4000-8000-000000000001"
TURN = Turn("t1", (Message("user", "Hi"),), call=CALL)
TIMEOUTS = Timeouts(0.1, 0.1, 0.3)
JSON, STREAM = "content-type: application/json", "content-type: text/event-stream"
DEEP = b'{"error":' * 900 + b"1" + b"}" * 900

KINDS: dict[str, Callable[[str], Agent]] = {
    "openai": lambda url: OpenAIAgent(f"{url}/v1", key=KEY, model="m"),
    "docker_chat": lambda url: make_docker_chat(url, key=KEY, agent="a", keep_conversations=True),
    "zeroclaw_chat": lambda url: make_zeroclaw_chat(url, key=KEY),
    "hermes": lambda url: HermesAgent(url, key=KEY),
    "hermes_chat": lambda url: HermesAgent(url, key=KEY, mode="chat"),
    "docker_api": lambda url: DockerApiAgent(url, key=KEY),
    "openhands": lambda url: OpenHandsAgent(url, key=KEY, tools=()),
    "zeroclaw": lambda url: ZeroClawAgent(url, key=KEY, connect_timeout=0.2),
}


def stream_with(body: bytes) -> tuple[bytes, ...]:
    """An event stream with `body` in place of an event."""
    return (chunked_head(STREAM), chunk(b"data: %b\n\n" % body), chunk(b""))


REPLIES: dict[str, tuple[Piece | Action, ...]] = {
    "closes": (Action.CLOSE,),
    "resets": (Action.RESET,),
    "silent": (Action.HANG,),
    "slow head": (*(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nx: y"), Action.HANG),
    "half a head": (b"HTTP/1.1 200", Action.CLOSE),
    "endless head": (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 12_000, Action.HANG),
    "endless welcome": (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, Action.HANG),
    "no http": (b"SSH-2.0-OpenSSH_9\r\n", Action.HANG),
    "upgrade": (b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Action.HANG),
    "half a body": (http_response(b'{"id": "1"}', JSON)[:-2], Action.CLOSE),
    "half a chunk": (chunked_head(STREAM) + b"ffff\r\nda", Action.CLOSE),
    "no chunk": (chunked_head(STREAM) + b"zz\r\n", Action.HANG),
    "compressed": (http_response(gzip.compress(b"{}"), JSON, "content-encoding: gzip"),),
    "redirect": (http_response(b"", f"location: https://b.example/?key={KEY}", status="302 Found"),),
    "html": (http_response(b"<html>", "content-type: text/html"),),
    "no object": (http_response(b"[7]", JSON),),
    "not a number": (http_response(b'{"id": NaN}', JSON),),
    "deep": (http_response(b"[" * 100_000, JSON),),
    "deep event": stream_with(DEEP),
    "wrong event": stream_with(b'[["\\ud800"]]'),
    "binary event": stream_with(b"\x00\xff"),
    "large event": (chunked_head(STREAM), chunk(b"data: " + b"x" * 5_000_000), Action.HANG),
}
WORDS = "card-4111-token"
"""Words that a server repeats where nobody expects them; a redirect's target holds tokens, too."""
TOOL = b'{"index":0,"id":"c","function":{"name":"%b","arguments":"{oops"}}' % WORDS.encode()
REPLIES_WITH_WORDS: dict[str, tuple[bytes, ...]] = {
    "redirect": (http_response(b"", f"location: https://b.example/?k={WORDS}", status="302 Found"),),
    "content type": (http_response(b"", f"content-type: text/{WORDS}"),),
    "status": (http_response(WORDS.encode(), status="500 No"),),
    "error": (http_response(b'{"error":{"message":"%b"}}' % WORDS.encode(), JSON),),
    "object": (http_response(b'{"id":["%b"],"data":"%b"}' % ((WORDS.encode(),) * 2), JSON),),
    "no JSON": stream_with(b'{"choices":%b' % WORDS.encode()),
    "tool": stream_with(b'{"choices":[{"delta":{"tool_calls":[%b]}}]}' % TOOL),
    "usage": stream_with(b'{"choices":[],"usage":{"prompt_tokens":"%b"}}' % WORDS.encode()),
    "finish reason": stream_with(b'{"choices":[{"finish_reason":"%b"}]}' % WORDS.encode()),
    "code": stream_with(b'{"type":"error","code":"%b","event":"%b"}' % ((WORDS.encode(),) * 2)),
}
STATUSES: dict[str, type[AgentError]] = {
    "401 No": AgentRejected,
    "403 No": AgentRejected,
    "429 No": AgentBusy,
    "500 No": AgentError,
    "503 No": AgentBusy,
    "504 No": AgentTimeout,
}
ASK_BEFORE_THE_TURN = ("docker_api", "openhands", "zeroclaw")
"""Kinds whose first request precedes the turn: after its failure, the agent did not get the turn."""


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Agent]:
    monkeypatch.setattr(hermes, "STOP_TIMEOUT", 0.1)
    monkeypatch.setattr(docker_api, "CLOSE_TIMEOUT", 0.1)
    return KINDS[request.param]


async def failure(agent: Agent) -> AgentError:
    """Return the failure of a turn; it must be an `AgentError` without the key."""
    run = Run(agent, TURN, lambda run: None, now=asyncio.get_running_loop().time, timeouts=TIMEOUTS)
    run.start()
    assert run.task is not None
    async with asyncio.timeout(5):
        await asyncio.wait((run.task,))
        await agent.call_ended(CALL)
        await agent.aclose()
    assert isinstance(run.event_log.failure, AgentError)
    assert not run.event_log.failure.summary.startswith("the agent raised"), run.event_log.failure
    assert KEY not in str(run.event_log.failure)
    return run.event_log.failure


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_every_bad_response_ends_the_turn_with_an_agent_error(
    make: Callable[[str], Agent], reply: tuple[Piece | Action, ...]
) -> None:
    async with Upstream(*[reply] * 9) as upstream:
        error = await failure(make(upstream.url))
        assert f"127.0.0.1:{upstream.port}" in error.summary or "the agent " in error.summary
        await wait_until(lambda: upstream.ended_connections == upstream.connections)


@pytest.mark.parametrize("reply", REPLIES_WITH_WORDS.values(), ids=REPLIES_WITH_WORDS)
async def test_summary_repeats_no_words_that_the_server_chose(
    make: Callable[[str], Agent], reply: tuple[bytes, ...]
) -> None:
    async with Upstream(*[reply] * 9) as upstream:
        assert WORDS not in (await failure(make(upstream.url))).summary


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("status", STATUSES)
async def test_status_gives_the_same_error_for_every_agent(
    make: Callable[[str], Agent], status: str, compressed: bool
) -> None:
    body = f'{{"error": {{"message": "not with {KEY}"}}}}'.encode()
    headers = (JSON, "content-encoding: gzip") if compressed else (JSON,)
    reply = http_response(gzip.compress(body) if compressed else body, *headers, status=status)
    async with Upstream(*[(reply,)] * 9) as upstream:
        error = await failure(make(upstream.url))
        before = status == "500 No" and make in [KINDS[kind] for kind in ASK_BEFORE_THE_TURN]
        assert type(error) is (AgentUnavailable if before else STATUSES[status])
        assert error.summary.endswith(f" answered {status[:3]}")
        assert error.quote == ("" if compressed else "not with ***")
        await wait_until(lambda: upstream.ended_connections == upstream.connections)


async def test_refused_connection_raises_unavailable_for_every_agent(make: Callable[[str], Agent]) -> None:
    async with Upstream() as upstream:
        pass
    error = await failure(make(upstream.url))
    assert type(error) is AgentUnavailable
    assert f"127.0.0.1:{upstream.port}" in error.summary
