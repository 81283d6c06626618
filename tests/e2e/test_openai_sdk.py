"""The official SDK against the served gateway: the client that most platforms are made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.server import PATIENCE, Server, eventually

pytestmark = pytest.mark.wire

KEY = "vgw_shop"
SCRIPTS = {"echo": "echo", "tool": "tool", "unreachable": "error_before", "count": "count"}
CONFIG = """
keys.shop.env = "SHOP_KEY"
limits = { body_bytes = 50_000, concurrent_turns = 2 }
turns.unknown_model = "reject"

[agents.desk]
kind = "scripted"
options = { first = 0, every = 0 }

[agents.slow]
kind = "scripted"
script = "slow"
options = { first = 6.0 }
ack.after = "off"

[agents.patient]
kind = "python"
target = "agents:patient"
options = { folder = "FOLDER" }
ack.after = "off"

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


async def patient(turn, folder):
    try:
        yield "Well"
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0)
        Path(folder, turn.said).touch()


async def failing(turn):
    raise getattr(errors, turn.said)("as the caller wished")
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
    with House(folder, config, agents=AGENTS, environ={"SHOP_KEY": KEY}) as server:
        yield server


class House(Server):
    """A server with a key, whose metrics need it too."""

    def count(self, sample: str) -> float:
        with client(self) as sdk:
            text: str = sdk.get("/../metrics", cast_to=str)
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(sample))


def client(server: Server, key: str = KEY, **options: Any) -> OpenAI:
    return OpenAI(
        base_url=f"{server.url}/v1", api_key=key, **{"max_retries": 0, "timeout": PATIENCE, **options}
    )


@pytest.fixture
def sdk(server: Server) -> Iterator[OpenAI]:
    with client(server) as sdk:
        yield sdk


def say(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def streamed(sdk: OpenAI, model: str, text: str, **options: Any) -> list[Any]:
    return list(sdk.chat.completions.create(model=model, messages=say(text), stream=True, **options))


def words(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_streamed_answer_begins_with_our_words_and_ends_with_a_reason(sdk: OpenAI) -> None:
    chunks = streamed(sdk, "desk", "When are you open?")
    whole = sdk.chat.completions.create(model="desk", messages=say("When are you open?"))
    assert words(chunks) == f"One moment. {whole.choices[0].message.content}"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


@pytest.mark.parametrize("text", ["Hello?", "Grüße, 世界! 🎉", 'a "quoted" \\ line\nbreak', "x" * 40_000])
def test_streamed_and_whole_answers_are_the_same(sdk: OpenAI, text: str) -> None:
    whole = sdk.chat.completions.create(model="echo", messages=say(text))
    assert words(streamed(sdk, "echo", text)) == whole.choices[0].message.content == text
    assert whole.choices[0].finish_reason == "stop"


def test_usage_comes_when_it_is_asked_for(sdk: OpenAI) -> None:
    *chunks, last = streamed(sdk, "desk", "Hello?", stream_options={"include_usage": True})
    assert (last.choices, last.usage.prompt_tokens) == ([], 1)
    assert last.usage.total_tokens == 1 + last.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.usage is None for chunk in streamed(sdk, "desk", "Hello?"))
    whole = sdk.chat.completions.create(model="desk", messages=say("Hello?")).usage
    assert whole is not None
    assert whole.total_tokens == last.usage.total_tokens


def test_a_tool_makes_the_round_trip(sdk: OpenAI) -> None:
    asked = say("Paris")
    with sdk.chat.completions.stream(model="tool", messages=asked, tools=[WEATHER]) as stream:
        [choice] = stream.get_final_completion().choices
    [call] = choice.message.tool_calls or []
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "weather")
    assert call.function.arguments == '{"city":"Paris"}'
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "rain"}'}
    history = [*asked, choice.message.model_dump(exclude_none=True), result]
    final = sdk.chat.completions.create(model="tool", messages=history, tools=[WEATHER])
    assert final.choices[0].message.content == "Here is what I found: sky rain."
    assert final.choices[0].finish_reason == "stop"


