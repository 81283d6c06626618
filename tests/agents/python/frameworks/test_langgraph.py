"""LangGraph's graphs, around a chat model of LangChain."""

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

from tests.agents.python.frameworks.asking import FIRST, SECOND, interrupt, told, turn
from tests.agents.python.frameworks.chatting import Chatting, calling
from voicegw.agents.python.agent import load
from voicegw.agents.python.frameworks.langgraph import adapt
from voicegw.errors import ConfigError
from voicegw.events import Activity, Message, Usage

pytestmark = pytest.mark.wire  # LangGraph asks a plain function where to go on in a thread

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
    if gates:
        gates[0].set()
        await asyncio.sleep(60)
    return "open"


gates: list[asyncio.Event] = []


def graph(model: Chatting, memory: InMemorySaver | None = None) -> Any:
    async def speaker(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    built = StateGraph(MessagesState).add_node(speaker).add_node("tools", ToolNode([door]))
    built.add_edge(START, "speaker").add_conditional_edges("speaker", tools_condition)
    return built.add_edge("tools", "speaker").compile(checkpointer=memory)


async def test_a_graph_is_detected_and_the_answer_of_a_node_is_spoken() -> None:
    assert await told(load(f"{HERE}:compiled").reply, turn()) == ["Fixed"]


async def test_a_tool_of_the_graph_is_an_activity_and_text_streams() -> None:
    model = Chatting(lines=[calling("door"), ["It is ", "open"]])
    events = await told(adapt(graph(model), {}), turn())
    assert events == [Activity("door"), "It is ", "open", Usage(5, 2, 3)]
    assert model.asked[1] == [("human", "Hi"), ("ai", ""), ("tool", "open")]


async def test_a_barge_in_stops_the_model() -> None:
    model = Chatting(lines=[["One", None]], waiting=asyncio.Event())
    assert await interrupt(adapt(graph(model), {}), model.waiting) == ["One"]
    assert model.log == ["stopped"]


async def test_without_a_checkpointer_the_history_is_the_turns() -> None:
    model = Chatting(lines=[["Hello Ann."], ["Ann."]])
    replying = adapt(graph(model), {})
    await told(replying, turn(*FIRST, call="c"))
    await told(replying, turn(*SECOND, call="c"))
    assert model.asked == [PAST, [*PAST, ("ai", "Hello Ann."), ("human", "Who am I?")]]


async def test_with_a_checkpointer_a_call_is_a_thread_that_gets_only_new_messages() -> None:
    model = Chatting(lines=[calling("door"), ["Hello Ann."], ["Ann."], ["Hi"]])
    replying = adapt(graph(model, InMemorySaver()), {})
    await told(replying, turn(*FIRST, call="c"))
    await told(replying, turn(*SECOND, call="c"))
    worked = [*PAST, ("ai", ""), ("tool", "open")]
    assert model.asked[2] == [*worked, ("ai", "Hello Ann."), ("human", "Who am I?")]
    await told(replying, turn(*FIRST, call="other"))
    assert model.asked[3] == PAST


async def test_the_thread_of_a_turn_without_a_call_is_deleted() -> None:
    memory = InMemorySaver()
    replying = adapt(graph(Chatting(lines=[["Hi"], ["Hi"]]), memory), {})
    await told(replying, turn(call="c"))
    await told(replying, turn())
    assert list(memory.storage) == ["c"]


@pytest.mark.parametrize("heard", ["", "Hel"])
async def test_an_interrupted_answer_is_remembered_as_it_was_heard(heard: str) -> None:
    model = Chatting(lines=[["Hel", None], ["Yes?"]], waiting=asyncio.Event())
    replying = adapt(graph(model, InMemorySaver()), {})
    await interrupt(replying, model.waiting)
    assistant = (Message("assistant", heard),) if heard else ()
    await told(replying, turn(Message("user", "Hi"), *assistant, Message("user", "Wait"), call="c"))
    said = [("ai", heard)] if heard else []
    assert model.asked[1] == [("human", "Hi"), *said, ("human", "Wait")]


async def test_an_interrupted_tool_call_is_removed_from_the_thread() -> None:
    model = Chatting(lines=[calling("door"), ["Yes?"]])
    replying = adapt(graph(model, InMemorySaver()), {})
    gates.append(asyncio.Event())
    try:
        assert await interrupt(replying, gates[0]) == [Activity("door")]
    finally:
        gates.clear()
    assert (await told(replying, turn(Message("user", "Hi"), Message("user", "Wait"), call="c")))[0] == "Yes?"
    assert model.asked[1] == [("human", "Hi"), ("human", "Wait")]


async def test_only_the_named_nodes_speak() -> None:
    model = Chatting(lines=[["Secret"]])

    async def thinker(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage(str((await model.ainvoke("?")).text))]}

    built = StateGraph(MessagesState).add_node(thinker).add_node(fixed)
    built.add_edge(START, "thinker").add_edge("thinker", "fixed").add_edge("fixed", END)
    assert await told(adapt(built.compile(), {"nodes": ["fixed"]}), turn()) == ["Fixed"]


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
