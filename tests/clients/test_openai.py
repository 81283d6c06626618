"""OpenAI's SDK: tools over two steps, objects, and timeouts, by both APIs (tests/e2e has all else)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.clients.trip import ANSWER, FIRST_WORDS, QUESTION, ROME, TOOLS, Answer
from tests.e2e.server import TIMEOUT, Server, wait_until

pytestmark = pytest.mark.wire

STREAMED = pytest.mark.parametrize("streamed", [True, False])


class City(BaseModel):
    """The arguments of both tools."""

    city: str


DECLARATIONS: list[Any] = [openai.pydantic_function_tool(City, name=name) for name in TOOLS]


@pytest.fixture
def sdk(gateway: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=TIMEOUT) as sdk:
        yield sdk


def run_tool(name: str, arguments: Any) -> str:
    assert isinstance(arguments, City), "the SDK parses the arguments of strict tools"
    return TOOLS[name](arguments.city)


def chat(sdk: OpenAI, streamed: bool, **request: Any) -> Any:
    """Return the choice of a completion that the SDK parsed."""
    if not streamed:
        [choice] = sdk.chat.completions.parse(**request).choices
        return choice
    with sdk.chat.completions.stream(**request) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "content.delta")
        [choice] = stream.get_final_completion().choices
    assert (choice.message.content or "") == deltas
    return choice


def respond(sdk: OpenAI, streamed: bool, **request: Any) -> Any:
    """Return a response that the SDK parsed."""
    if not streamed:
        return sdk.responses.parse(**request)
    with sdk.responses.stream(**request) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        response = stream.get_final_response()
    assert response.output_text == deltas
    return response


@STREAMED
def test_chat_completions_call_tools_over_two_steps(sdk: OpenAI, trip: str, streamed: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    words, reasons = [], []
    while not reasons or reasons[-1] == "tool_calls":
        choice = chat(sdk, streamed, model=trip, messages=messages, tools=DECLARATIONS)
        messages.append(choice.message)
        words.append(choice.message.content or "")
        reasons.append(choice.finish_reason)
        for call in choice.message.tool_calls or ():
            result = run_tool(call.function.name, call.function.parsed_arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    assert words == [FIRST_WORDS, "", ANSWER]
    assert reasons == ["tool_calls", "tool_calls", "stop"]


@STREAMED
@pytest.mark.parametrize("stored", [True, False])
def test_responses_call_tools_over_two_steps(sdk: OpenAI, trip: str, streamed: bool, stored: bool) -> None:
    items: list[Any] = [{"role": "user", "content": QUESTION}]
    options: dict[str, Any] = {"model": trip, "tools": DECLARATIONS, "store": stored}
    words: list[str] = []
    while items:
        response = respond(sdk, streamed, input=items, **options)
        words.append(response.output_text)
        calls = [item for item in response.output if item.type == "function_call"]
        results = [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": run_tool(call.name, call.parsed_arguments),
            }
            for call in calls
        ]
        if stored:
            items, options["previous_response_id"] = results, response.id
        else:
            items = [*items, *response.output, *results] if results else []
    assert words == [FIRST_WORDS, "", ANSWER]


@STREAMED
def test_parse_returns_the_object(sdk: OpenAI, streamed: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "Where?"}]
    choice = chat(sdk, streamed, model="structured", messages=messages, response_format=Answer)
    assert (choice.message.parsed, choice.finish_reason) == (ROME, "stop")
    response = respond(sdk, streamed, model="structured", input="Where?", text_format=Answer)
    assert (response.output_parsed, response.status) == (ROME, "completed")


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_timeout_of_the_client_stops_the_agent(gateway: Server, sdk: OpenAI, api: str) -> None:
    name = f"timeout-{api}"
    requests: dict[str, Callable[[OpenAI], Any]] = {
        "chat": lambda sdk: sdk.chat.completions.create(
            model="waiting", messages=[{"role": "user", "content": name}]
        ),
        "responses": lambda sdk: sdk.responses.create(model="waiting", input=name),
    }
    with pytest.raises(openai.APITimeoutError):
        requests[api](sdk.with_options(timeout=0.3))
    wait_until((gateway.folder / name).exists)


@pytest.mark.parametrize(("failure", "turns"), [("AgentBusy", 2), ("AgentError", 1)])
def test_responses_are_retried_only_after_retryable_errors(
    gateway: Server, sdk: OpenAI, failure: str, turns: int
) -> None:
    sample = 'voicegw_turns_total{agent="failing",outcome="failed"}'
    before = gateway.metric(sample)
    with pytest.raises(openai.InternalServerError):
        sdk.with_options(max_retries=1).responses.create(model="failing", input=failure)
    wait_until(lambda: gateway.metric(sample) == before + turns)