def test_a_request_is_found_again_by_its_id(server: Server, sdk: OpenAI) -> None:
    answer = sdk.chat.completions.create(model="echo", messages=say("Hello?"))
    eventually(lambda: answer._request_id in [line["request"] for line in server.lines("turn")])
    with sdk.chat.completions.create(model="echo", messages=say("Hello?"), stream=True) as stream:
        assert stream.response.headers["x-request-id"].startswith("req_")
        assert stream.response.headers["x-request-id"] != answer._request_id


REFUSED = [
    ({"messages": []}, openai.BadRequestError, "messages"),
    ({"temperature": "hot"}, openai.BadRequestError, "temperature"),
    ({"model": "nobody"}, openai.NotFoundError, "model"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("options", "kind", "param"), REFUSED)
def test_a_bad_request_is_the_exception_that_programs_expect(
    sdk: OpenAI, options: Any, kind: type[openai.APIStatusError], param: str, stream: bool
) -> None:
    with pytest.raises(kind) as raised:
        sdk.chat.completions.create(**{"model": "echo", "messages": say("Hi"), "stream": stream, **options})
    assert raised.value.param == param
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id


def test_an_unknown_model_has_its_code(sdk: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        streamed(sdk, "nobody", "Hi")
    assert raised.value.code == "model_not_found"


def test_a_body_that_is_too_large_is_refused(sdk: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        streamed(sdk, "echo", "x" * 60_000)
    assert (raised.value.status_code, raised.value.code) == (413, "request_too_large")


def test_a_wrong_key_is_refused_once(server: Server) -> None:
    before = server.count('voicegw_refusals_total{status="401"}')
    with (
        client(server, "vgw_wrong", max_retries=2) as sdk,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        streamed(sdk, "echo", "Hi")
    assert raised.value.code == "invalid_api_key"
    assert server.count('voicegw_refusals_total{status="401"}') == before + 1


@pytest.mark.parametrize(
    ("failure", "status", "calls"),
    [("AgentError", 502, 1), ("AgentTimeout", 504, 1), ("AgentProtocolError", 502, 1), ("AgentBusy", 503, 2)],
)
def test_a_failing_agent_is_asked_again_only_if_that_may_help(
    server: Server, failure: str, status: int, calls: int
) -> None:
    sample = 'voicegw_turns_total{agent="failing",outcome="failed"}'
    before = server.count(sample)
    with client(server, max_retries=1) as sdk, pytest.raises(openai.InternalServerError) as raised:
        sdk.chat.completions.create(model="failing", messages=say(failure))
    assert (raised.value.status_code, raised.value.type) == (status, "server_error")
    assert "as the caller wished" not in str(raised.value)
    eventually(lambda: server.count(sample) == before + calls)


def test_an_agent_that_cannot_be_reached_is_an_apology_in_a_stream_and_a_status_else(sdk: OpenAI) -> None:
    assert words(streamed(sdk, "unreachable", "Hi")).startswith("Sorry, something went wrong.")
    with pytest.raises(openai.InternalServerError) as raised:
        sdk.chat.completions.create(model="unreachable", messages=say("Hi"))
    assert raised.value.status_code == 502


def test_a_busy_gateway_is_tried_again_after_the_time_it_names(server: Server, sdk: OpenAI) -> None:
    refused = 'voicegw_refusals_total{status="429"}'
    before = server.count(refused)
    held = [
        sdk.chat.completions.create(model="patient", messages=say(f"held-{n}"), stream=True) for n in range(2)
    ]
    with pytest.raises(openai.RateLimitError) as raised:
        streamed(sdk, "echo", "Hi")
    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.response.headers["retry-after-ms"] == "1000"
    started = time.monotonic()
    with client(server, max_retries=1) as patient:
        released = asyncio.run(_released(patient, held, lambda: server.count(refused) == before + 2))
    assert (words(released), server.count(refused)) == ("Hi", before + 2)
    assert time.monotonic() - started >= 0.999, "the SDK's own pause is at most half a second"


async def _released(sdk: OpenAI, held: list[Any], refused: Any) -> list[Any]:
    """Ask, and hang up the turns that are in the way once the first try was refused."""
    asked = asyncio.create_task(asyncio.to_thread(streamed, sdk, "echo", "Hi"))
    await asyncio.to_thread(eventually, refused)
    for stream in held:
        stream.close()
    return await asked


def test_a_client_that_closes_its_stream_stops_the_agent(server: Server, sdk: OpenAI) -> None:
    stream = sdk.chat.completions.create(model="patient", messages=say("closed"), stream=True)
    with stream:
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "Well"]
    eventually((server.folder / "closed").exists)


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_task_that_is_cancelled_stops_the_agent(server: Server, streaming: bool) -> None:
    name = f"cancelled-{streaming}"
    running = "voicegw_turns_running"

    async def hear(sdk: AsyncOpenAI) -> None:
        answer: Any = await sdk.chat.completions.create(model="patient", messages=say(name), stream=streaming)
        async for _ in answer:
            pass

    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as sdk:
        task = asyncio.create_task(hear(sdk))
        await asyncio.to_thread(eventually, lambda: server.count(running) == 1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(eventually, (server.folder / name).exists)
    await asyncio.to_thread(eventually, lambda: server.count(running) == 0)


def test_silence_is_kept_alive_for_clients_that_give_up_after_five_seconds(server: Server) -> None:
    with client(server, timeout=5.0) as sdk:
        assert words(streamed(sdk, "slow", "Hello?")) == "Sorry for the wait."


def test_agents_are_models(sdk: OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert names == ["desk", "slow", "patient", "failing", *SCRIPTS]
    assert sdk.models.retrieve("echo").owned_by == "voicegw"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("nobody")


async def test_a_hundred_turns_need_one_connection(server: Server) -> None:
    async with counted(server) as (port, connections), _async(port) as sdk:
        for number in range(100):
            stream = await sdk.chat.completions.create(
                model="count", messages=say("Go"), stream=bool(number % 4), max_tokens=5
            )
            if number % 4:
                assert len([chunk async for chunk in stream]) == 12
    assert len(connections) == 1


def _async(port: int) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE)


@asynccontextmanager
async def counted(server: Server) -> AsyncIterator[tuple[int, list[object]]]:
    """A way to the server on which connections are counted."""
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

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as door:
        yield door.sockets[0].getsockname()[1], connections
        door.close()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


@pytest.fixture(scope="module")
def front(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second gateway, whose agents are those of the first."""
    config = "".join(
        f"""
            [agents.{name}]
            kind = "openai"
            url = "{server.url}/v1"
            key_env = "{"WRONG_KEY" if name == "locked" else "SHOP_KEY"}"
            speech = "off"
            ack.after = "off"
        """
        for name in ("desk", "echo", "tool", "patient", "failing", "locked")
    )
    environ = {"SHOP_KEY": KEY, "WRONG_KEY": "vgw_wrong"}
    with Server(tmp_path_factory.mktemp("front"), config, environ=environ) as front:
        yield front


@pytest.fixture
def chained(front: Server) -> Iterator[OpenAI]:
    with client(front) as sdk:
        yield sdk


def test_a_gateway_behind_a_gateway_answers_the_same(sdk: OpenAI, chained: OpenAI) -> None:
    asked = {"text": "When are you open?", "stream_options": {"include_usage": True}}
    direct, through = streamed(sdk, "desk", **asked), streamed(chained, "desk", **asked)
    assert words(through) == words(direct)
    assert through[-1].usage == direct[-1].usage
    assert words(streamed(chained, "echo", "Grüße 🎉 " * 1000)) == "Grüße 🎉 " * 1000


def test_tools_make_the_round_trip_through_the_chain(chained: OpenAI) -> None:
    test_a_tool_makes_the_round_trip(chained)


def test_an_apology_behind_the_chain_is_passed_on_and_a_refusal_is_a_failure(chained: OpenAI) -> None:
    assert words(streamed(chained, "failing", "AgentBusy")).startswith("Sorry, we are very busy")
    with pytest.raises(openai.InternalServerError) as raised:
        chained.chat.completions.create(model="locked", messages=say("Hi"))
    assert (raised.value.status_code, "vgw_wrong" in str(raised.value)) == (502, False)
    assert words(streamed(chained, "locked", "Hi")).startswith("Sorry, something went wrong.")


def test_a_caller_who_hangs_up_is_noticed_at_the_end_of_the_chain(server: Server, chained: OpenAI) -> None:
    with chained.chat.completions.create(model="patient", messages=say("through"), stream=True) as stream:
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "Well"]
    eventually((server.folder / "through").exists)
