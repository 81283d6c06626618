"""OpenAI's Agents SDK by both APIs: tools over two steps, objects, histories, failures, interruptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from agents import (
    Agent,
    ItemHelpers,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    RunResult,
    RunResultStreaming,
    SQLiteSession,
    function_tool,
)
from openai import AsyncOpenAI

from tests.clients.trip import ANSWER, FIRST_WORDS, QUESTION, ROME, TOOLS, Answer
from tests.e2e.server import TIMEOUT, Server, wait_until

pytestmark = pytest.mark.wire

MODELS = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}
FUNCTION_TOOLS: list[Any] = [function_tool(tool) for tool in TOOLS.values()]
UNTRACED = RunConfig(tracing_disabled=True)
"""The SDK sends traces to OpenAI by default."""
WITH_USAGE = ModelSettings(include_usage=True)
"""Chat completions stream the usage only for clients that ask."""
BOTH_APIS = pytest.mark.parametrize("api", MODELS)
STREAMED = pytest.mark.parametrize("streamed", [True, False])


@asynccontextmanager
async def agent_of(server: Server, api: str, model: str, **fields: Any) -> AsyncIterator[Agent]:
    """Give an agent of the SDK, whose model is an agent of the gateway."""
    url = f"{server.url}/v1"
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=TIMEOUT) as sdk:
        yield Agent(name="client", model=MODELS[api](model, sdk), model_settings=WITH_USAGE, **fields)


async def run(agent: Agent, text: str, streamed: bool, **options: Any) -> RunResult | RunResultStreaming:
    if not streamed:
        return await Runner.run(agent, text, run_config=UNTRACED, **options)
    result = Runner.run_streamed(agent, text, run_config=UNTRACED, **options)
    deltas = [event.data.delta async for event in result.stream_events() if is_text_delta(event)]
    assert "".join(deltas) == "".join(words_of(result))
    return result


def is_text_delta(event: Any) -> bool:
    return event.type == "raw_response_event" and event.data.type == "response.output_text.delta"


def words_of(result: RunResult | RunResultStreaming) -> list[str]:
    """Return the texts of the messages of all steps."""
    messages = [item for item in result.new_items if item.type == "message_output_item"]
    return [ItemHelpers.text_message_output(message) for message in messages]


@BOTH_APIS
@STREAMED
async def test_tools_are_called_over_two_steps(gateway: Server, trip: str, api: str, streamed: bool) -> None:
    async with agent_of(gateway, api, trip, tools=FUNCTION_TOOLS) as agent:
        result = await run(agent, QUESTION, streamed)
    assert words_of(result) == [FIRST_WORDS, ANSWER]
    assert result.final_output == ANSWER
    usage = result.context_wrapper.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (3, 30, 12)
    assert usage.input_tokens_details.cached_tokens == 6


@STREAMED
async def test_chained_responses_have_the_same_history(gateway: Server, trip: str, streamed: bool) -> None:
    async with agent_of(gateway, "responses", trip, tools=FUNCTION_TOOLS) as agent:
        result = await run(agent, QUESTION, streamed, auto_previous_response_id=True)
    assert result.final_output == ANSWER


@BOTH_APIS
@STREAMED
async def test_output_type_is_the_object(gateway: Server, api: str, streamed: bool) -> None:
    async with agent_of(gateway, api, "structured", output_type=Answer) as agent:
        assert (await run(agent, "Where?", streamed)).final_output == ROME


@BOTH_APIS
@STREAMED
async def test_session_keeps_the_history(gateway: Server, api: str, streamed: bool) -> None:
    session = SQLiteSession("call")
    try:
        async with agent_of(gateway, api, "history", instructions="Be brief.") as agent:
            first = await run(agent, "One", streamed, session=session)
            second = await run(agent, "Two", streamed, session=session)
    finally:
        session.close()
    assert first.final_output == "system: Be brief. | user: One"
    assert (
        second.final_output == f"system: Be brief. | user: One | assistant: {first.final_output} | user: Two"
    )


@BOTH_APIS
@pytest.mark.parametrize(("failure", "status"), [("AgentError", 502), ("AgentBusy", 503)])
async def test_failing_agent_raises_the_exception_of_its_status(
    gateway: Server, api: str, failure: str, status: int
) -> None:
    async with agent_of(gateway, api, "failing") as agent:
        with pytest.raises(openai.InternalServerError) as raised:
            await run(agent, failure, streamed=False)
    assert raised.value.status_code == status


@BOTH_APIS
@STREAMED
async def test_unknown_model_is_not_found(gateway: Server, api: str, streamed: bool) -> None:
    async with agent_of(gateway, api, "unknown") as agent:
        with pytest.raises(openai.NotFoundError):
            await run(agent, "Hi", streamed)


@BOTH_APIS
async def test_object_that_breaks_off_raises(gateway: Server, api: str) -> None:
    async with agent_of(gateway, api, "breaking", output_type=Answer) as agent:
        with pytest.raises(Exception, match="The agent failed"):
            await run(agent, "Where?", streamed=True)


@BOTH_APIS
async def test_cancelling_the_run_stops_the_agent(gateway: Server, api: str) -> None:
    name = f"agents-{api}"
    async with agent_of(gateway, api, "waiting") as agent:
        result = Runner.run_streamed(agent, name, run_config=UNTRACED)
        async for event in result.stream_events():
            if is_text_delta(event):
                result.cancel()
        await asyncio.to_thread(wait_until, (gateway.folder / name).exists)
