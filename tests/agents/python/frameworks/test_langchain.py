"""LangChain's runnables: chat models and chains."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("langchain_core")

from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda

from tests.agents.python.frameworks.asking import FIRST, SECOND, interrupt, text, told, turn
from tests.agents.python.frameworks.chatting import Chatting, calling
from voicegw.agents.python.agent import load
from voicegw.agents.python.frameworks.langchain import adapt
from voicegw.errors import AgentProtocolError, ConfigError
from voicegw.events import Activity, Message, Tool, ToolCall, Usage

HERE = __name__
WEATHER = Tool("weather")
parrot = FakeListChatModel(responses=["Hi"])
counting = RunnableLambda(lambda messages: len(messages))
many = ChatPromptTemplate.from_template("{one} {two} {three}") | parrot


@pytest.mark.wire
async def test_a_chat_model_is_detected_and_its_text_streams() -> None:
    assert await told(load(f"{HERE}:parrot").reply, turn()) == ["H", "i"]
    model = GenericFakeChatModel(messages=iter([AIMessage("Hello you")]))
    assert await told(adapt(model, {}), turn()) == ["Hello", " ", "you"]


@pytest.mark.wire
async def test_a_model_that_cannot_bind_tools_is_asked_without_them() -> None:
    assert text(await told(adapt(FakeListChatModel(responses=["Hi"]), {}), turn(tools=(WEATHER,)))) == "Hi"


async def test_history_and_system_messages_reach_the_model() -> None:
    model = Chatting(lines=[["Hello ", "Ann."], ["Ann."]])
    replying = adapt(model, {})
    assert await told(replying, turn(*FIRST)) == ["Hello ", "Ann."]
    assert await told(replying, turn(*SECOND)) == ["Ann."]
    first = [("system", "Be brief."), ("human", "I am Ann.")]
    assert model.asked == [first, [*first, ("ai", "Hello Ann."), ("human", "Who am I?")]]


async def test_a_barge_in_stops_the_model() -> None:
    model = Chatting(lines=[["One", None]], waiting=asyncio.Event())
    assert await interrupt(adapt(model, {}), model.waiting) == ["One"]
    assert model.log == ["stopped"]


async def test_a_tool_of_the_platform_is_called_and_its_result_read() -> None:
    model = Chatting(lines=[calling("weather", '{"at":1}'), ["Sunny"]])
    replying = adapt(model, {})
    asked = turn(tools=(WEATHER,))
    call = ToolCall("c1", "weather", '{"at":1}')
    assert await told(replying, asked) == [call, Usage(5, 2, 3)]
    answered = (Message("assistant", tool_calls=(call,)), Message("tool", "sun", tool_call_id="c1"))
    assert await told(replying, turn(*asked.messages, *answered, tools=(WEATHER,))) == ["Sunny"]
    assert model.bound == [["weather"], ["weather"]]
    assert model.asked[1] == [("human", "Hi"), ("ai", ""), ("tool", "sun")]


@pytest.mark.parametrize("arguments", ["[1]", '{"at":', '{"at":"\ud83d"}'])
async def test_a_tool_call_with_invalid_arguments_does_not_break_later_turns(arguments: str) -> None:
    model = Chatting(lines=[["Sunny"]])
    past = Message("assistant", tool_calls=(ToolCall("c1", "weather", arguments),))
    asked = turn(past, Message("tool", "sun", tool_call_id="c1"), Message("user", "So?"))
    assert await told(adapt(model, {}), asked) == ["Sunny"]


async def test_a_tool_of_the_agent_is_an_activity() -> None:
    assert await told(adapt(Chatting(lines=[calling("door")]), {}), turn()) == [
        Activity("door"),
        Usage(5, 2, 3),
    ]


@pytest.mark.wire
async def test_a_prompt_gets_the_values_of_its_variables() -> None:
    model = Chatting(lines=[["One"], ["Two"]])
    prompt = ChatPromptTemplate(
        [("system", "You are {who}."), MessagesPlaceholder("past"), ("human", "{words}")]
    )
    replying = adapt(prompt | model | StrOutputParser(), {"who": "Bo"})
    assert await told(replying, turn(*SECOND)) == ["One"]
    past = [("system", "Be brief."), ("human", "I am Ann."), ("ai", "Hello Ann.")]
    assert model.asked == [[("system", "You are Bo."), *past, ("human", "Who am I?")]]
    whole = ChatPromptTemplate([MessagesPlaceholder("messages")])
    assert await told(adapt(whole | model, {}), turn(*SECOND)) == ["Two"]
    assert model.asked[1] == [*past, ("human", "Who am I?")]


@pytest.mark.wire
async def test_an_output_that_is_no_text_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="yielded int"):
        await told(load(f"{HERE}:counting").reply, turn())


def test_a_prompt_with_unfilled_variables_is_refused_at_start() -> None:
    with pytest.raises(ConfigError) as refused:
        load(f"{HERE}:many", {"one": 1})
    says = "its prompt has several variables (three, two); fill all but the caller's words by options"
    assert str(refused.value) == f"{HERE}:many is a LangChain runnable, but {says}"
