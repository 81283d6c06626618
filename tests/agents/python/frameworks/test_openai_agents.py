"""Agents of the OpenAI Agents SDK, with a model that says what it was given to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import Agent, RunContextWrapper, function_tool
from agents.models.interface import Model
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseUsage,
)
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from pydantic import BaseModel

from tests.agents.python.frameworks.asking import FIRST, SECOND, interrupt, told, turn
from voicegw.agents.python.agent import load
from voicegw.agents.python.frameworks.openai_agents import adapt
from voicegw.errors import AgentProtocolError, ConfigError
from voicegw.events import Activity, Message, ToolCall, Turn, Usage

HERE = __name__
QUIET = {"tracing": False}


class Chatting(Model):
    """`lines` are answers in turn: pieces of text (`None` waits to be cancelled), or a call of a tool."""

    def __init__(self, *lines: list[str | None] | ResponseFunctionToolCall) -> None:
        self.lines = [*lines]
        self.asked: list[Any] = []
        self.instructions: list[str | None] = []
        self.waiting = asyncio.Event()
        self.log: list[str] = []

    async def get_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def stream_response(
        self, system_instructions: str | None, input: Any, *_: Any, **__: Any
    ) -> AsyncIterator[Any]:
        self.instructions.append(system_instructions)
        self.asked.append(list(input))
        line = self.lines.pop(0)
        if isinstance(line, ResponseFunctionToolCall):
            yield completed(line)
            return
        for place, piece in enumerate(line):
            if piece is None:
                await self._wait()
            yield ResponseTextDeltaEvent(
                type="response.output_text.delta",
                delta=piece or "",
                item_id="m",
                content_index=0,
                output_index=0,
                sequence_number=place,
                logprobs=[],
            )
        yield completed(message("".join(piece or "" for piece in line)))

    async def _wait(self) -> None:
        self.waiting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.log.append("stopped")
            raise


def message(text: str) -> ResponseOutputMessage:
    content = ResponseOutputText(type="output_text", text=text, annotations=[])
    return ResponseOutputMessage(
        id="m", type="message", role="assistant", status="completed", content=[content]
    )


def completed(item: Any) -> ResponseCompletedEvent:
    usage = ResponseUsage(
        input_tokens=5,
        output_tokens=2,
        total_tokens=7,
        input_tokens_details=InputTokensDetails(cached_tokens=3, cache_write_tokens=0),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=1),
    )
    response = Response.model_construct(id="r", output=[item], usage=usage)
    return ResponseCompletedEvent.model_construct(
        type="response.completed", response=response, sequence_number=9
    )


def calling(name: str, arguments: str = "{}") -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(type="function_call", call_id="c1", name=name, arguments=arguments)


@function_tool
async def door(context: RunContextWrapper[Turn]) -> str:
    """Looks at the door."""
    return f"open in {context.context.id}"


class Order(BaseModel):
    number: int


greeter = Agent("greeter", model=Chatting(["Hello ", "you"]))
clerk = Agent("clerk", model=Chatting(['{"number": 1}']), output_type=Order)


async def test_an_agent_is_detected_and_its_text_streams() -> None:
    assert await told(load(f"{HERE}:greeter", QUIET).reply, turn()) == ["Hello ", "you", Usage(5, 2, 3, 1)]


async def test_a_tool_of_the_agent_is_an_activity_and_gets_the_turn() -> None:
    model = Chatting(calling("door"), ["It is open"])
    events = await told(adapt(Agent("desk", model=model, tools=[door]), QUIET), turn())
    assert events == [Activity("door"), "It is open", Usage(10, 4, 6, 2)]
    assert model.asked[1][-1]["output"] == "open in 7"


async def test_a_handoff_is_an_activity() -> None:
    second = Agent("second", model=Chatting(["Second here"]))
    first = Agent("first", model=Chatting(calling("transfer_to_second")), handoffs=[second])
    events = await told(adapt(first, QUIET), turn())
    assert events[:-1] == [Activity("handoff"), "Second here"]


async def test_a_barge_in_stops_the_model_and_waits_for_its_end() -> None:
    model = Chatting(["One", None])
    assert await interrupt(adapt(Agent("desk", model=model), QUIET), model.waiting) == ["One"]
    assert model.log == ["stopped"]


async def test_closing_between_two_events_stops_the_model() -> None:
    model = Chatting(["One", None])
    words = adapt(Agent("desk", model=model), QUIET)(turn())
    assert await anext(words) == "One"
    await model.waiting.wait()
    await words.aclose()
    assert model.log == ["stopped"]


async def test_history_and_system_messages_reach_the_model_beside_its_instructions() -> None:
    model = Chatting(["Hello Ann."], ["Ann."])
    replying = adapt(Agent("desk", instructions="You are Bo.", model=model), QUIET)
    await told(replying, turn(*FIRST, call="c"))
    await told(replying, turn(*SECOND, call="c"))
    first = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "I am Ann."}]
    more = [{"role": "assistant", "content": "Hello Ann."}, {"role": "user", "content": "Who am I?"}]
    assert model.asked == [first, first + more]
    assert model.instructions == ["You are Bo."] * 2


async def test_tool_calls_in_the_history_reach_the_model() -> None:
    model = Chatting(["Sunny"])
    said = (
        Message("user", "How is it?"),
        Message("assistant", tool_calls=(ToolCall("c1", "look"),)),
        Message("tool", "sun", tool_call_id="c1"),
    )
    await told(adapt(Agent("desk", model=model), QUIET), turn(*said))
    assert model.asked[0][1:] == [
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
    ]


async def test_an_output_that_is_no_text_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="yielded Order"):
        await told(load(f"{HERE}:clerk", QUIET).reply, turn())


def test_an_unknown_option_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as refused:
        load(f"{HERE}:greeter", {"tone": 1})
    says = 'there is no option "tone" for it; its options: tracing, max_turns'
    assert str(refused.value) == f"{HERE}:greeter is an agent of the OpenAI Agents SDK, but {says}"
