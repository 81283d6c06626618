"""The Responses API of the served gateway, with the official OpenAI SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.server import TIMEOUT, HttpClient, Server, request_head, wait_until
from tests.support.responses_lint import lint

pytestmark = pytest.mark.wire

KEY, OTHER = "vgw_shop", "vgw_other"
SCRIPTS = {"echo": "echo", "tool": "tool", "unreachable": "error_before"}
CONFIG = """
keys.shop.env = "SHOP_KEY"
keys.other.env = "OTHER_KEY"
turns.unknown_model = "reject"
limits.concurrent_turns = 2

[agents.desk]
kind = "scripted"
options = { first = 0, every = 0 }

[agents.messages]
kind = "python"
target = "agents:messages"
speech = "off"

[agents.waiting]
kind = "python"
target = "agents:waiting"
options = { folder = "FOLDER" }
concurrent_turns = 2
ack.after = "off"

[agents.breaking]
kind = "python"
target = "agents:breaking"

[agents.failing]
kind = "python"
target = "agents:failing"
ack.after = "off"
""" + "".join(
    f'[agents.{name}]\nkind = "scripted"\nscript = "{script}"\nspeech = "off"\nack.after = "off"\n'
    for name, script in SCRIPTS.items()
)
AGENTS = """
import asyncio
from pathlib import Path

from voicegw import errors, events


async def messages(turn):
    yield " | ".join(f"{message.role}: {message.text}" for message in turn.messages)
    yield events.Usage(5, 7, 2, 1)


async def waiting(turn, folder):
    try:
        yield "Well"
        await asyncio.sleep(600)
    finally:
        Path(folder, turn.said).touch()


async def breaking(turn):
    yield '{"city": "Par'
    await asyncio.sleep(0.3)
    raise errors.AgentError("secret detail")


async def failing(turn):
    raise getattr(errors, turn.said)("secret detail")
    yield
