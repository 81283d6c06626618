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
from langgraph.types import interrupt as ask

from tests.agents.python.frameworks.chat_model import FakeChatModel, tool_call_pieces
from tests.agents.python.frameworks.turns import FIRST, SECOND, collect_events, interrupt, turn
from voicegw.agents.python.agent import load
from voicegw.agents.python.frameworks.langgraph import adapt
from voicegw.errors import AgentError, ConfigError
from voicegw.events import Activity, Message, Turn, Usage
from voicegw.turns.prompts import SILENCE_PROMPT

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


async def test_turn_that_is_asked_again_is_in_the_thread_once() -> None:
    model = FakeChatModel(answers=[["Hello."], ["Hello again."], ["Bye."]])
    reply_function = adapt(make_graph(model, InMemorySaver()), {})
    for _ in range(2):
        assert (await collect_events(reply_function, turn(*FIRST, call="c")))[0].startswith("Hello")
    assert model.requests == [PAST, PAST]
    await collect_events(reply_function, turn(*SECOND, call="c"))
    assert model.requests[2] == [*PAST, ("ai", "Hello again."), ("human", "Who am I?")]


async def test_turn_after_one_that_failed_is_in_the_thread_once() -> None:
    model = FakeChatModel(answers=[["Hel", None], ["Hello."]], waiting=asyncio.Event())
    reply_function = adapt(make_graph(model, InMemorySaver()), {})
    await interrupt(reply_function, model.waiting)
    await collect_events(reply_function, turn(call="c"))
    assert model.requests == [[("human", "Hi")]] * 2


@pytest.mark.parametrize("kind", ["reminder", "said"])
async def test_reminder_adds_a_prompt_and_repeats_nothing(kind: str) -> None:
    model = FakeChatModel(answers=[["Hello Ann."], ["Still there?"], ["Ann."]])
    reply_function = adapt(make_graph(model, InMemorySaver()), {})
    await collect_events(reply_function, turn(*FIRST, call="c"))
    silent = (*FIRST, Message("assistant", "Hello Ann."))
    await collect_events(reply_function, turn(*silent, call="c", kind=kind))
    reminded = [*PAST, ("ai", "Hello Ann."), ("human", SILENCE_PROMPT)]
    assert model.requests[1] == reminded
    later = (
        *silent,
        Message("assistant", "Still there?"),
        Message("user", "Yes."),
        Message("user", "Who am I?"),
    )
    await collect_events(reply_function, turn(*later, call="c"))
    assert model.requests[2] == [*reminded, ("ai", "Still there?"), ("human", "Yes."), ("human", "Who am I?")]


@pytest.mark.parametrize("heard", ["Hello", "", None])
async def test_answer_of_the_thread_is_cut_to_its_heard_part(heard: str | None) -> None:
    model = FakeChatModel(answers=[["Hello Ann."], ["Ann."]])
    reply_function = adapt(make_graph(model, InMemorySaver()), {})
    await collect_events(reply_function, turn(*FIRST, call="c"))
    await collect_events(reply_function, turn(*SECOND, call="c", heard=heard))
    answer = [("ai", "Hello Ann." if heard is None else heard)] if heard != "" else []
    assert model.requests[1] == [*PAST, *answer, ("human", "Who am I?")]


# Questions of the graph: `interrupt()`


def make_booking(question: Any, memory: InMemorySaver | None = None, says: str = "") -> Any:
    """Return a graph that may say something, then asks, then repeats the answer; the next turn echoes."""

    async def introduce(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(says)] if says else []}

    async def book(state: MessagesState) -> dict[str, Any]:
        asks = state["messages"][0].text == "Book"
        answer = ask(question) if asks and len(state["messages"]) < 3 else state["messages"][-1].text
        return {"messages": [AIMessage(f"You said {answer}.")]}

    builder = StateGraph(MessagesState).add_node(introduce).add_node(book)
    builder.add_edge(START, "introduce").add_edge("introduce", "book")
    return builder.compile(checkpointer=memory or InMemorySaver())


def history(*texts: str) -> Turn:
    """Return a turn of a call in which the caller and the agent spoke by turns."""
    messages = [Message(("user", "assistant")[at % 2], text) for at, text in enumerate(texts)]
    return turn(*messages, call="c")


ASKED = ("Book", "For how many?")
ANSWERED = (*ASKED, "For two", "You said For two.")


@pytest.mark.parametrize("question", ["For how many?", {"id": 1, "question": "For how many?"}])
async def test_a_question_of_the_graph_is_spoken_and_the_next_turn_answers_it(question: Any) -> None:
    memory = InMemorySaver()
    graph = make_booking(question, memory)
    reply = adapt(graph, {})
    assert await collect_events(reply, history("Book")) == ["For how many?"]
    reply = adapt(make_booking(question, memory), {})  # as after a restart of the gateway
    assert await collect_events(reply, history(*ASKED, "For two")) == ["You said For two."]
    assert await collect_events(reply, history(*ANSWERED, "Thanks")) == ["You said Thanks."]
    stored = (await graph.aget_state({"configurable": {"thread_id": "c"}})).values["messages"]
    assert [message.text for message in stored] == ["Book", "You said For two.", "Thanks", "You said Thanks."]


