"""Chat completions of the served gateway, with the official OpenAI SDK, which most platforms use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.server import TIMEOUT, Server, wait_until

pytestmark = pytest.mark.wire

KEY = "vgw_shop"
SCRIPTS = {"echo": "echo", "tool": "tool", "unreachable": "error_before", "count": "count"}
CONFIG = """
keys.shop.env = "SHOP_KEY"
limits = { max_body_bytes = 50_000, concurrent_turns = 2 }
turns.unknown_model = "reject"

[agents.desk]
kind = "scripted"
options = { first = 0, every = 0 }

[agents.slow]
kind = "scripted"
script = "slow"
options = { first = 6.0 }
ack.after = "off"

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

from voicegw import errors


async def waiting(turn, folder):
    try:
        yield "Well"
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0)
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
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sdk")
    config = CONFIG.replace("FOLDER", str(folder))
    with ServerWithKey(folder, config, agents=AGENTS, environ={"SHOP_KEY": KEY}) as server:
        yield server


class ServerWithKey(Server):
    """A server with an API key; its metrics need the key as well."""

    def metric(self, sample: str) -> float:
        with client(self) as sdk:
            text: str = sdk.get("/../metrics", cast_to=str)
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(sample))


def client(server: Server, key: str = KEY, **options: Any) -> OpenAI:
    return OpenAI(
        base_url=f"{server.url}/v1", api_key=key, **{"max_retries": 0, "timeout": TIMEOUT, **options}
    )


@pytest.fixture
def sdk(server: Server) -> Iterator[OpenAI]:
    with client(server) as sdk:
        yield sdk


def user_messages(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def stream_chunks(sdk: OpenAI, model: str, text: str, **options: Any) -> list[Any]:
    return list(
        sdk.chat.completions.create(model=model, messages=user_messages(text), stream=True, **options)
    )


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_stream_begins_with_an_acknowledgement_and_ends_with_a_finish_reason(sdk: OpenAI) -> None:
    chunks = stream_chunks(sdk, "desk", "When are you open?")
    completion = sdk.chat.completions.create(model="desk", messages=user_messages("When are you open?"))
    assert text_of(chunks) == f"One moment. {completion.choices[0].message.content}"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


@pytest.mark.parametrize("text", ["Hello?", "Grüße, 世界! 🎉", 'a "quoted" \\ line\nbreak', "x" * 40_000])
def test_stream_and_completion_have_the_same_text(sdk: OpenAI, text: str) -> None:
    completion = sdk.chat.completions.create(model="echo", messages=user_messages(text))
    assert text_of(stream_chunks(sdk, "echo", text)) == completion.choices[0].message.content == text
    assert completion.choices[0].finish_reason == "stop"


def test_stream_has_usage_only_with_include_usage(sdk: OpenAI) -> None:
    *chunks, last = stream_chunks(sdk, "desk", "Hello?", stream_options={"include_usage": True})
    assert (last.choices, last.usage.prompt_tokens) == ([], 1)
    assert last.usage.total_tokens == 1 + last.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.usage is None for chunk in stream_chunks(sdk, "desk", "Hello?"))
    usage = sdk.chat.completions.create(model="desk", messages=user_messages("Hello?")).usage
    assert usage is not None
    assert usage.total_tokens == last.usage.total_tokens


def test_tool_call_and_its_result_make_the_round_trip(sdk: OpenAI) -> None:
    messages = user_messages("Paris")
    with sdk.chat.completions.stream(model="tool", messages=messages, tools=[WEATHER]) as stream:
        [choice] = stream.get_final_completion().choices
    [call] = choice.message.tool_calls or []
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "weather")
    assert call.function.arguments == '{"city":"Paris"}'
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "rain"}'}
    history = [*messages, choice.message.model_dump(exclude_none=True), result]
    final = sdk.chat.completions.create(model="tool", messages=history, tools=[WEATHER])
    assert final.choices[0].message.content == "Here is what I found: sky rain."
    assert final.choices[0].finish_reason == "stop"


def test_request_id_of_the_response_is_in_the_turn_log(server: Server, sdk: OpenAI) -> None:
    answer = sdk.chat.completions.create(model="echo", messages=user_messages("Hello?"))
    wait_until(lambda: answer._request_id in [turn["request"] for turn in server.log_records("turn")])
    with sdk.chat.completions.create(model="echo", messages=user_messages("Hello?"), stream=True) as stream:
        assert stream.response.headers["x-request-id"].startswith("req_")
        assert stream.response.headers["x-request-id"] != answer._request_id


