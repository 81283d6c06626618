"""A conversation with OpenHands when the caller interrupts, or a connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.agents.openhands.server_double import (
    CALL,
    PATH,
    Hands,
    Step,
    begun,
    desk,
    events,
    kept,
    message,
    open_words,
    turn,
    words,
)
from tests.agents.upstream import until
from voicegw.agents.openhands import conversation as openhands_conversation
from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout, AgentUnavailable
from voicegw.turns.run import Run

pytestmark = pytest.mark.wire


@asynccontextmanager
async def slowly(hands: Hands) -> AsyncIterator[asyncio.Event]:
    """Conversations begin once the event is set."""
    begins, answer = asyncio.Event(), hands._answer

    async def later(method: str, path: str, body: Any) -> tuple[int, Any]:
        if (method, path) == ("POST", "/api/conversations"):
            await begins.wait()
        return await answer(method, path, body)

    hands._answer = later  # type: ignore[method-assign]
    yield begins


async def test_conversations_of_calls_can_be_kept() -> None:
    async with desk(words("a"), words("b"), keep=True) as (hands, agent):
        await events(agent, turn())
        await agent.call_ended(CALL)
        assert list(hands.talks) == [CALL]
        assert await events(agent, turn("Hi", "a", "And?")) == ["b"]
        assert hands.said == ["Hi", "And?"]
        assert hands.asked("/interrupt") == [{}]
        assert hands.asked("/respond_to_confirmation") == [
            {"accept": False, "reason": "The caller was away."}
        ]


async def test_closing_a_reply_interrupts_and_the_next_words_tell_what_was_heard() -> None:
    async with desk([*open_words("One ", "two ", "three")], words("a")) as (hands, agent):
        hands.turns[0].append(60.0)
        reply = agent.reply(turn())
        await begun(reply, "two ")
        await reply.aclose()
        assert hands.asked(f"{PATH}/interrupt") == [{}]
        assert hands.talks[CALL].run is None
        assert await events(agent, turn("Hi", "One two", "Stop")) == ["a"]
        assert hands.said[1] == (
            '(The caller interrupted you: of your last answer they heard only "One two".)\n\nStop'
        )


async def test_what_the_platform_says_was_heard_counts_more() -> None:
    async with desk([*open_words("One ", "two "), 60.0], words("a"), words("b")) as (hands, agent):
        reply = agent.reply(turn())
        await begun(reply, "two ")
        await reply.aclose()
        await events(agent, turn("Hi", "One", "Stop", heard="One"))
        await events(agent, turn("Hi", "One", "Stop", "a", "And?"))
        assert 'heard only "One"' in hands.said[1]
        assert hands.said[2] == "And?"


async def test_a_reply_that_is_closed_before_a_word_leaves_a_note() -> None:
    async with desk([60.0], words("a")) as (hands, agent):
        hands.lag = 0.05
        run = Run(agent, turn(), lambda run: None, now=asyncio.get_running_loop().time)
        run.start()
        await until(lambda: hands.said)
        run.cancel()
        assert run.task is not None
        await asyncio.wait((run.task,))
        assert hands.talks[CALL].run is None
        await events(agent, turn("Hi", "Stop", "Stop"))
        assert hands.said[1].startswith("(The caller interrupted you before they heard anything")


async def test_a_turn_of_nobody_that_is_closed_is_removed_with_its_conversation() -> None:
    async with desk([*open_words("One "), 60.0]) as (hands, agent):
        reply = agent.reply(turn(call=None))
        await begun(reply, "One ")
        await reply.aclose()
        assert hands.talks == {}
        assert hands.asked("/interrupt") == []


async def test_a_conversation_that_did_not_stop_is_interrupted_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openhands_conversation, "STOP", 0.2)
    async with desk([*open_words("One "), 60.0], words("a")) as (hands, agent):
        hands.answers["/interrupt"] = 500, {}
        reply = agent.reply(turn())
        await begun(reply, "One ")
        await reply.aclose()
        assert hands.talks[CALL].run is not None
        with pytest.raises(AgentUnavailable, match="answered 500"):
            await events(agent, turn("Hi", "One", "Stop"))
        assert hands.said == ["Hi"]
        del hands.answers["/interrupt"]
        assert await events(agent, turn("Hi", "One", "Stop")) == ["a"]


async def test_a_server_that_begins_nothing_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openhands_conversation, "BEGIN", 0.05)
    async with desk(words("a")) as (hands, agent):
        async with slowly(hands):
            with pytest.raises(AgentTimeout, match=r"127\.0\.0\.1:\d+ began no conversation within 0\.05 s$"):
                await events(agent, turn())
        hands._answer = type(hands)._answer.__get__(hands)  # type: ignore[method-assign]
        assert await events(agent, turn()) == ["a"]
        assert hands.requests.count("POST /api/conversations") == 2


async def test_a_conversation_that_begins_while_nobody_waits_any_more_is_removed_too() -> None:
    async with desk() as (hands, agent), slowly(hands) as begins:
        task = asyncio.create_task(events(agent, turn(call=None)))
        await until(lambda: "POST /api/conversations" in hands.requests)
        task.cancel()
        await asyncio.sleep(0)
        begins.set()
        await asyncio.wait((task,))
        assert hands.talks == {}
        assert hands.requests[-1].startswith("DELETE /api/conversations/")


async def test_a_conversation_that_begins_while_nobody_waits_is_that_of_the_next_turn() -> None:
    async with desk(words("a")) as (hands, agent), slowly(hands) as begins:
        task = asyncio.create_task(agent.warm(CALL))
        await until(lambda: "POST /api/conversations" in hands.requests)
        task.cancel()
        await asyncio.wait((task,))
        task = asyncio.create_task(agent.warm(CALL))
        await until(lambda: not task.done())
        begins.set()
        await task
        assert await events(agent, turn()) == ["a"]
        assert len(hands.asked("POST /api/conversations")) == 1


async def test_a_conversation_that_never_begins_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openhands_conversation, "CLOSE", 0.05)
    async with desk() as (hands, agent):

        async def never(method: str, path: str, body: Any) -> tuple[int, Any]:
            await asyncio.sleep(60)
            raise AssertionError

        await agent.warm()
        hands._answer = never  # type: ignore[method-assign]
        task = asyncio.create_task(agent.warm(CALL))
        await until(lambda: "GET /api/profiles/fast" in hands.requests)
        task.cancel()
        await asyncio.wait((task,))
        await agent.call_ended(CALL)


async def test_a_failure_has_the_reason_that_follows_it() -> None:
    failed = kept("ConversationErrorEvent", code="LLMTimeoutError", detail="too slow")
    async with desk([*open_words("One "), "error", failed], words("a")) as (hands, agent):
        with pytest.raises(AgentTimeout, match="failed: LLMTimeoutError: too slow"):
            await events(agent, turn())
        assert await events(agent, turn("Hi", "One", "And?")) == ["a"]
        assert hands.said[1].startswith(
            '(The caller interrupted you: of your last answer they heard only "One"'
        )
        assert hands.asked("/interrupt") == []


async def test_a_failure_without_a_reason_is_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openhands_conversation, "DETAIL", 0.02)
    async with desk(["error"], words("a")) as (hands, agent):
        with pytest.raises(AgentError, match=r"failed$"):
            await events(agent, turn())
        await events(agent, turn("Hi", "Sorry.", "And?"))
        assert hands.said == ["Hi", "And?"]


async def test_somebody_else_may_stop_it() -> None:
    async with desk([*open_words("One "), "paused"]) as (_, agent):
        with pytest.raises(AgentError, match="told to stop by somebody else"):
            await events(agent, turn())


async def test_a_socket_that_breaks_is_replaced_and_nothing_is_said_twice() -> None:
    broken: list[Step] = [*open_words("It ", "is "), 0.05, None, message("It is nine.", "i"), "finished"]
    async with desk(broken) as (hands, agent):
        assert await events(agent, turn()) == ["It ", "is ", "nine."]
        assert hands.said == ["Hi"]
        assert hands.opened[1:] == [f"/sockets/session/{CALL}?after_seq=1"]


async def test_a_socket_that_breaks_again_ends_the_turn_and_nobody_else_is_asked() -> None:
    async with desk([*open_words("It "), None, 0.05, None, 60.0]) as (hands, agent):
        with pytest.raises(AgentProtocolError, match="closed the connection"):
            await events(agent, turn())
        assert hands.said == ["Hi"]
        assert hands.talks[CALL].run is None


async def test_a_socket_that_broke_between_turns_is_replaced() -> None:
    async with desk(words("a"), words("b")) as (hands, agent):
        await events(agent, turn())
        hands.talks[CALL].sockets.pop().transport.abort()
        await asyncio.sleep(0.05)
        assert await events(agent, turn("Hi", "a", "And?")) == ["b"]
        assert hands.said == ["Hi", "And?"]


async def test_words_that_a_breaking_socket_may_have_lost_are_not_said_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openhands_conversation, "DETAIL", 0.1)
    async with desk(words("a"), words("b")) as (hands, agent):
        await events(agent, turn())
        hands.talks[CALL].sockets.pop().transport.abort()
        with pytest.raises(AgentProtocolError, match="hung up before it took what was said"):
            await events(agent, turn("Hi", "a", "And?"))
        assert hands.said == ["Hi"]
        assert await events(agent, turn("Hi", "a", "And?", "Sorry.", "Hello?")) == ["b"]
        assert hands.asked("/interrupt") == [{}]


async def test_a_conversation_that_the_server_forgot_is_begun_again_and_told_everything() -> None:
    async with desk(words("a"), words("b")) as (hands, agent):
        await events(agent, turn())
        hands.talks.pop(CALL).sockets.pop().transport.abort()
        await asyncio.sleep(0.05)
        assert await events(agent, turn("Hi", "a", "And?")) == ["b"]
        assert hands.said[1].endswith("Caller: Hi\nYou: a\n)\n\nAnd?")


@pytest.mark.parametrize("frame", [b"nonsense", b"[1]", b'{"type": "delta"}', b'{"type": "durable"}'])
async def test_frames_that_are_none_are_garbled_and_the_agent_is_stopped(frame: bytes) -> None:
    async with desk([frame, 60.0], words("a")) as (hands, agent):
        with pytest.raises(AgentProtocolError):
            await events(agent, turn())
        assert hands.talks[CALL].run is None
        assert await events(agent, turn("Hi", "Sorry.", "And?")) == ["a"]
