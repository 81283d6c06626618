"""LangGraph's graphs as agents, around a fake chat model of LangChain."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph")

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.agents.python.frameworks.chat_model import FakeChatModel, tool_call_pieces
from tests.agents.python.frameworks.turns import FIRST, SECOND, collect_events, interrupt, turn
from voicegw.agents.python.agent import load
from voicegw.agents.python.frameworks.langgraph import adapt
from voicegw.errors import ConfigError
from voicegw.events import Activity, Message, Usage

pytestmark = pytest.mark.wire  # LangGraph runs plain functions in a thread

HERE = __name__
PAST = [("system", "Be brief."), ("human", "I am Ann.")]


class Count(TypedDict):
    number: int


async def fixed(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Fixed")]}


async def counted(state: Count) -> dict[str, Any]:
    return {"number": 1}


uncompiled = StateGraph(MessagesState).add_node(fixed).add_edge(START, "fixed")
compiled = uncompiled.compile()
numbers = StateGraph(Count).add_node(counted).add_edge(START, "counted").compile()


@tool
async def door() -> str:
    """Looks at the door."""
    if tool_gates:
        tool_gates[0].set()
        await asyncio.sleep(60)
    return "open"


tool_gates: list[asyncio.Event] = []


def make_graph(model: FakeChatModel, memory: InMemorySaver | None = None) -> Any:
    async def speaker(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node(speaker).add_node("tools", ToolNode([door]))
    builder.add_edge(START, "speaker").add_conditional_edges("speaker", tools_condition)
    return builder.add_edge("tools", "speaker").compile(checkpointer=memory)


async def test_a_graph_is_detected_and_the_answer_of_a_node_is_spoken() -> None:
    assert await collect_events(load(f"{HERE}:compiled").reply, turn()) == ["Fixed"]


async def test_a_tool_of_the_graph_is_an_activity_and_text_streams() -> None:
    model = FakeChatModel(answers=[tool_call_pieces("door"), ["It is ", "open"]])
    events = await collect_events(adapt(make_graph(model), {}), turn())
    assert events == [Activity("door"), "It is ", "open", Usage(5, 2, 3)]
    assert model.requests[1] == [("human", "Hi"), ("ai", ""), ("tool", "open")]


async def test_a_barge_in_stops_the_model() -> None:
    model = FakeChatModel(answers=[["One", None]], waiting=asyncio.Event())
    assert await interrupt(adapt(make_graph(model), {}), model.waiting) == ["One"]
    assert model.log == ["stopped"]


async def test_without_a_checkpointer_the_history_is_the_turns() -> None:
    model = FakeChatModel(answers=[["Hello Ann."], ["Ann."]])
    reply_function = adapt(make_graph(model), {})
    await collect_events(reply_function, turn(*FIRST, call="c"))
    await collect_events(reply_function, turn(*SECOND, call="c"))
    assert model.requests == [PAST, [*PAST, ("ai", "Hello Ann."), ("human", "Who am I?")]]


async def test_with_a_checkpointer_a_call_is_a_thread_that_gets_only_new_messages() -> None:
    model = FakeChatModel(answers=[tool_call_pieces("door"), ["Hello Ann."], ["Ann."], ["Hi"]])
    reply_function = adapt(make_graph(model, InMemorySaver()), {})
    await collect_events(reply_function, turn(*FIRST, call="c"))
    await collect_events(reply_function, turn(*SECOND, call="c"))
    with_tool = [*PAST, ("ai", ""), ("tool", "open")]
    assert model.requests[2] == [*with_tool, ("ai", "Hello Ann."), ("human", "Who am I?")]
    await collect_events(reply_function, turn(*FIRST, call="other"))
    assert model.requests[3] == PAST


async def test_the_thread_of_a_turn_without_a_call_is_deleted() -> None:
    memory = InMemorySaver()
    reply_function = adapt(make_graph(FakeChatModel(answers=[["Hi"], ["Hi"]]), memory), {})
    await collect_events(reply_function, turn(call="c"))
    await collect_events(reply_function, turn())
    assert list(memory.storage) == ["c"]


@pytest.mark.parametrize("heard", ["", "Hel"])
async def test_an_interrupted_answer_is_remembered_as_it_was_heard(heard: str) -> None:
    model = FakeChatModel(answers=[["Hel", None], ["Yes?"]], waiting=asyncio.Event())
    reply_function = adapt(make_graph(model, InMemorySaver()), {})
    await interrupt(reply_function, model.waiting)
    assistant = (Message("assistant", heard),) if heard else ()
    await collect_events(
        reply_function, turn(Message("user", "Hi"), *assistant, Message("user", "Wait"), call="c")
    )
    answer = [("ai", heard)] if heard else []
    assert model.requests[1] == [("human", "Hi"), *answer, ("human", "Wait")]


async def test_an_interrupted_tool_call_is_removed_from_the_thread() -> None:
    model = FakeChatModel(answers=[tool_call_pieces("door"), ["Yes?"]])
    reply_function = adapt(make_graph(model, InMemorySaver()), {})
    tool_gates.append(asyncio.Event())
    try:
        assert await interrupt(reply_function, tool_gates[0]) == [Activity("door")]
    finally:
        tool_gates.clear()
    assert (
        await collect_events(reply_function, turn(Message("user", "Hi"), Message("user", "Wait"), call="c"))
    )[0] == "Yes?"
    assert model.requests[1] == [("human", "Hi"), ("human", "Wait")]


async def test_only_the_named_nodes_speak() -> None:
    model = FakeChatModel(answers=[["Secret"]])

    async def thinker(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(str((await model.ainvoke("?")).text))]}

    builder = StateGraph(MessagesState).add_node(thinker).add_node(fixed)
    builder.add_edge(START, "thinker").add_edge("thinker", "fixed").add_edge("fixed", END)
    assert await collect_events(adapt(builder.compile(), {"nodes": ["fixed"]}), turn()) == ["Fixed"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("uncompiled", {}, "is a graph that is not compiled; name what its `compile()` returns"),
        ("numbers", {}, "is a LangGraph graph, but its state has no `messages`"),
        (
            "compiled",
            {"nodes": ["x"]},
            'is a LangGraph graph, but it has no node "x"; its nodes: __start__, fixed',
        ),
    ],
)
def test_a_graph_that_cannot_speak_is_refused_at_start(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(f"{HERE}:{name}", options)
    assert str(refused.value) == f"{HERE}:{name} {message}"
