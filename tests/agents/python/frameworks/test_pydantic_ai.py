"""Agents of Pydantic AI, with the test models of the framework."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")

from pydantic import BaseModel
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from tests.agents.python.frameworks.turns import (
    CUT_OFF,
    FIRST,
    SECOND,
    collect_events,
    interrupt,
    text,
    turn,
)
from voicegw.agents.model_history import INTERRUPTED_RESULT, SILENT_ANSWER
from voicegw.agents.python.agent import load
from voicegw.agents.python.frameworks.pydantic_ai import adapt
from voicegw.errors import AgentProtocolError, ConfigError
from voicegw.events import Activity, Message, Tool, ToolCall, Turn, Usage
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

HERE = __name__
WEATHER = Tool("weather", "Looks out of the window.", {"type": "object", "properties": {}})


class Number(BaseModel):
    number: int


greeter = Agent(TestModel(custom_output_text="Hello you"))
structured = Agent(TestModel(), output_type=Number)


async def door() -> str:
    """Looks at the door."""
    return "open"


async def name(context: RunContext[Turn]) -> str:
    """Returns the id of the turn."""
    return context.deps.id


class RecordingModel:
    """Answers "Good" and "bye", and records its requests."""

    def __init__(self) -> None:
        self.requests: list[list[Any]] = []
        self.instructions: list[str | None] = []

    async def stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        self.requests.append([(part.part_kind, part.content) for m in messages for part in m.parts])
        self.instructions.append(info.instructions)
        yield "Good"
        yield "bye"


async def test_an_agent_is_detected_and_its_text_streams() -> None:
    events = await collect_events(load(f"{HERE}:greeter").reply, turn())
    assert events[:2] == ["Hello ", "you"]
    assert type(events[2]) is Usage
    assert events[2].completion > 0


async def test_a_tool_of_the_agent_is_an_activity() -> None:
    agent = Agent(TestModel(custom_output_text="It is open"), tools=[door])
    events = await collect_events(adapt(agent, {}), turn())
    assert events[0] == Activity("door")
    assert text(events) == "It is open"


async def test_a_barge_in_stops_the_model() -> None:
    waiting, log = asyncio.Event(), []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        try:
            yield "One"
            waiting.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("stopped")
            raise

    assert await interrupt(adapt(Agent(FunctionModel(stream_function=stream)), {}), waiting) == ["One"]
    assert log == ["stopped"]


async def test_history_and_system_messages_reach_the_model_beside_its_instructions() -> None:
    model = RecordingModel()
    reply_function = adapt(
        Agent(FunctionModel(stream_function=model.stream), system_prompt="You are Bo."), {}
    )
    assert text(await collect_events(reply_function, turn(*FIRST))) == "Goodbye"
    assert text(await collect_events(reply_function, turn(*SECOND))) == "Goodbye"
    first = [("system-prompt", "You are Bo."), ("user-prompt", "I am Ann.")]
    assert model.requests == [first, [*first, ("text", "Hello Ann."), ("user-prompt", "Who am I?")]]
    assert model.instructions == ["Be brief.", "Be brief."]


async def test_history_is_valid_for_strict_servers() -> None:
    requests: list[list[ModelMessage]] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        requests.append(messages)
        yield "Bye."

    await collect_events(adapt(Agent(FunctionModel(stream_function=stream)), {}), turn(*CUT_OFF))
    parts: list[Any] = [part for message in requests[0] for part in message.parts]
    assert [part.part_kind for part in parts] == [
        *("user-prompt", "tool-call", "tool-return", "text", "user-prompt")
    ]
    assert [part.content for part in parts[2:]] == [
        *(INTERRUPTED_RESULT, SILENT_ANSWER, "Never mind.\n\nBye.")
    ]
    assert parts[2].tool_name == "look"


async def test_a_history_that_ends_with_the_agent_gets_a_prompt() -> None:
    model = RecordingModel()
    reply_function = adapt(Agent(FunctionModel(stream_function=model.stream)), {})
    hello = Message("assistant", "Hello?")
    assert text(await collect_events(reply_function, turn(hello))) == "Goodbye"
    assert text(await collect_events(reply_function, turn(Message("system", "Be brief.")))) == "Goodbye"
    assert model.requests == [
        [("text", "Hello?"), ("user-prompt", SILENCE_PROMPT)],
        [("user-prompt", CALL_START_PROMPT)],
    ]


async def test_a_tool_of_the_platform_is_called_and_its_result_read() -> None:
    results: list[object] = []

    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        parts = [part for message in messages for part in message.parts]
        if parts[-1].part_kind == "tool-return":
            results.append((parts[-1].tool_name, parts[-1].content))
            yield "Sunny"
        else:
            assert [tool.name for tool in info.function_tools] == ["weather"]
            yield {0: DeltaToolCall("weather", "{}", tool_call_id="c1")}

    reply_function = adapt(Agent(FunctionModel(stream_function=stream)), {})
    first = turn(tools=(WEATHER,))
    call = ToolCall("c1", "weather", "{}")
    assert (await collect_events(reply_function, first))[:-1] == [call]
    answered = (
        *first.messages,
        Message("assistant", tool_calls=(call,)),
        Message("tool", "sun", tool_call_id="c1"),
    )
    assert (await collect_events(reply_function, turn(*answered, tools=(WEATHER,))))[:-1] == ["Sunny"]
    assert results == [("weather", "sun")]


async def test_platform_tools_can_be_disabled() -> None:
    agent = Agent(TestModel(custom_output_text="Hi"))
    assert text(await collect_events(adapt(agent, {"tools": False}), turn(tools=(WEATHER,)))) == "Hi"


async def test_an_agent_that_depends_on_the_turn_gets_it() -> None:
    assert (
        text(await collect_events(adapt(Agent(TestModel(), deps_type=Turn, tools=[name]), {}), turn()))
        == '{"name":"7"}'
    )


async def test_an_output_that_is_no_text_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="yielded Number"):
        await collect_events(load(f"{HERE}:structured").reply, turn())


def test_an_unknown_option_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as refused:
        load(f"{HERE}:greeter", {"tone": 1})
    reason = 'there is no option "tone" for it; its options: tools'
    assert str(refused.value) == f"{HERE}:greeter is an agent of Pydantic AI, but {reason}"
