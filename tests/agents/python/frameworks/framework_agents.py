"""The same agent, made with each framework: a fake model with given answers, and a tool, `door`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

TOOL_CALL = "(calls the tool)"
"""An answer of the model that is a call of the tool."""
ROLES = {
    "user": "user",
    "human": "user",
    "user-prompt": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "text": "assistant",
}
"""Roles by the names that the frameworks have for them."""
Dialog = list[tuple[str, str]]


@dataclass
class FrameworkAgent:
    """An agent whose model gives these answers, and a record of what happened."""

    # Each is `TOOL_CALL` or a list of pieces; None in it waits until it is cancelled.
    answers: list[Any]
    # Set when the model waits.
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    # Set by a test to let the tool return.
    tool_may_return: asyncio.Event = field(default_factory=asyncio.Event)
    # The messages of each request to the model.
    requests: list[Any] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    agent: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    async def check_door(self) -> str:
        """Looks at the door."""
        await self.tool_may_return.wait()
        return "open"

    @property
    def histories(self) -> list[Dialog]:
        """The messages of the caller and the agent in each request to the model."""
        return [
            [(ROLES[role], text) for role, text in messages if text and role in ROLES]
            for messages in self.requests
        ]


def make_langchain(record: FrameworkAgent) -> None:
    """Make a runnable that asks a chat model and runs its tool calls."""
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
    from langchain_core.runnables import RunnableGenerator

    model = make_chat_model(record)

    async def steps(inputs: AsyncIterator[list[BaseMessage]]) -> AsyncIterator[AIMessage]:
        async for messages in inputs:
            merged: Any = None
            async for piece in model.astream(messages):
                merged = piece if merged is None else merged + piece
                yield piece
            if merged.tool_calls:
                result = ToolMessage(await record.check_door(), tool_call_id=merged.tool_calls[0]["id"])
                async for piece in model.astream([*messages, merged, result]):
                    yield piece

    record.agent = RunnableGenerator(steps)


def make_langgraph(record: FrameworkAgent) -> None:
    """Make a graph that stores the conversation."""
    from langchain_core.tools import StructuredTool
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    model = make_chat_model(record)

    async def speaker(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    door = StructuredTool.from_function(coroutine=record.check_door, name="door")
    built = StateGraph(MessagesState).add_node(speaker).add_node("tools", ToolNode([door]))
    built.add_edge(START, "speaker").add_conditional_edges("speaker", tools_condition)
    record.agent = built.add_edge("tools", "speaker").compile(checkpointer=InMemorySaver())


def make_chat_model(record: FrameworkAgent) -> Any:
    from tests.agents.python.frameworks.chat_model import FakeChatModel, tool_call_pieces

    answers = [tool_call_pieces("door") if answer is TOOL_CALL else answer for answer in record.answers]
    model = FakeChatModel(answers=answers, waiting=record.waiting)
    record.requests, record.log = model.requests, model.log
    return model


def make_openai_agents(record: FrameworkAgent) -> None:
    from agents import Agent, function_tool

    from tests.agents.python.frameworks.test_openai_agents import FakeModel, tool_call

    class Model(FakeModel):
        async def stream_response(
            self, instructions: Any, input: Any, *_: Any, **__: Any
        ) -> AsyncIterator[Any]:
            record.requests.append([(item["role"], item["content"]) for item in input if "role" in item])
            async for event in super().stream_response(instructions, input):
                yield event

    model = Model(*(tool_call("door") if answer is TOOL_CALL else answer for answer in record.answers))
    model.waiting, model.log = record.waiting, record.log
    door = function_tool(record.check_door, name_override="door")
    record.options = {"tracing": False}
    record.agent = Agent("receptionist", model=model, tools=[door])


def make_pydantic_ai(record: FrameworkAgent) -> None:
    from pydantic_ai import Agent, Tool
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        parts = [part for message in messages for part in message.parts]
        record.requests.append([(part.part_kind, getattr(part, "content", "")) for part in parts])
        answer = record.answers.pop(0)
        if answer is TOOL_CALL:
            yield {0: DeltaToolCall("door", "{}", tool_call_id="c1")}
            return
        for piece in answer:
            if piece is None:
                await wait_until_cancelled(record)
            yield piece

    record.agent = Agent(FunctionModel(stream_function=stream), tools=[Tool(record.check_door, name="door")])


async def wait_until_cancelled(record: FrameworkAgent) -> None:
    """Wait until the model is cancelled, and log it."""
    record.waiting.set()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        record.log.append("stopped")
        raise


FRAMEWORKS = {
    "langgraph": make_langgraph,
    "langchain_core": make_langchain,
    "agents": make_openai_agents,
    "pydantic_ai": make_pydantic_ai,
}
"""Functions that make an agent, by the package that must be installed."""
