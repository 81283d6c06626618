"""The prompt cache is warmed at start and after a pause, and never delays a turn."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from tests.agents.upstream import Action, Upstream, chunk, chunked_head, http_response, wait_until
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import loop_time
from voicegw.agents.anthropic.agent import AnthropicAgent
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.prompt_cache import CACHE_LIFETIME, WARM_TIMEOUT, CacheWarmedAgent
from voicegw.errors import AgentRejected
from voicegw.events import Agent, Event, Message, Tool, Turn

SYSTEM = Message("system", "Be brief.")
CALLER = Message("user", "Hello?")
HI = Message("user", "Hi")
DOOR = Tool("door", "Looks at the door.")
CALL_TURN = Turn("7", (CALLER,), call="c")


async def collect_events(agent: Agent, turn: Turn = CALL_TURN) -> list[Event]:
    async with aclosing(agent.reply(turn)) as events:
        return [event async for event in events]


def warmed_agent(model: FakeAgent, **how: Any) -> CacheWarmedAgent:
    return CacheWarmedAgent(model, **{"instructions": "Be brief.", "warm": True, "now": loop_time, **how})


async def test_instructions_are_added_to_turns_without_any() -> None:
    model = fake_agent("Hi")
    agent = CacheWarmedAgent(model, instructions="Be brief.")
    assert await collect_events(agent) == ["Hi"]
    own = (Message("developer", "Sing."), CALLER)
    await collect_events(agent, Turn("8", own))
    assert [turn.messages for turn in model.turns] == [(SYSTEM, CALLER), own]


async def test_cache_is_not_warmed_without_warm() -> None:
    model = fake_agent("Hi")
    agent = CacheWarmedAgent(model, instructions="Be brief.")
    await agent.warm()
    await agent.warm("c")
    assert (model.turns, model.warm_count) == ([], 2)


async def test_start_asks_for_one_token_and_warms_a_second_connection() -> None:
    model = fake_agent("Hello", 5.0, " you")
    await warmed_agent(model).warm()
    [turn] = model.turns
    assert (turn.messages, turn.options, turn.call) == ((SYSTEM, HI), {"max_tokens": 1}, None)
    assert (model.close_times, model.warm_count) == ([0.0], 2)


async def test_call_after_a_pause_warms_the_cache_again() -> None:
    model = fake_agent("Hi")
    agent = warmed_agent(model)
    await agent.warm()
    await asyncio.sleep(CACHE_LIFETIME - 1)
    await agent.warm("a")
    assert len(model.turns) == 1
    await asyncio.sleep(1)
    await agent.warm("b")
    await agent.warm("c")
    assert len(model.turns) == 2


async def test_prefix_of_the_last_turn_is_warmed() -> None:
    model = fake_agent("Hi")
    agent = warmed_agent(model)
    options = {"temperature": 0.5, "max_completion_tokens": 500}
    messages = (Message("system", "Sing."), CALLER, Message("assistant", "La"), CALLER)
    await collect_events(agent, Turn("8", messages, model="m", call="c", tools=(DOOR,), options=options))
    await collect_events(agent, Turn("9", (CALLER,), background=True))
    await asyncio.sleep(CACHE_LIFETIME)
    await agent.warm("d")
    ahead = model.turns[2]
    assert ahead.messages == (Message("system", "Sing."), HI)
    assert (ahead.model, ahead.tools, ahead.call) == ("m", (DOOR,), None)
    assert ahead.options == {"temperature": 0.5, "max_completion_tokens": 1}


async def test_turn_warms_the_cache_itself() -> None:
    model = fake_agent("Hi")
    agent = warmed_agent(model)
    await collect_events(agent)
    await agent.warm("d")
    assert len(model.turns) == 1


async def test_call_without_a_prefix_warms_nothing() -> None:
    model = fake_agent("Hi")
    agent = warmed_agent(model, instructions=None)
    await agent.warm("c")
    await collect_events(agent)
    await asyncio.sleep(CACHE_LIFETIME)
    await agent.warm("d")
    assert len(model.turns) == 1


@pytest.mark.parametrize("opened", [None, "c"])
async def test_turn_of_the_call_cancels_the_warming_and_does_not_wait(opened: str | None) -> None:
    model = fake_agent(3.0, "Hi")
    agent = warmed_agent(model)
    warming = asyncio.create_task(agent.warm(opened))
    await asyncio.sleep(1)
    assert await collect_events(agent) == ["Hi"]
    assert model.start_times == [0.0, 1.0]
    assert model.close_times == [1.0, 4.0]
    await warming


async def test_turn_of_another_call_does_not_cancel_the_warming() -> None:
    model = fake_agent(3.0, "Hi")
    agent = warmed_agent(model)
    warming = asyncio.create_task(agent.warm("d"))
    await asyncio.sleep(1)
    await collect_events(agent)
    assert model.close_times == [3.0, 4.0]
    await warming


async def test_calls_that_open_during_the_warming_do_not_start_another() -> None:
    model = fake_agent(3.0, "Hi")
    agent = warmed_agent(model)
    await asyncio.gather(agent.warm("c"), agent.warm("d"))
    assert len(model.turns) == 1


async def test_warming_times_out_and_is_repeated_for_the_next_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = fake_agent(60.0, "Hi")
    agent = warmed_agent(model)
    with caplog.at_level(logging.INFO, "voicegw.error"):
        await agent.warm("c")
    assert (model.close_times, caplog.messages) == (
        [WARM_TIMEOUT],
        ["the prompt cache was not warmed within 10 seconds"],
    )
    await agent.warm("d")
    assert len(model.turns) == 2


async def test_turn_that_comes_at_the_timeout_is_answered() -> None:
    model = fake_agent(WARM_TIMEOUT, 0.0, "Hi")
    agent = warmed_agent(model)
    warming = asyncio.create_task(agent.warm("c"))
    await asyncio.sleep(WARM_TIMEOUT)
    assert await collect_events(agent) == ["Hi"]
    await warming


async def test_refusal_of_the_warming_is_raised() -> None:
    agent = warmed_agent(fake_agent(AgentRejected("The key is wrong.")))
    for call in (None, "c"):
        with pytest.raises(AgentRejected, match="The key is wrong"):
            await agent.warm(call)


async def test_cancelled_warm_cancels_the_request() -> None:
    model = fake_agent(3.0, "Hi")
    warming = asyncio.create_task(warmed_agent(model).warm("c"))
    await asyncio.sleep(1)
    warming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await warming
    assert model.close_times == [1.0]


async def test_other_methods_go_to_the_agent() -> None:
    model = fake_agent("Hi")
    agent = warmed_agent(model)
    await agent.call_ended("c")
    await agent.aclose()
    assert (agent.models, model.ended_calls, model.aclose_count) == ((), ["c"], 1)


# On the wire

HELLO = b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
DONE = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
STREAM = chunked_head("content-type: text/event-stream")


def bodies(upstream: Upstream) -> list[dict[str, Any]]:
    return [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in upstream.requests]


@pytest.mark.wire
async def test_warming_request_has_the_prefix_of_the_turn_and_leaves_a_connection() -> None:
    async with Upstream(
        (STREAM, chunk(HELLO), Action.HANG), (STREAM, chunk(HELLO + DONE), chunk(b""))
    ) as upstream:
        agent = CacheWarmedAgent(OpenAIAgent(upstream.url, model="m"), instructions="Be brief.", warm=True)
        await agent.warm()
        await wait_until(lambda: upstream.connections == 2)
        assert "Hello" in await collect_events(agent)
        assert upstream.connections == 2
        await agent.aclose()
    ahead, turn = bodies(upstream)
    assert ahead["messages"][0] == turn["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (ahead["max_tokens"], "max_tokens" in turn) == (1, False)


@pytest.mark.wire
async def test_wrong_key_raises_at_start() -> None:
    async with Upstream((http_response(b"", status="401 No"),)) as upstream:
        agent = CacheWarmedAgent(AnthropicAgent(upstream.url, model="own"), warm=True)
        with pytest.raises(AgentRejected):
            await agent.warm()
        await agent.aclose()
    [ahead] = bodies(upstream)
    assert (ahead["max_tokens"], ahead["messages"][0]["content"]) == (1, [{"type": "text", "text": "Hi"}])
