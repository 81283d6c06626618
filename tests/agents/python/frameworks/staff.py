"""The same desk, made with each framework: a model that says what it was given to say, and a tool, `door`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

LOOK = "(looks at the door)"
"""A line of a model's that is a call of the tool."""
ROLES = {
    "user": "user",
    "human": "user",
    "user-prompt": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "text": "assistant",
}
"""By what each framework calls them."""
Said = list[tuple[str, str]]


@dataclass
class Desk:
    """An agent and what is known of it. `asked` is what its model got, as often as it was asked."""

    lines: list[Any]
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Any] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    agent: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    async def look(self) -> str:
        """Looks at the door."""
        await self.opened.wait()
        return "open"

    @property
    def histories(self) -> list[Said]:
        """What caller and agent had said, each time the model was asked."""
        return [[(ROLES[who], text) for who, text in said if text and who in ROLES] for said in self.asked]


def langchain(desk: Desk) -> None:
    """A runnable of one's own, that asks a chat model and runs what it calls."""
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
    from langchain_core.runnables import RunnableGenerator

    model = chat_model(desk)

    async def steps(given: AsyncIterator[list[BaseMessage]]) -> AsyncIterator[AIMessage]:
        async for messages in given:
            whole: Any = None
            async for piece in model.astream(messages):
                whole = piece if whole is None else whole + piece
                yield piece
            if whole.tool_calls:
                found = ToolMessage(await desk.look(), tool_call_id=whole.tool_calls[0]["id"])
                async for piece in model.astream([*messages, whole, found]):
                    yield piece

    desk.agent = RunnableGenerator(steps)


def langgraph(desk: Desk) -> None:
    """A graph that keeps the conversation itself."""
    from langchain_core.tools import StructuredTool
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    model = chat_model(desk)

    async def speaker(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    door = StructuredTool.from_function(coroutine=desk.look, name="door")
    built = StateGraph(MessagesState).add_node(speaker).add_node("tools", ToolNode([door]))
    built.add_edge(START, "speaker").add_conditional_edges("speaker", tools_condition)
    desk.agent = built.add_edge("tools", "speaker").compile(checkpointer=InMemorySaver())


def chat_model(desk: Desk) -> Any:
    from tests.agents.python.frameworks.chatting import Chatting, calling

    lines = [calling("door") if line is LOOK else line for line in desk.lines]
    model = Chatting(lines=lines, waiting=desk.waiting)
    desk.asked, desk.log = model.asked, model.log
    return model


def openai_agents(desk: Desk) -> None:
    from agents import Agent, function_tool

    from tests.agents.python.frameworks.test_openai_agents import Chatting, calling

    class Model(Chatting):
        async def stream_response(
            self, instructions: Any, input: Any, *_: Any, **__: Any
        ) -> AsyncIterator[Any]:
            desk.asked.append([(item["role"], item["content"]) for item in input if "role" in item])
            async for event in super().stream_response(instructions, input):
                yield event

    model = Model(*(calling("door") if line is LOOK else line for line in desk.lines))
    model.waiting, model.log = desk.waiting, desk.log
    door = function_tool(desk.look, name_override="door")
    desk.options = {"tracing": False}
    desk.agent = Agent("desk", model=model, tools=[door])


def pydantic_ai(desk: Desk) -> None:
    from pydantic_ai import Agent, Tool
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        parts = [part for message in messages for part in message.parts]
        desk.asked.append([(part.part_kind, getattr(part, "content", "")) for part in parts])
        line = desk.lines.pop(0)
        if line is LOOK:
            yield {0: DeltaToolCall("door", "{}", tool_call_id="c1")}
            return
        for piece in line:
            if piece is None:
                await stopped(desk)
            yield piece

    desk.agent = Agent(FunctionModel(stream_function=stream), tools=[Tool(desk.look, name="door")])


async def stopped(desk: Desk) -> None:
    """Wait to be cancelled."""
    desk.waiting.set()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        desk.log.append("stopped")
        raise


FRAMEWORKS = {
    "langgraph": langgraph,
    "langchain_core": langchain,
    "agents": openai_agents,
    "pydantic_ai": pydantic_ai,
}
"""By what must be installed."""
