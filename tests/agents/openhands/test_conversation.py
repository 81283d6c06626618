"""Conversations on a fake OpenHands server when the caller interrupts or a connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.agents.openhands.fake_server import (
    CALL,
    FakeOpenHandsServer,
    answer_steps,
    collect_events,
    read_until,
    served_agent,
    streamed_frames,
    turn,
)
from tests.agents.upstream import wait_until
from voicegw.agents.openhands import conversation as openhands_conversation
from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout, AgentUnavailable
from voicegw.turns.run import Run

pytestmark = pytest.mark.wire


@asynccontextmanager
async def delayed_creation(server: FakeOpenHandsServer) -> AsyncIterator[asyncio.Event]:
    """Delay the creation of conversations until the event is set."""
    may_create, answer = asyncio.Event(), server._answer

    async def later(method: str, path: str, body: Any) -> tuple[int, Any]:
        if (method, path) == ("POST", "/api/conversations"):
            await may_create.wait()
        return await answer(method, path, body)

    server._answer = later  # type: ignore[method-assign]
    yield may_create


async def test_conversations_of_calls_can_be_kept_on_the_server() -> None:
    async with served_agent(answer_steps("a"), answer_steps("b"), keep_conversations=True) as (server, agent):
        await collect_events(agent, turn())
        await agent.call_ended(CALL)
        assert list(server.conversations) == [CALL]
        assert await collect_events(agent, turn("Hi", "a", "And?")) == ["b"]
        assert server.received_texts == ["Hi", "And?"]
        assert server.bodies_of("/interrupt") == [{}]
        assert server.bodies_of("/respond_to_confirmation") == [
            {"accept": False, "reason": "The caller was away."}
        ]


async def test_heard_text_of_the_platform_overrides_the_spoken_text() -> None:
    async with served_agent(
        [*streamed_frames("One ", "two "), 60.0], answer_steps("a"), answer_steps("b")
    ) as (server, agent):
        reply = agent.reply(turn())
        await read_until(reply, "two ")
        await reply.aclose()
        await collect_events(agent, turn("Hi", "One", "Stop", heard="One"))
        await collect_events(agent, turn("Hi", "One", "Stop", "a", "And?"))
        assert 'heard only "One"' in server.received_texts[1]
        assert server.received_texts[2] == "And?"


async def test_a_reply_closed_before_any_text_is_noted_in_the_next_message() -> None:
    async with served_agent([60.0], answer_steps("a")) as (server, agent):
        server.delay = 0.05
        run = Run(agent, turn(), lambda run: None, now=asyncio.get_running_loop().time)
        run.start()
        await wait_until(lambda: server.received_texts)
        run.cancel()
        assert run.task is not None
        await asyncio.wait((run.task,))
        assert server.conversations[CALL].run is None
        await collect_events(agent, turn("Hi", "Stop", "Stop"))
        assert server.received_texts[1].startswith("(The caller interrupted you before they heard anything")


async def test_a_closed_turn_without_a_call_deletes_its_conversation() -> None:
    async with served_agent([*streamed_frames("One "), 60.0]) as (server, agent):
        reply = agent.reply(turn(call=None))
        await read_until(reply, "One ")
        await reply.aclose()
        assert server.conversations == {}
        assert server.bodies_of("/interrupt") == []


async def test_a_run_that_did_not_stop_is_interrupted_before_the_next_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openhands_conversation, "STOP_TIMEOUT", 0.2)
    async with served_agent([*streamed_frames("One "), 60.0], answer_steps("a")) as (server, agent):
        server.answers["/interrupt"] = 500, {}
        reply = agent.reply(turn())
        await read_until(reply, "One ")
        await reply.aclose()
        assert server.conversations[CALL].run is not None
        with pytest.raises(AgentUnavailable, match="answered 500"):
            await collect_events(agent, turn("Hi", "One", "Stop"))
        assert server.received_texts == ["Hi"]
        del server.answers["/interrupt"]
        assert await collect_events(agent, turn("Hi", "One", "Stop")) == ["a"]


async def test_creating_a_conversation_times_out_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openhands_conversation, "CREATE_TIMEOUT", 0.05)
    async with served_agent(answer_steps("a")) as (server, agent):
        async with delayed_creation(server):
            with pytest.raises(
                AgentTimeout, match=r"127\.0\.0\.1:\d+ created no conversation within 0\.05 s$"
            ):
                await collect_events(agent, turn())
        server._answer = type(server)._answer.__get__(server)  # type: ignore[method-assign]
        assert await collect_events(agent, turn()) == ["a"]
        assert server.requests.count("POST /api/conversations") == 2


async def test_a_conversation_created_after_its_turn_was_cancelled_is_deleted() -> None:
    async with served_agent() as (server, agent), delayed_creation(server) as may_create:
        task = asyncio.create_task(collect_events(agent, turn(call=None)))
        await wait_until(lambda: "POST /api/conversations" in server.requests)
        task.cancel()
        await asyncio.sleep(0)
        may_create.set()
        await asyncio.wait((task,))
        assert server.conversations == {}
        assert server.requests[-1].startswith("DELETE /api/conversations/")


async def test_a_conversation_created_after_a_cancelled_warm_up_serves_the_next_turn() -> None:
    async with served_agent(answer_steps("a")) as (server, agent), delayed_creation(server) as may_create:
        task = asyncio.create_task(agent.warm(CALL))
        await wait_until(lambda: "POST /api/conversations" in server.requests)
        task.cancel()
        await asyncio.wait((task,))
        task = asyncio.create_task(agent.warm(CALL))
        await wait_until(lambda: not task.done())
        may_create.set()
        await task
        assert await collect_events(agent, turn()) == ["a"]
        assert len(server.bodies_of("POST /api/conversations")) == 1


async def test_a_conversation_that_is_never_created_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openhands_conversation, "CLOSE_TIMEOUT", 0.05)
    async with served_agent() as (server, agent):

        async def never(method: str, path: str, body: Any) -> tuple[int, Any]:
            await asyncio.sleep(60)
            raise AssertionError

        await agent.warm()
        server._answer = never  # type: ignore[method-assign]
        task = asyncio.create_task(agent.warm(CALL))
        await wait_until(lambda: "GET /api/profiles/fast" in server.requests)
        task.cancel()
        await asyncio.wait((task,))
        await agent.call_ended(CALL)


async def test_a_run_stopped_by_another_client_raises_an_error() -> None:
    async with served_agent([*streamed_frames("One "), "paused"]) as (_, agent):
        with pytest.raises(AgentError, match="stopped by another client"):
            await collect_events(agent, turn())


async def test_a_socket_that_broke_between_turns_is_replaced() -> None:
    async with served_agent(answer_steps("a"), answer_steps("b")) as (server, agent):
        await collect_events(agent, turn())
        server.conversations[CALL].sockets.pop().transport.abort()
        await asyncio.sleep(0.05)
        assert await collect_events(agent, turn("Hi", "a", "And?")) == ["b"]
        assert server.received_texts == ["Hi", "And?"]


async def test_a_conversation_that_the_server_forgot_is_created_again_with_the_history() -> None:
    async with served_agent(answer_steps("a"), answer_steps("b")) as (server, agent):
        await collect_events(agent, turn())
        server.conversations.pop(CALL).sockets.pop().transport.abort()
        await asyncio.sleep(0.05)
        assert await collect_events(agent, turn("Hi", "a", "And?")) == ["b"]
        assert server.received_texts[1].endswith("Caller: Hi\nYou: a\n)\n\nAnd?")


@pytest.mark.parametrize("frame", [b"nonsense", b"[1]", b'{"type": "delta"}', b'{"type": "durable"}'])
async def test_invalid_frames_are_protocol_errors_and_interrupt_the_run(frame: bytes) -> None:
    async with served_agent([frame, 60.0], answer_steps("a")) as (server, agent):
        with pytest.raises(AgentProtocolError):
            await collect_events(agent, turn())
        assert server.conversations[CALL].run is None
        assert await collect_events(agent, turn("Hi", "Sorry.", "And?")) == ["a"]
