"""The frames of one turn on a fake OpenHands server: refused texts, broken sockets, and reasons of errors."""

from __future__ import annotations

import pytest

from tests.agents.openhands.fake_server import (
    CALL,
    PATH,
    SinkUntil,
    Step,
    answer_steps,
    collect_events,
    durable,
    message_event,
    served_agent,
    streamed_frames,
    turn,
)
from voicegw.agents.openhands import turn_pump
from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout
from voicegw.turns.streaming import stream_events

pytestmark = pytest.mark.wire


async def test_a_failed_run_raises_the_reason_that_follows_its_status() -> None:
    failed = durable("ConversationErrorEvent", code="LLMTimeoutError", detail="too slow")
    async with served_agent([*streamed_frames("One "), "error", failed], answer_steps("a")) as (
        server,
        agent,
    ):
        with pytest.raises(AgentTimeout, match="failed: LLMTimeoutError: too slow"):
            await collect_events(agent, turn())
        assert await collect_events(agent, turn("Hi", "One", "And?")) == ["a"]
        assert server.received_texts[1].startswith(
            '(The caller interrupted you: of your last answer they heard only "One"'
        )
        assert server.bodies_of("/interrupt") == []


async def test_a_failed_run_without_a_reason_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_pump, "FOLLOW_UP_TIMEOUT", 0.02)
    async with served_agent(["error"], answer_steps("a")) as (server, agent):
        with pytest.raises(AgentError, match=r"failed$"):
            await collect_events(agent, turn())
        await collect_events(agent, turn("Hi", "Sorry.", "And?"))
        assert server.received_texts == ["Hi", "And?"]


async def test_a_socket_that_breaks_is_replaced_and_no_text_is_repeated() -> None:
    broken: list[Step] = [
        *streamed_frames("It ", "is "),
        0.05,
        None,
        message_event("It is nine.", "i"),
        "finished",
    ]
    async with served_agent(broken) as (server, agent):
        assert await collect_events(agent, turn()) == ["It ", "is ", "nine."]
        assert server.received_texts == ["Hi"]
        assert server.opened_sockets[1:] == [f"/sockets/session/{CALL}?after_seq=1"]


async def test_a_socket_that_breaks_twice_fails_the_turn_without_a_retry() -> None:
    async with served_agent([*streamed_frames("It "), None, 0.05, None, 60.0]) as (server, agent):
        with pytest.raises(AgentProtocolError, match="closed the connection"):
            await collect_events(agent, turn())
        assert server.received_texts == ["Hi"]
        assert server.conversations[CALL].run is None


async def test_a_message_that_a_broken_socket_may_have_lost_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn_pump, "FOLLOW_UP_TIMEOUT", 0.1)
    async with served_agent(answer_steps("a"), answer_steps("b")) as (server, agent):
        await collect_events(agent, turn())
        server.conversations[CALL].sockets.pop().transport.abort()
        with pytest.raises(AgentProtocolError, match="closed the connection before it took the message"):
            await collect_events(agent, turn("Hi", "a", "And?"))
        assert server.received_texts == ["Hi"]
        assert await collect_events(agent, turn("Hi", "a", "And?", "Sorry.", "Hello?")) == ["b"]
        assert server.bodies_of("/interrupt") == [{}]


async def test_refused_text_interrupts_the_run_and_the_next_message_says_which_part_was_heard() -> None:
    async with served_agent([*streamed_frames("One ", "two ", "three")], answer_steps("a")) as (
        server,
        agent,
    ):
        server.turns[0].append(60.0)
        await stream_events(agent, turn(), SinkUntil("two "))
        assert server.bodies_of(f"{PATH}/interrupt") == [{}]
        assert server.conversations[CALL].run is None
        assert await collect_events(agent, turn("Hi", "One two", "Stop")) == ["a"]
        assert server.received_texts[1] == (
            '(The caller interrupted you: of your last answer they heard only "One two".)\n\nStop'
        )
