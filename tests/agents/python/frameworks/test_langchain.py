"""LangChain's runnables as agents: chat models and chains."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("langchain_core")

from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda

from tests.agents.python.frameworks.chat_model import FakeChatModel, tool_call_pieces
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
from voicegw.agents.python.frameworks.langchain import adapt
from voicegw.errors import AgentProtocolError, ConfigError
from voicegw.events import Activity, Message, Tool, ToolCall, Usage

HERE = __name__
WEATHER = Tool("weather")
parrot = FakeListChatModel(responses=["Hi"])
counting = RunnableLambda(lambda messages: len(messages))
unfilled = ChatPromptTemplate.from_template("{one} {two} {three}") | parrot


@pytest.mark.wire
async def test_a_chat_model_is_detected_and_its_text_streams() -> None:
    assert await collect_events(load(f"{HERE}:parrot").reply, turn()) == ["H", "i"]
    model = GenericFakeChatModel(messages=iter([AIMessage("Hello you")]))
    assert await collect_events(adapt(model, {}), turn()) == ["Hello", " ", "you"]


@pytest.mark.wire
async def test_a_model_that_cannot_bind_tools_is_asked_without_them() -> None:
    assert (
        text(await collect_events(adapt(FakeListChatModel(responses=["Hi"]), {}), turn(tools=(WEATHER,))))
        == "Hi"
    )


async def test_history_and_system_messages_reach_the_model() -> None:
    model = FakeChatModel(answers=[["Hello ", "Ann."], ["Ann."]])
    reply_function = adapt(model, {})
    assert await collect_events(reply_function, turn(*FIRST)) == ["Hello ", "Ann."]
    assert await collect_events(reply_function, turn(*SECOND)) == ["Ann."]
    first = [("system", "Be brief."), ("human", "I am Ann.")]
    assert model.requests == [first, [*first, ("ai", "Hello Ann."), ("human", "Who am I?")]]


async def test_history_is_valid_for_strict_servers() -> None:
    model = FakeChatModel(answers=[["Bye."], ["Bye."]])
    await collect_events(adapt(model, {}), turn(*CUT_OFF))
    prompt = ChatPromptTemplate([MessagesPlaceholder("history"), ("human", "{words}")])
    await collect_events(adapt(prompt | model, {}), turn(*CUT_OFF))
    result = (("tool", INTERRUPTED_RESULT), ("ai", SILENT_ANSWER))
    request = [("human", "How is it?"), ("ai", ""), *result, ("human", "Never mind.\n\nBye.")]
    assert model.requests == [request, request]


async def test_a_prompt_without_words_of_the_caller_is_filled() -> None:
    model = FakeChatModel(answers=[["Hello."]])
    prompt = ChatPromptTemplate([MessagesPlaceholder("history"), ("human", "{words}")])
    await collect_events(adapt(prompt | model, {}), turn(Message("assistant", "Hi?")))
    assert model.requests == [[("ai", "Hi?"), ("human", "")]]


async def test_a_barge_in_stops_the_model() -> None:
    model = FakeChatModel(answers=[["One", None]], waiting=asyncio.Event())
    assert await interrupt(adapt(model, {}), model.waiting) == ["One"]
    assert model.log == ["stopped"]


async def test_a_tool_of_the_platform_is_called_and_its_result_read() -> None:
    model = FakeChatModel(answers=[tool_call_pieces("weather", '{"at":1}'), ["Sunny"]])
    reply_function = adapt(model, {})
    first = turn(tools=(WEATHER,))
    call = ToolCall("c1", "weather", '{"at":1}')
    assert await collect_events(reply_function, first) == [call, Usage(5, 2, 3)]
    answered = (Message("assistant", tool_calls=(call,)), Message("tool", "sun", tool_call_id="c1"))
    assert await collect_events(reply_function, turn(*first.messages, *answered, tools=(WEATHER,))) == [
        "Sunny"
    ]
    assert model.bound_tools == [["weather"], ["weather"]]
    assert model.requests[1] == [("human", "Hi"), ("ai", ""), ("tool", "sun")]


@pytest.mark.parametrize("arguments", ["[1]", '{"at":', '{"at":"\ud83d"}'])
async def test_a_tool_call_with_invalid_arguments_does_not_break_later_turns(arguments: str) -> None:
    model = FakeChatModel(answers=[["Sunny"]])
    past = Message("assistant", tool_calls=(ToolCall("c1", "weather", arguments),))
    first = turn(past, Message("tool", "sun", tool_call_id="c1"), Message("user", "So?"))
    assert await collect_events(adapt(model, {}), first) == ["Sunny"]


async def test_a_tool_of_the_agent_is_an_activity() -> None:
    assert await collect_events(adapt(FakeChatModel(answers=[tool_call_pieces("door")]), {}), turn()) == [
        Activity("door"),
        Usage(5, 2, 3),
    ]


@pytest.mark.wire
async def test_a_prompt_gets_the_values_of_its_variables() -> None:
    model = FakeChatModel(answers=[["One"], ["Two"]])
    prompt = ChatPromptTemplate(
        [("system", "You are {who}."), MessagesPlaceholder("past"), ("human", "{words}")]
    )
    reply_function = adapt(prompt | model | StrOutputParser(), {"who": "Bo"})
    assert await collect_events(reply_function, turn(*SECOND)) == ["One"]
    past = [("system", "Be brief."), ("human", "I am Ann."), ("ai", "Hello Ann.")]
    assert model.requests == [[("system", "You are Bo."), *past, ("human", "Who am I?")]]
    messages_only = ChatPromptTemplate([MessagesPlaceholder("messages")])
    assert await collect_events(adapt(messages_only | model, {}), turn(*SECOND)) == ["Two"]
    assert model.requests[1] == [*past, ("human", "Who am I?")]


@pytest.mark.wire
async def test_an_output_that_is_no_text_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="yielded int"):
        await collect_events(load(f"{HERE}:counting").reply, turn())


def test_a_prompt_with_unfilled_variables_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as refused:
        load(f"{HERE}:unfilled", {"one": 1})
    reason = "its prompt has several variables (three, two); fill all but the caller's words by options"
    assert str(refused.value) == f"{HERE}:unfilled is a LangChain runnable, but {reason}"
