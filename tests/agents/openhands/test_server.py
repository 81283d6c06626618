"""OpenHands' server: its profiles, old and new sockets, and what it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.agents.openhands.server_double import CALL, KEY, Hands, Step, desk, events, open_words, turn, words
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.errors import AgentProtocolError, AgentRejected, AgentTimeout, AgentUnavailable
from voicegw.events import Finish

pytestmark = pytest.mark.wire


async def test_a_server_that_encrypts_nothing_asks_its_agent_profile() -> None:
    async with desk(words("a")) as (hands, agent):
        hands.answers["GET /api/profiles/fast"] = 503, {"detail": "Encryption not available"}
        assert await events(agent, turn()) == ["a"]
        assert "agent" not in hands.asked("POST /api/conversations")[0]


async def test_a_turn_can_ask_for_another_profile() -> None:
    async with desk(words("a"), words("b"), words("c")) as (hands, agent):
        await events(agent, turn(model="openhands_good"))
        await events(agent, turn("Hi", "a", "And?", model="desk"))
        await events(agent, turn("Hi", "a", "And?", "b", "So?", model="openhands_unknown"))
        assert hands.asked("POST /api/conversations")[0]["agent"]["llm"]["model"] == "good"
        (switched,) = hands.asked("/switch_llm")
        assert (switched["llm"]["model"], switched["llm"]["stream"]) == ("fast", True)
        assert len(hands.asked("GET /api/profiles")) == 1


async def test_a_profile_whose_secrets_cannot_be_had_is_switched_by_name() -> None:
    async with desk(words("a"), words("b"), tools=None) as (hands, agent):
        await events(agent, turn())
        hands.answers["GET /api/profiles/good"] = 503, {}
        await events(agent, turn("Hi", "a", "And?", model="openhands_good"))
        assert hands.asked("/switch_profile") == [{"profile_name": "good"}]


async def test_profiles_that_are_new_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicegw.agents.openhands.server.FRESH", 0.0)
    async with desk(words("a")) as (hands, agent):
        await agent.warm()
        hands.answers["GET /api/profiles"] = 200, {"profiles": [{"name": "fast"}, {"name": "new"}]}
        await events(agent, turn(model="openhands_new"))
        assert agent.models == ["openhands_fast", "openhands_new"]
        assert hands.asked("POST /api/conversations")[0]["agent"]["llm"]["model"] == "new"


async def test_older_servers_have_other_sockets() -> None:
    work: list[Step] = [*open_words("It "), {"type": "transient", "event": {}}, *words("It ", "is.")[2:]]
    async with Hands(work, words("b"), old=True) as hands:
        agent = OpenHandsAgent(hands.url, key=KEY, tools=())
        assert await events(agent, turn()) == ["It ", "is."]
        hands.talks[CALL].sockets.pop().transport.abort()
        await asyncio.sleep(0.05)
        assert await events(agent, turn("Hi", "It is.", "And?")) == ["b"]
        assert hands.opened == [f"/sockets/session/{CALL}", *[f"/sockets/events/{CALL}"] * 2]
        await agent.aclose()


async def test_a_socket_of_an_older_server_that_breaks_ends_the_turn() -> None:
    async with desk([*open_words("It "), None, 60.0], old=True) as (_, agent):
        with pytest.raises(AgentProtocolError, match="closed the connection"):
            await events(agent, turn())


@pytest.mark.parametrize("profile", [None, "good"])
async def test_a_server_without_the_native_api_is_asked_by_its_openai_interface(profile: str | None) -> None:
    async with desk(profile=profile) as (hands, agent):
        hands.missing = ("/api/",)
        hands.answers["GET /v1/models"] = 200, {"data": [{"id": "openhands_fast"}, {"id": "openhands_good"}]}
        said = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}]}
        hands.answers["POST /v1/chat/completions"] = 200, said
        assert await events(agent, turn()) == ["Hello.", Finish("stop")]
        assert await events(agent, turn("Hi", "Hello.", "And?")) == ["Hello.", Finish("stop")]
        asked = hands.asked("/chat/completions")
        assert [body["model"] for body in asked] == [f"openhands_{profile or 'fast'}"] * 2
        assert agent.models == ["openhands_fast", "openhands_good"]
        assert [[m["content"] for m in body["messages"]] for body in asked] == [["Hi"], ["And?"]]
        assert hands.asked("POST /api/conversations") == []
        await agent.call_ended(CALL)


async def test_a_wrong_key_is_refused_and_never_repeated() -> None:
    async with Hands(key="another") as hands:
        agent = OpenHandsAgent(hands.url, key=KEY, tools=())
        with pytest.raises(AgentRejected, match="closed the connection with code 4001") as refused:
            await events(agent, turn())
        assert KEY not in str(refused.value)
        await agent.aclose()


async def test_refusals_are_what_their_status_means() -> None:
    async with desk() as (hands, agent):
        hands.answers["GET /api/profiles"] = 401, {"detail": "Unauthorized"}
        with pytest.raises(AgentRejected, match="/api/profiles answered 401: Unauthorized"):
            await agent.warm()
        del hands.answers["GET /api/profiles"]
        hands.answers["POST /api/conversations"] = 422, {"detail": "bad"}
        with pytest.raises(AgentProtocolError, match="/api/conversations answered 422: bad"):
            await events(agent, turn())
        hands.answers["POST /api/conversations"] = 404, {"detail": "Profile 'x' not found"}
        with pytest.raises(AgentRejected, match="Profile 'x' not found"):
            await events(agent, turn())


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with Hands() as hands:
        url = hands.url
    agent = OpenHandsAgent(url)
    with pytest.raises(AgentUnavailable):
        await agent.warm()
    with pytest.raises(AgentUnavailable):
        await events(agent, turn())
    await agent.aclose()


async def test_a_socket_that_says_nothing_times_out() -> None:
    async with desk(words("a"), connect=0.2) as (hands, agent):
        hands.deaf = 1
        with pytest.raises(AgentTimeout, match=r"said nothing within 0\.2 s"):
            await events(agent, turn())
        assert await events(agent, turn()) == ["a"]


async def test_a_socket_whose_first_frame_is_none_is_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as (hands, agent):

        async def odd(talk: Any, connection: Any, after: Any) -> None:
            await connection.send("nonsense")

        monkeypatch.setattr(hands, "_replay", odd)
        with pytest.raises(AgentProtocolError):
            await events(agent, turn())