"""
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("responses")
    config = CONFIG.replace("FOLDER", str(folder))
    environ = {"SHOP_KEY": KEY, "OTHER_KEY": OTHER}
    with Server(folder, config, agents=AGENTS, environ=environ) as server:
        yield server


def client(server: Server, key: str = KEY, **options: Any) -> OpenAI:
    return OpenAI(
        base_url=f"{server.url}/v1", api_key=key, **{"max_retries": 0, "timeout": TIMEOUT, **options}
    )


@pytest.fixture
def sdk(server: Server) -> Iterator[OpenAI]:
    with client(server) as sdk:
        yield sdk


@pytest.mark.parametrize("text", ["Hello?", "Grüße, 世界! 🎉", 'a "quoted" \\ line\nbreak', "x" * 40_000])
def test_final_response_has_the_text_of_the_deltas(sdk: OpenAI, text: str) -> None:
    with sdk.responses.stream(model="echo", input=text) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    response = sdk.responses.create(model="echo", input=text)
    assert deltas == final.output_text == response.output_text == text
    assert (final.status, response.status, response.error) == ("completed", "completed", None)


async def test_async_stream_has_the_same_text(server: Server) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as sdk:
        async with sdk.responses.stream(model="desk", input="When are you open?") as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        response = await sdk.responses.create(model="desk", input="When are you open?")
    assert "".join(deltas) == final.output_text == f"One moment. {response.output_text}"


def test_stream_has_all_events_in_order(sdk: OpenAI) -> None:
    events = list(sdk.responses.create(model="desk", input="When are you open?", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:5]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
    ]
    assert events[-1].type == "response.completed"


def test_bytes_of_the_stream_are_well_formed(server: Server) -> None:
    body = json.dumps({"model": "desk", "input": "Hello?", "stream": True}).encode()
    with HttpClient(server) as http:
        head = request_head(
            "POST /v1/responses HTTP/1.1", content_length=str(len(body)), authorization=f"Bearer {KEY}"
        )
        http.send(head + body)
        lint(http.read_response().body)


def test_usage_has_all_token_counts(sdk: OpenAI) -> None:
    with sdk.responses.stream(model="messages", input="Hi") as stream:
        streamed = stream.get_final_response().usage
    usage = sdk.responses.create(model="messages", input="Hi").usage
    assert streamed is not None
    assert streamed == usage
    assert (streamed.input_tokens, streamed.output_tokens, streamed.total_tokens) == (5, 7, 12)
    assert streamed.input_tokens_details.cached_tokens == 2
    assert streamed.input_tokens_details.cache_write_tokens == 0
    assert streamed.output_tokens_details.reasoning_tokens == 1


def test_tool_call_and_its_result_make_the_round_trip(sdk: OpenAI) -> None:
    with sdk.responses.stream(model="tool", input="Paris", tools=[WEATHER]) as stream:
        final = stream.get_final_response()
    [call] = final.output
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("weather", '{"city":"Paris"}')
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": '{"sky": "rain"}'}
    items: Any = [{"role": "user", "content": "Paris"}, call.model_dump(exclude={"parsed_arguments"}), output]
    response = sdk.responses.create(model="tool", input=items, tools=[WEATHER])
    continued = sdk.responses.create(
        model="tool", input=[output], tools=[WEATHER], previous_response_id=final.id
    )
    assert response.output_text == continued.output_text == "Here is what I found: sky rain."


def test_previous_response_id_continues_the_conversation(server: Server, sdk: OpenAI) -> None:
    with sdk.responses.stream(model="messages", input="One", instructions="Be brief.") as stream:
        first = stream.get_final_response()
    assert first.output_text.endswith("system: Be brief. | user: One")
    second = sdk.responses.create(model="messages", input="Two", previous_response_id=first.id)
    assert second.output_text == "user: One | assistant: system: Be brief. | user: One | user: Two"
    assert second.previous_response_id == first.id
    with client(server, OTHER) as other, pytest.raises(openai.NotFoundError) as raised:
        other.responses.create(model="messages", input="Two", previous_response_id=first.id)
    assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")


def test_response_with_store_false_is_not_stored(sdk: OpenAI) -> None:
    first = sdk.responses.create(model="messages", input="One", store=False)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.create(model="messages", input="Two", previous_response_id=first.id)


INVALID_REQUESTS = [
    ({"input": []}, openai.BadRequestError, "input"),
    ({"temperature": "hot"}, openai.BadRequestError, "temperature"),
    ({"model": "unknown"}, openai.NotFoundError, "model"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("options", "error", "param"), INVALID_REQUESTS)
def test_invalid_request_raises_the_exception_of_its_status(
    sdk: OpenAI, options: Any, error: type[openai.APIStatusError], param: str, stream: bool
) -> None:
    with pytest.raises(error) as raised:
        sdk.responses.create(**{"model": "echo", "input": "Hi", "stream": stream, **options})
    assert (raised.value.param, raised.value.type) == (param, "invalid_request_error")
    assert raised.value.request_id


def test_wrong_key_is_refused(server: Server) -> None:
    with client(server, "vgw_wrong") as sdk, pytest.raises(openai.AuthenticationError):
        sdk.responses.create(model="echo", input="Hi")


@pytest.mark.parametrize(
    ("failure", "status"), [("AgentError", 502), ("AgentTimeout", 504), ("AgentBusy", 503)]
)
def test_failing_agent_is_a_status_or_in_a_stream_an_apology(sdk: OpenAI, failure: str, status: int) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        sdk.responses.create(model="failing", input=failure)
    assert (raised.value.status_code, raised.value.type) == (status, "server_error")
    with sdk.responses.stream(model="failing", input=failure) as stream:
        final = stream.get_final_response()
    assert (final.status, final.output_text.startswith("Sorry, ")) == ("completed", True)


JSON_OBJECT: Any = {"format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("failure", "status"), [("AgentError", 502), ("AgentTimeout", 504), ("AgentBusy", 503)]
)
def test_structured_output_of_a_failing_agent_is_a_status(sdk: OpenAI, failure: str, status: int) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        sdk.responses.create(model="failing", input=failure, text=JSON_OBJECT, stream=True)
    assert (raised.value.status_code, raised.value.type) == (status, "server_error")


def test_structured_output_that_breaks_off_is_a_failed_response(sdk: OpenAI) -> None:
    events = list(sdk.responses.create(model="breaking", input="Hi", text=JSON_OBJECT, stream=True))
    failed = events[-1]
    assert failed.type == "response.failed"
    assert (failed.response.status, failed.response.output_text) == ("failed", '{"city": "Par')
    assert failed.response.error is not None
    assert (failed.response.error.code, failed.response.error.message) == (
        "server_error",
        "The agent failed.",
    )


def test_item_references_stand_for_the_items_of_an_earlier_response(sdk: OpenAI) -> None:
    with sdk.responses.stream(model="desk", input="When are you open?") as stream:
        [item] = stream.get_final_response().output
    assert item.id
    items: Any = [
        {"role": "user", "content": "When are you open?"},
        {"type": "item_reference", "id": item.id},
        {"role": "user", "content": "Really?"},
    ]
    answer = sdk.responses.create(model="messages", input=items).output_text
    assert answer.startswith("user: When are you open? | assistant: ")
    assert answer.endswith(" | user: Really?")
    assert "One moment" not in answer
    with pytest.raises(openai.NotFoundError):
        sdk.responses.create(model="messages", input=[{"type": "item_reference", "id": "msg_unknown_0"}])


def test_conversation_of_openai_is_refused(sdk: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.responses.create(model="echo", input="Hi", conversation="conv_1")
    assert raised.value.param == "conversation"


def test_too_many_concurrent_turns_are_refused(sdk: OpenAI) -> None:
    open_streams = [sdk.responses.create(model="waiting", input=f"held-{n}", stream=True) for n in range(2)]
    with pytest.raises(openai.RateLimitError):
        sdk.responses.create(model="echo", input="Hi")
    for stream in open_streams:
        stream.close()


def test_closing_the_stream_stops_the_agent(server: Server, sdk: OpenAI) -> None:
    with sdk.responses.create(model="waiting", input="closed", stream=True) as stream:
        next(event for event in stream if event.type == "response.output_text.delta")
    wait_until((server.folder / "closed").exists)
