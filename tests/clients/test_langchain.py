"""LangChain's ChatOpenAI by both APIs: tools over two steps, objects, histories, failures, interruptions."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Literal

import openai
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI

from tests.clients.trip import ANSWER, FIRST_WORDS, QUESTION, ROME, TOOLS, Answer
from tests.e2e.server import TIMEOUT, Server, wait_until

pytestmark = pytest.mark.wire

BOTH_APIS = pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
LANGCHAIN_TOOLS = {name: StructuredTool.from_function(tool, name=name) for name, tool in TOOLS.items()}
STREAMED = pytest.mark.parametrize("streamed", [True, False])


def chat_model(server: Server, model: str, responses: bool, **options: Any) -> ChatOpenAI:
    fields = {"api_key": "none", "max_retries": 0, "timeout": TIMEOUT, **options}
    return ChatOpenAI(base_url=f"{server.url}/v1", model=model, use_responses_api=responses, **fields)


def ask(model: Any, messages: list[BaseMessage], streamed: bool) -> Any:
    """Return the model's message; a streamed one is the sum of its chunks."""
    if not streamed:
        return model.invoke(messages)
    first, *chunks = model.stream(messages)
    return sum(chunks, first)


def run_tools(message: AIMessage) -> list[ToolMessage]:
    return [LANGCHAIN_TOOLS[call["name"]].invoke(call) for call in message.tool_calls]


@STREAMED
@BOTH_APIS
def test_tools_are_called_over_two_steps(gateway: Server, trip: str, responses: bool, streamed: bool) -> None:
    model = chat_model(gateway, trip, responses).bind_tools(LANGCHAIN_TOOLS.values())
    messages: list[BaseMessage] = [HumanMessage(QUESTION)]
    words = []
    while not words or messages[-1].type == "tool":
        answer = ask(model, messages, streamed)
        words.append(answer.text)
        messages += [answer, *run_tools(answer)]
    assert words == [FIRST_WORDS, "", ANSWER]


@STREAMED
@BOTH_APIS
def test_message_has_the_reason_and_the_usage(gateway: Server, responses: bool, streamed: bool) -> None:
    model = chat_model(gateway, "trip", responses, stream_usage=True).bind_tools(LANGCHAIN_TOOLS.values())
    answer = ask(model, [HumanMessage(QUESTION)], streamed)
    usage = answer.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (10, 4, 14)
    assert usage["input_token_details"]["cache_read"] == 2
    assert usage["output_token_details"]["reasoning"] == 1
    assert answer.response_metadata["status" if responses else "finish_reason"] == (
        "completed" if responses else "tool_calls"
    )
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Paris"}, {"city": "Rome"}]


# langchain-openai serializes the parsed object of the SDK by a model without its type.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@BOTH_APIS
def test_structured_output_is_the_object(
    gateway: Server, responses: bool, method: Literal["json_schema", "function_calling", "json_mode"]
) -> None:
    model = chat_model(gateway, "structured", responses).with_structured_output(Answer, method=method)
    assert model.invoke("Where, as JSON?") == ROME
    assert list(model.stream("Where, as JSON?"))[-1] == ROME


@BOTH_APIS
def test_history_reaches_the_agent(gateway: Server, responses: bool) -> None:
    model = chat_model(gateway, "history", responses)
    messages = [SystemMessage("Be brief."), HumanMessage("One"), AIMessage("Two"), HumanMessage("Three")]
    assert model.invoke(messages).text == "system: Be brief. | user: One | assistant: Two | user: Three"


def test_stored_response_stands_for_the_history(gateway: Server) -> None:
    model = chat_model(gateway, "history", responses=True, use_previous_response_id=True)
    first = ask(model, [HumanMessage("One")], streamed=True)
    second = model.invoke([HumanMessage("One"), first, HumanMessage("Two")])
    assert second.text == "user: One | assistant: user: One | user: Two"


@pytest.mark.parametrize(
    ("failure", "error", "status"),
    [("AgentError", openai.InternalServerError, 502), ("AgentBusy", openai.InternalServerError, 503)],
)
@BOTH_APIS
def test_failing_agent_raises_the_exception_of_its_status(
    gateway: Server, responses: bool, failure: str, error: type[openai.APIStatusError], status: int
) -> None:
    with pytest.raises(error) as raised:
        chat_model(gateway, "failing", responses).invoke(failure)
    assert raised.value.status_code == status


@BOTH_APIS
def test_unknown_model_is_not_found(gateway: Server, responses: bool) -> None:
    with pytest.raises(openai.NotFoundError):
        list(chat_model(gateway, "unknown", responses).stream("Hi"))


@BOTH_APIS
def test_object_that_breaks_off_raises(gateway: Server, responses: bool) -> None:
    model = chat_model(gateway, "breaking", responses).with_structured_output(Answer, method="json_schema")
    with pytest.raises(Exception, match="The agent failed"):
        list(model.stream("Where?"))


@BOTH_APIS
async def test_closing_the_stream_stops_the_agent(gateway: Server, responses: bool) -> None:
    name = f"langchain-{responses}"
    async with aclosing(chat_model(gateway, "waiting", responses).astream(name)) as stream:
        async for chunk in stream:
            if chunk.text == "Well":
                break
    await asyncio.to_thread(wait_until, (gateway.folder / name).exists)
