"""Agents of the OpenAI Agents SDK, with a fake model."""

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

from tests.agents.python.frameworks.turns import (
    CUT_OFF,
    FIRST,
    SECOND,
    collect_events,
    interrupt,
    turn,
)
from voicegw.agents.model_history import INTERRUPTED_RESULT, SILENT_ANSWER
from voicegw.agents.python.agent import load
from voicegw.agents.python.frameworks.openai_agents import adapt
from voicegw.errors import AgentProtocolError, ConfigError
from voicegw.events import Activity, Message, ToolCall, Turn, Usage

HERE = __name__
QUIET = {"tracing": False}


class FakeModel(Model):
    """Gives `answers` in order: pieces of text, where None waits until it is cancelled, or a tool call."""

    def __init__(self, *answers: list[str | None] | ResponseFunctionToolCall) -> None:
        self.answers = [*answers]
        self.requests: list[Any] = []
        self.instructions: list[str | None] = []
        self.waiting = asyncio.Event()
        self.log: list[str] = []

    async def get_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    async def stream_response(
        self, system_instructions: str | None, input: Any, *_: Any, **__: Any
    ) -> AsyncIterator[Any]:
        self.instructions.append(system_instructions)
        self.requests.append(list(input))
        answer = self.answers.pop(0)
        if isinstance(answer, ResponseFunctionToolCall):
            yield completed(answer)
            return
        for place, piece in enumerate(answer):
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
        yield completed(message("".join(piece or "" for piece in answer)))

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


def tool_call(name: str, arguments: str = "{}") -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(type="function_call", call_id="c1", name=name, arguments=arguments)


@function_tool
async def door(context: RunContextWrapper[Turn]) -> str:
    """Looks at the door."""
    return f"open in {context.context.id}"


class Number(BaseModel):
    number: int


greeter = Agent("greeter", model=FakeModel(["Hello ", "you"]))
structured = Agent("structured", model=FakeModel(['{"number": 1}']), output_type=Number)


async def test_an_agent_is_detected_and_its_text_streams() -> None:
    assert await collect_events(load(f"{HERE}:greeter", QUIET).reply, turn()) == [
        "Hello ",
        "you",
        Usage(5, 2, 3, 1),
    ]


async def test_a_tool_of_the_agent_is_an_activity_and_gets_the_turn() -> None:
    model = FakeModel(tool_call("door"), ["It is open"])
    events = await collect_events(adapt(Agent("receptionist", model=model, tools=[door]), QUIET), turn())
    assert events == [Activity("door"), "It is open", Usage(10, 4, 6, 2)]
    assert model.requests[1][-1]["output"] == "open in 7"


async def test_a_handoff_is_an_activity() -> None:
    second = Agent("second", model=FakeModel(["Second here"]))
    first = Agent("first", model=FakeModel(tool_call("transfer_to_second")), handoffs=[second])
    events = await collect_events(adapt(first, QUIET), turn())
    assert events[:-1] == [Activity("handoff"), "Second here"]


async def test_a_barge_in_stops_the_model_and_waits_for_its_end() -> None:
    model = FakeModel(["One", None])
    assert await interrupt(adapt(Agent("receptionist", model=model), QUIET), model.waiting) == ["One"]
    assert model.log == ["stopped"]


async def test_closing_between_two_events_stops_the_model() -> None:
    model = FakeModel(["One", None])
    words = adapt(Agent("receptionist", model=model), QUIET)(turn())
    assert await anext(words) == "One"
    await model.waiting.wait()
    await words.aclose()
    assert model.log == ["stopped"]


async def test_history_and_system_messages_reach_the_model_beside_its_instructions() -> None:
    model = FakeModel(["Hello Ann."], ["Ann."])
    reply_function = adapt(Agent("receptionist", instructions="You are Bo.", model=model), QUIET)
    await collect_events(reply_function, turn(*FIRST, call="c"))
    await collect_events(reply_function, turn(*SECOND, call="c"))
    first = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "I am Ann."}]
    second = [{"role": "assistant", "content": "Hello Ann."}, {"role": "user", "content": "Who am I?"}]
    assert model.requests == [first, first + second]
    assert model.instructions == ["You are Bo."] * 2


async def test_tool_calls_in_the_history_reach_the_model() -> None:
    model = FakeModel(["Sunny"])
    messages = (
        Message("user", "How is it?"),
        Message("assistant", tool_calls=(ToolCall("c1", "look"),)),
        Message("tool", "sun", tool_call_id="c1"),
    )
    await collect_events(adapt(Agent("receptionist", model=model), QUIET), turn(*messages))
    assert model.requests[0][1:] == [
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
    ]


async def test_history_is_valid_for_strict_servers() -> None:
    model = FakeModel(["Bye."])
    await collect_events(adapt(Agent("receptionist", model=model), QUIET), turn(*CUT_OFF))
    assert model.requests[0][2:] == [
        {"type": "function_call_output", "call_id": "c1", "output": INTERRUPTED_RESULT},
        {"role": "assistant", "content": SILENT_ANSWER},
        {"role": "user", "content": "Never mind.\n\nBye."},
    ]


async def test_an_output_that_is_no_text_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="yielded Number"):
        await collect_events(load(f"{HERE}:structured", QUIET).reply, turn())


def test_an_unknown_option_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as refused:
        load(f"{HERE}:greeter", {"tone": 1})
    reason = 'there is no option "tone" for it; its options: tracing, max_turns'
    assert str(refused.value) == f"{HERE}:greeter is an agent of the OpenAI Agents SDK, but {reason}"