INVALID_REQUESTS = [
    ({"messages": []}, openai.BadRequestError, "messages"),
    ({"temperature": "hot"}, openai.BadRequestError, "temperature"),
    ({"model": "unknown"}, openai.NotFoundError, "model"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("options", "error", "param"), INVALID_REQUESTS)
def test_invalid_request_raises_the_exception_of_its_status(
    sdk: OpenAI, options: Any, error: type[openai.APIStatusError], param: str, stream: bool
) -> None:
    with pytest.raises(error) as raised:
        sdk.chat.completions.create(
            **{"model": "echo", "messages": user_messages("Hi"), "stream": stream, **options}
        )
    assert raised.value.param == param
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id


def test_unknown_model_has_the_code_model_not_found(sdk: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        stream_chunks(sdk, "unknown", "Hi")
    assert raised.value.code == "model_not_found"


def test_too_large_body_is_refused_with_413(sdk: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        stream_chunks(sdk, "echo", "x" * 60_000)
    assert (raised.value.status_code, raised.value.code) == (413, "request_too_large")


def test_wrong_key_is_refused_and_not_retried(server: Server) -> None:
    before = server.metric('voicegw_refusals_total{status="401"}')
    with (
        client(server, "vgw_wrong", max_retries=2) as sdk,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        stream_chunks(sdk, "echo", "Hi")
    assert raised.value.code == "invalid_api_key"
    assert server.metric('voicegw_refusals_total{status="401"}') == before + 1


@pytest.mark.parametrize(
    ("failure", "status", "turns"),
    [("AgentError", 502, 1), ("AgentTimeout", 504, 1), ("AgentProtocolError", 502, 1), ("AgentBusy", 503, 2)],
)
def test_sdk_retries_only_retryable_agent_errors(
    server: Server, failure: str, status: int, turns: int
) -> None:
    sample = 'voicegw_turns_total{agent="failing",outcome="failed"}'
    before = server.metric(sample)
    with client(server, max_retries=1) as sdk, pytest.raises(openai.InternalServerError) as raised:
        sdk.chat.completions.create(model="failing", messages=user_messages(failure))
    assert (raised.value.status_code, raised.value.type) == (status, "server_error")
    assert "secret detail" not in str(raised.value)
    wait_until(lambda: server.metric(sample) == before + turns)


def test_unreachable_agent_is_an_apology_in_a_stream_and_a_502_without_one(sdk: OpenAI) -> None:
    assert text_of(stream_chunks(sdk, "unreachable", "Hi")).startswith("Sorry, something went wrong.")
    with pytest.raises(openai.InternalServerError) as raised:
        sdk.chat.completions.create(model="unreachable", messages=user_messages("Hi"))
    assert raised.value.status_code == 502


def test_sdk_retries_a_429_after_the_retry_after_of_the_gateway(server: Server, sdk: OpenAI) -> None:
    rejections = 'voicegw_refusals_total{status="429"}'
    before = server.metric(rejections)
    open_streams = [
        sdk.chat.completions.create(model="waiting", messages=user_messages(f"held-{n}"), stream=True)
        for n in range(2)
    ]
    with pytest.raises(openai.RateLimitError) as raised:
        stream_chunks(sdk, "echo", "Hi")
    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.response.headers["retry-after-ms"] == "1000"
    started = time.monotonic()
    with client(server, max_retries=1) as retrying:
        chunks = asyncio.run(
            _stream_after_rejection(retrying, open_streams, lambda: server.metric(rejections) == before + 2)
        )
    assert (text_of(chunks), server.metric(rejections)) == ("Hi", before + 2)
    assert time.monotonic() - started >= 0.999, "the SDK's own pause is at most half a second"


async def _stream_after_rejection(sdk: OpenAI, open_streams: list[Any], is_rejected: Any) -> list[Any]:
    """Request a stream, close the open ones once the first attempt was rejected, and return the chunks."""
    chunks = asyncio.create_task(asyncio.to_thread(stream_chunks, sdk, "echo", "Hi"))
    await asyncio.to_thread(wait_until, is_rejected)
    for stream in open_streams:
        stream.close()
    return await chunks


def test_closing_the_stream_stops_the_agent(server: Server, sdk: OpenAI) -> None:
    stream = sdk.chat.completions.create(model="waiting", messages=user_messages("closed"), stream=True)
    with stream:
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "Well"]
    wait_until((server.folder / "closed").exists)


@pytest.mark.parametrize("streaming", [True, False])
async def test_cancelling_the_client_task_stops_the_agent(server: Server, streaming: bool) -> None:
    name = f"cancelled-{streaming}"
    running = "voicegw_turns_running"

    async def read_all(sdk: AsyncOpenAI) -> None:
        answer: Any = await sdk.chat.completions.create(
            model="waiting", messages=user_messages(name), stream=streaming
        )
        async for _ in answer:
            pass

    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as sdk:
        task = asyncio.create_task(read_all(sdk))
        await asyncio.to_thread(wait_until, lambda: server.metric(running) == 1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_until, (server.folder / name).exists)
    await asyncio.to_thread(wait_until, lambda: server.metric(running) == 0)


def test_keepalives_satisfy_a_client_with_a_read_timeout_of_5_seconds(server: Server) -> None:
    with client(server, timeout=5.0) as sdk:
        assert text_of(stream_chunks(sdk, "slow", "Hello?")) == "Sorry for the wait."


def test_models_list_names_the_agents(sdk: OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert names == ["desk", "slow", "waiting", "breaking", "failing", *SCRIPTS]
    assert sdk.models.retrieve("echo").owned_by == "voicegw"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("unknown")


async def test_hundred_turns_use_one_connection(server: Server) -> None:
    async with counting_proxy(server) as (port, connections), async_client(port) as sdk:
        for number in range(100):
            stream = await sdk.chat.completions.create(
                model="count", messages=user_messages("Go"), stream=bool(number % 4), max_tokens=5
            )
            if number % 4:
                assert len([chunk async for chunk in stream]) == 12
    assert len(connections) == 1


def async_client(port: int) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0, timeout=TIMEOUT)


@asynccontextmanager
async def counting_proxy(server: Server) -> AsyncIterator[tuple[int, list[object]]]:
    """Give the port of a proxy to the server, and the list of connections that it accepted."""
    connections: list[object] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.TaskGroup() as both:
            both.create_task(pipe(reader, back))
            both.create_task(pipe(there, writer))
        await asyncio.gather(writer.wait_closed(), back.wait_closed())

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as proxy:
        yield proxy.sockets[0].getsockname()[1], connections
        proxy.close()
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


@pytest.fixture(scope="module")
def outer_server(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second gateway, whose agents are the models of the first."""
    config = "".join(
        f"""
            [agents.{name}]
            kind = "openai"
            url = "{server.url}/v1"
            key_env = "{"WRONG_KEY" if name == "wrong_key" else "SHOP_KEY"}"
            speech = "off"
            ack.after = "off"
        """
        for name in ("desk", "echo", "tool", "waiting", "failing", "wrong_key")
    )
    environ = {"SHOP_KEY": KEY, "WRONG_KEY": "vgw_wrong"}
    with Server(tmp_path_factory.mktemp("outer"), config, environ=environ) as outer_server:
        yield outer_server


@pytest.fixture
def outer_sdk(outer_server: Server) -> Iterator[OpenAI]:
    with client(outer_server) as sdk:
        yield sdk


def test_gateway_behind_a_gateway_answers_the_same(sdk: OpenAI, outer_sdk: OpenAI) -> None:
    options = {"text": "When are you open?", "stream_options": {"include_usage": True}}
    direct, chained = stream_chunks(sdk, "desk", **options), stream_chunks(outer_sdk, "desk", **options)
    assert text_of(chained) == text_of(direct)
    assert chained[-1].usage == direct[-1].usage
    assert text_of(stream_chunks(outer_sdk, "echo", "Grüße 🎉 " * 1000)) == "Grüße 🎉 " * 1000


def test_tool_call_makes_the_round_trip_through_two_gateways(outer_sdk: OpenAI) -> None:
    test_tool_call_and_its_result_make_the_round_trip(outer_sdk)


def test_apology_of_the_inner_gateway_is_passed_on_and_its_401_becomes_a_502(outer_sdk: OpenAI) -> None:
    assert text_of(stream_chunks(outer_sdk, "failing", "AgentBusy")).startswith("Sorry, we are very busy")
    with pytest.raises(openai.InternalServerError) as raised:
        outer_sdk.chat.completions.create(model="wrong_key", messages=user_messages("Hi"))
    assert (raised.value.status_code, "vgw_wrong" in str(raised.value)) == (502, False)
    assert text_of(stream_chunks(outer_sdk, "wrong_key", "Hi")).startswith("Sorry, something went wrong.")


def test_disconnect_reaches_the_agent_through_two_gateways(server: Server, outer_sdk: OpenAI) -> None:
    with outer_sdk.chat.completions.create(
        model="waiting", messages=user_messages("through"), stream=True
    ) as stream:
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "Well"]
    wait_until((server.folder / "through").exists)


JSON_OBJECT: Any = {"type": "json_object"}


@pytest.mark.parametrize(
    ("failure", "status"), [("AgentError", 502), ("AgentTimeout", 504), ("AgentBusy", 503)]
)
def test_structured_output_of_a_failing_agent_is_a_status(sdk: OpenAI, failure: str, status: int) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        stream_chunks(sdk, "failing", failure, response_format=JSON_OBJECT)
    assert raised.value.status_code == status


def test_structured_output_that_breaks_off_raises_an_error(sdk: OpenAI) -> None:
    stream = sdk.chat.completions.create(
        model="breaking", messages=user_messages("Hi"), stream=True, response_format=JSON_OBJECT
    )
    received: list[str] = []
    with pytest.raises(openai.APIError, match="The agent failed"):
        received.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(received) == '{"city": "Par'