async def test_a_question_follows_the_words_before_it() -> None:
    reply = adapt(make_booking("For how many?", says="Gladly."), {})
    assert await collect_events(reply, history("Book")) == ["Gladly.", "\n\nFor how many?"]


@pytest.mark.parametrize(
    "again",
    [history(*ASKED), turn(Message("user", "Book"), Message("user", "(silence)"), call="c", kind="reminder")],
)
async def test_a_question_is_repeated_if_the_caller_said_nothing(again: Turn) -> None:
    reply = adapt(make_booking("For how many?"), {})
    await collect_events(reply, history("Book"))
    assert await collect_events(reply, again) == ["For how many?"]
    assert await collect_events(reply, history(*ASKED, "For two")) == ["You said For two."]


async def test_questions_of_parallel_nodes_are_asked_one_after_the_other() -> None:
    async def table(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"Table: {ask('Which table?')}. ")]}

    async def time(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"Time: {ask('When?')}. ")]}

    builder = StateGraph(MessagesState).add_node(table).add_node(time)
    builder.add_edge(START, "table").add_edge(START, "time")
    reply = adapt(builder.compile(checkpointer=InMemorySaver()), {})
    assert await collect_events(reply, history("Book")) == ["Which table?"]
    first = history("Book", "Which table?", "Five")
    assert await collect_events(reply, first) == ["Table: Five. ", "\n\nWhen?"]
    second = history("Book", "Which table?", "Five", "Table: Five. When?", "At eight")
    assert await collect_events(reply, second) == ["Time: At eight. "]


async def test_a_question_in_a_tool_keeps_the_tool_call() -> None:
    @tool
    async def book() -> str:
        """Books a table."""
        return f"booked {ask('For how many?')}"

    model = FakeChatModel(answers=[tool_call_pieces("book"), ["Done"], ["Bye"]])

    async def speaker(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node(speaker).add_node("tools", ToolNode([book]))
    builder.add_edge(START, "speaker").add_conditional_edges("speaker", tools_condition)
    reply = adapt(builder.add_edge("tools", "speaker").compile(checkpointer=InMemorySaver()), {})
    assert await collect_events(reply, history("Book")) == [Activity("book"), "For how many?", Usage(5, 2, 3)]
    assert (await collect_events(reply, history(*ASKED, "two")))[0] == "Done"
    assert model.requests[1] == [("human", "Book"), ("ai", ""), ("tool", "booked two")]
    assert (await collect_events(reply, history(*ASKED, "two", "Done", "Bye")))[0] == "Bye"
    assert model.requests[2] == [*model.requests[1], ("ai", "Done"), ("human", "Bye")]


async def test_words_after_an_interrupted_answer_are_a_message() -> None:
    """LangGraph keeps the interrupted answer: the new words would answer a question that was not asked."""
    gate = asyncio.Event()
    said: list[list[str]] = []

    async def book(state: MessagesState) -> dict[str, Any]:
        said.append([message.text for message in state["messages"]])
        answer = ask("For how many?")
        if answer == "two":
            gate.set()
            await asyncio.sleep(60)
        return {"messages": [AIMessage(f"For {answer}, {ask('When?')}.")]}

    builder = StateGraph(MessagesState).add_node(book).add_edge(START, "book")
    reply = adapt(builder.compile(checkpointer=InMemorySaver()), {})
    await collect_events(reply, history("Book"))
    answering = asyncio.create_task(collect_events(reply, history(*ASKED, "two")))
    await gate.wait()
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    messages = (*history(*ASKED, "two").messages, Message("user", "No, stop"))
    assert await collect_events(reply, turn(*messages, call="c")) == ["For how many?"]
    assert said[-1] == ["Book", "For how many?", "two", "No, stop"]
    messages += (Message("assistant", "For how many?"), Message("user", "Four"))
    assert await collect_events(reply, turn(*messages, call="c")) == ["When?"]
    messages += (Message("assistant", "When?"), Message("user", "At eight"))
    assert await collect_events(reply, turn(*messages, call="c")) == ["For Four, At eight."]


@pytest.mark.parametrize("question", [5, {"action": "book"}, {"question": ["For how many?"]}, ""])
async def test_an_interrupt_without_a_text_fails_and_the_next_turn_goes_on(question: Any) -> None:
    reply = adapt(make_booking(question), {})
    with pytest.raises(AgentError, match="its interrupt holds no text to ask"):
        await collect_events(reply, history("Book"))
    messages = (Message("user", "Book"), Message("user", "Please"), Message("user", "Hello?"))
    assert await collect_events(reply, turn(*messages, call="c")) == ["You said Hello?."]


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
