"""Every kind of agent behind a server that answers with all that can go wrong on a wire."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

import pytest

from tests.agents.upstream import Act, Piece, Upstream, answer, chunk, chunked, until
from voicegw.agents.docker import agent as docker_api
from voicegw.agents.docker.agent import DockerApiAgent
from voicegw.agents.hermes import agent as hermes
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.presets import docker_chat, zeroclaw_chat
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
PATIENCE = Timeouts(0.1, 0.1, 0.3)
JSON, STREAM = "content-type: application/json", "content-type: text/event-stream"
DEEP = b'{"error":' * 900 + b"1" + b"}" * 900

KINDS: dict[str, Callable[[str], Agent]] = {
    "openai": lambda url: OpenAIAgent(f"{url}/v1", key=KEY, model="m"),
    "docker_chat": lambda url: docker_chat(url, key=KEY, agent="a", conversations=True),
    "zeroclaw_chat": lambda url: zeroclaw_chat(url, key=KEY),
    "hermes": lambda url: HermesAgent(url, key=KEY),
    "hermes_chat": lambda url: HermesAgent(url, key=KEY, mode="chat"),
    "docker_api": lambda url: DockerApiAgent(url, key=KEY),
    "openhands": lambda url: OpenHandsAgent(url, key=KEY, tools=()),
    "zeroclaw": lambda url: ZeroClawAgent(url, key=KEY, connect=0.2),
}


def said(body: bytes) -> tuple[bytes, ...]:
    """Something that is said instead of an event."""
    return (chunked(STREAM), chunk(b"data: %b\n\n" % body), chunk(b""))


REPLIES: dict[str, tuple[Piece | Act, ...]] = {
    "closes": (Act.CLOSE,),
    "resets": (Act.RESET,),
    "silent": (Act.HANG,),
    "slow head": (*(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nx: y"), Act.HANG),
    "half a head": (b"HTTP/1.1 200", Act.CLOSE),
    "endless head": (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 12_000, Act.HANG),
    "endless welcome": (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, Act.HANG),
    "no http": (b"SSH-2.0-OpenSSH_9\r\n", Act.HANG),
    "upgrade": (b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Act.HANG),
    "half a body": (answer(b'{"id": "1"}', JSON)[:-2], Act.CLOSE),
    "half a chunk": (chunked(STREAM) + b"ffff\r\nda", Act.CLOSE),
    "no chunk": (chunked(STREAM) + b"zz\r\n", Act.HANG),
    "compressed": (answer(gzip.compress(b"{}"), JSON, "content-encoding: gzip"),),
    "redirect": (answer(b"", f"location: https://b.example/?key={KEY}", status="302 Found"),),
    "html": (answer(b"<html>", "content-type: text/html"),),
    "no object": (answer(b"[7]", JSON),),
    "not a number": (answer(b'{"id": NaN}', JSON),),
    "deep": (answer(b"[" * 100_000, JSON),),
    "deep event": said(DEEP),
    "wrong event": said(b'[["\\ud800"]]'),
    "binary event": said(b"\x00\xff"),
    "large event": (chunked(STREAM), chunk(b"data: " + b"x" * 5_000_000), Act.HANG),
}
STATUSES: dict[str, type[AgentError]] = {
    "401 No": AgentRejected,
    "403 No": AgentRejected,
    "429 No": AgentBusy,
    "500 No": AgentUnavailable,
    "503 No": AgentBusy,
    "504 No": AgentTimeout,
}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Agent]:
    monkeypatch.setattr(hermes, "STOP", 0.1)
    monkeypatch.setattr(docker_api, "CLOSE", 0.1)
    return KINDS[request.param]


async def failure(agent: Agent) -> AgentError:
    """What a turn fails with, and nothing else than that."""
    run = Run(agent, TURN, lambda run: None, now=asyncio.get_running_loop().time, timeouts=PATIENCE)
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
async def test_whatever_a_server_says_ends_the_turn_with_an_error_of_ours(
    make: Callable[[str], Agent], reply: tuple[Piece | Act, ...]
) -> None:
    async with Upstream(*[reply] * 9) as upstream:
        error = await failure(make(upstream.url))
        assert f"127.0.0.1:{upstream.port}" in error.summary or "the agent " in error.summary
        await until(lambda: upstream.ended == upstream.connections)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_means_the_same_for_every_kind(
    make: Callable[[str], Agent], status: str, compressed: bool
) -> None:
    body = f'{{"error": {{"message": "not with {KEY}"}}}}'.encode()
    headers = (JSON, "content-encoding: gzip") if compressed else (JSON,)
    reply = answer(gzip.compress(body) if compressed else body, *headers, status=status)
    async with Upstream(*[(reply,)] * 9) as upstream:
        error = await failure(make(upstream.url))
        assert type(error) is STATUSES[status]
        assert error.summary.endswith(f" answered {status[:3]}")
        assert error.quote == ("" if compressed else "not with ***")
        await until(lambda: upstream.ended == upstream.connections)


async def test_nobody_there_is_unavailable_for_every_kind(make: Callable[[str], Agent]) -> None:
    async with Upstream() as upstream:
        pass
    error = await failure(make(upstream.url))
    assert type(error) is AgentUnavailable
    assert f"127.0.0.1:{upstream.port}" in error.summary
