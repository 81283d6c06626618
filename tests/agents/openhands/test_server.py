"""The fake OpenHands server: profiles, old and new sockets, and refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.agents.openhands.fake_server import (
    CALL,
    KEY,
    FakeOpenHandsServer,
    Step,
    answer_steps,
    collect_events,
    served_agent,
    streamed_frames,
    turn,
)
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.errors import AgentProtocolError, AgentRejected, AgentTimeout, AgentUnavailable
from voicegw.events import Finish

pytestmark = pytest.mark.wire


async def test_a_server_without_encryption_uses_its_agent_profile() -> None:
    async with served_agent(answer_steps("a")) as (server, agent):
        server.answers["GET /api/profiles/fast"] = 503, {"detail": "Encryption not available"}
        assert await collect_events(agent, turn()) == ["a"]
        assert "agent" not in server.bodies_of("POST /api/conversations")[0]


async def test_a_turn_can_ask_for_another_profile() -> None:
    async with served_agent(answer_steps("a"), answer_steps("b"), answer_steps("c")) as (server, agent):
        await collect_events(agent, turn(model="openhands_good"))
        await collect_events(agent, turn("Hi", "a", "And?", model="desk"))
        await collect_events(agent, turn("Hi", "a", "And?", "b", "So?", model="openhands_unknown"))
        assert server.bodies_of("POST /api/conversations")[0]["agent"]["llm"]["model"] == "good"
        (switched,) = server.bodies_of("/switch_llm")
        assert (switched["llm"]["model"], switched["llm"]["stream"]) == ("fast", True)
        assert len(server.bodies_of("GET /api/profiles")) == 1


async def test_a_profile_without_exported_secrets_is_switched_by_name() -> None:
    async with served_agent(answer_steps("a"), answer_steps("b"), tools=None) as (server, agent):
        await collect_events(agent, turn())
        server.answers["GET /api/profiles/good"] = 503, {}
        await collect_events(agent, turn("Hi", "a", "And?", model="openhands_good"))
        assert server.bodies_of("/switch_profile") == [{"profile_name": "good"}]


async def test_an_unknown_profile_reloads_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicegw.agents.openhands.server.MAX_PROFILES_AGE", 0.0)
    async with served_agent(answer_steps("a")) as (server, agent):
        await agent.warm()
        server.answers["GET /api/profiles"] = 200, {"profiles": [{"name": "fast"}, {"name": "new"}]}
        await collect_events(agent, turn(model="openhands_new"))
        assert agent.models == ["openhands_fast", "openhands_new"]
        assert server.bodies_of("POST /api/conversations")[0]["agent"]["llm"]["model"] == "new"


async def test_older_servers_use_the_events_socket() -> None:
    steps: list[Step] = [
        *streamed_frames("It "),
        {"type": "transient", "event": {}},
        *answer_steps("It ", "is.")[2:],
    ]
    async with FakeOpenHandsServer(steps, answer_steps("b"), is_legacy=True) as server:
        agent = OpenHandsAgent(server.url, key=KEY, tools=())
        assert await collect_events(agent, turn()) == ["It ", "is."]
        server.conversations[CALL].sockets.pop().transport.abort()
        await asyncio.sleep(0.05)
        assert await collect_events(agent, turn("Hi", "It is.", "And?")) == ["b"]
        assert server.opened_sockets == [f"/sockets/session/{CALL}", *[f"/sockets/events/{CALL}"] * 2]
        await agent.aclose()


async def test_a_broken_socket_of_an_older_server_fails_the_turn() -> None:
    async with served_agent([*streamed_frames("It "), None, 60.0], is_legacy=True) as (_, agent):
        with pytest.raises(AgentProtocolError, match="closed the connection"):
            await collect_events(agent, turn())


@pytest.mark.parametrize("profile", [None, "good"])
async def test_a_server_without_the_native_api_uses_its_openai_interface(profile: str | None) -> None:
    async with served_agent(profile=profile) as (server, agent):
        server.missing_paths = ("/api/",)
        server.answers["GET /v1/models"] = 200, {"data": [{"id": "openhands_fast"}, {"id": "openhands_good"}]}
        completion = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}
        server.answers["POST /v1/chat/completions"] = 200, completion
        assert await collect_events(agent, turn()) == ["Hello.", Finish("stop")]
        assert await collect_events(agent, turn("Hi", "Hello.", "And?")) == ["Hello.", Finish("stop")]
        bodies = server.bodies_of("/chat/completions")
        assert [body["model"] for body in bodies] == [f"openhands_{profile or 'fast'}"] * 2
        assert agent.models == ["openhands_fast", "openhands_good"]
        assert [[m["content"] for m in body["messages"]] for body in bodies] == [["Hi"], ["And?"]]
        assert server.bodies_of("POST /api/conversations") == []
        await agent.call_ended(CALL)


async def test_a_wrong_key_is_rejected_and_not_in_the_message() -> None:
    async with FakeOpenHandsServer(key="another") as server:
        agent = OpenHandsAgent(server.url, key=KEY, tools=())
        with pytest.raises(AgentRejected, match="closed the connection with code 4001") as refused:
            await collect_events(agent, turn())
        assert KEY not in str(refused.value)
        await agent.aclose()


async def test_refusals_raise_the_error_of_their_status() -> None:
    async with served_agent() as (server, agent):
        server.answers["GET /api/profiles"] = 401, {"detail": "Unauthorized"}
        with pytest.raises(AgentRejected, match="/api/profiles answered 401: Unauthorized"):
            await agent.warm()
        del server.answers["GET /api/profiles"]
        server.answers["POST /api/conversations"] = 422, {"detail": "bad"}
        with pytest.raises(AgentProtocolError, match="/api/conversations answered 422: bad"):
            await collect_events(agent, turn())
        server.answers["POST /api/conversations"] = 404, {"detail": "Profile 'x' not found"}
        with pytest.raises(AgentRejected, match="Profile 'x' not found"):
            await collect_events(agent, turn())


async def test_an_unreachable_server_is_unavailable() -> None:
    async with FakeOpenHandsServer() as server:
        url = server.url
    agent = OpenHandsAgent(url)
    with pytest.raises(AgentUnavailable):
        await agent.warm()
    with pytest.raises(AgentUnavailable):
        await collect_events(agent, turn())
    await agent.aclose()


async def test_a_silent_socket_times_out() -> None:
    async with served_agent(answer_steps("a"), connect_timeout=0.2) as (server, agent):
        server.silent_sockets = 1
        with pytest.raises(AgentTimeout, match=r"sent nothing within 0\.2 s"):
            await collect_events(agent, turn())
        assert await collect_events(agent, turn()) == ["a"]


async def test_an_invalid_first_frame_is_a_protocol_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served_agent() as (server, agent):

        async def send_nonsense(conversation: Any, connection: Any, after: Any) -> None:
            await connection.send("nonsense")

        monkeypatch.setattr(server, "_replay", send_nonsense)
        with pytest.raises(AgentProtocolError):
            await collect_events(agent, turn())
