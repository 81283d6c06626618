"""Realtime sessions of the served gateway, with the official OpenAI SDK and with the bridge of the docs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import InvalidStatus

from tests.docs.test_pages import blocks
from tests.e2e.server import TIMEOUT, Server, wait_until

pytestmark = pytest.mark.wire

SECRET = "k3y-of-this-test"
CONFIG = """
turns.unknown_model = "reject"

[keys.bridge]
env = "BRIDGE"

[agents.desk]
kind = "python"
target = "agents:desk"
options = { folder = "FOLDER" }
ack.after = 0
ack.phrases.en = ["Let me see"]
ack.with_tools = 10
"""
AGENTS = """
import asyncio
import json
from pathlib import Path

from voicegw.events import ToolCall, Usage


async def desk(turn, folder):
    record = {"heard": turn.heard, "call": turn.call, "texts": [m.text for m in turn.messages]}
    with Path(folder, "turns.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\\n")
    if turn.messages[-1].role == "tool":
        yield f"It is {turn.messages[-1].text}."
    elif turn.tools:
        yield ToolCall("c1", "weather", '{"city": "Oslo"}')
    elif "everything" in turn.said:
        try:
            for number in range(1000):
                yield f"This is item {number}. "
                await asyncio.sleep(0.02)
        finally:
            Path(folder, "closed").touch()
    else:
        yield "We are open"
        yield " from nine to five."
        yield Usage(7, 5)
"""
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("realtime")
    config = CONFIG.replace("FOLDER", str(folder))
    with Server(folder, config, agents=AGENTS, environ={"BRIDGE": SECRET}) as server:
        yield server


def received_turns(server: Server) -> list[dict[str, Any]]:
    """Return a record for each turn that the agent received: call ID, message texts, and the heard text."""
    return [json.loads(line) for line in (server.folder / "turns.jsonl").read_text("utf-8").splitlines()]


def client(server: Server) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key=SECRET)


def run_connected(server: Server, work: Callable[[AsyncRealtimeConnection], Awaitable[None]]) -> None:
    """Await `work` with an open connection, on a new event loop."""

    async def main() -> None:
        async with asyncio.timeout(TIMEOUT), client(server).realtime.connect(model="desk") as connection:
            assert (await connection.recv()).type == "session.created"
            await work(connection)

    asyncio.run(main())


async def ask(connection: AsyncRealtimeConnection, text: str) -> None:
    """Add a user message, and request a response."""
    await connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    )
    await connection.response.create()


async def read_until(connection: AsyncRealtimeConnection, event_type: str) -> list[Any]:
    """Return the events up to and with the first one of this type; fail the test on an error event."""
    events: list[Any] = []
    async for event in connection:
        assert event.type != "error", event
        events.append(event)
        if event.type == event_type:
            break
    return events


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_text_turn_has_an_acknowledgement_and_usage(server: Server) -> None:
    async def work(connection: AsyncRealtimeConnection) -> None:
        await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        [*_, updated] = await read_until(connection, "session.updated")
        assert updated.session.instructions == "Be brief."
        await ask(connection, "When are you open?")
        events = await read_until(connection, "response.done")
        assert text_of(events) == "Let me see. We are open from nine to five."
        response = events[-1].response
        assert (response.status, response.usage.total_tokens) == ("completed", 12)
        assert response.output[0].content[0].text == text_of(events)

    run_connected(server, work)
    assert received_turns(server)[-1]["texts"] == ["Be brief.", "When are you open?"]


def test_tool_call_and_its_output_make_the_round_trip(server: Server) -> None:
    async def work(connection: AsyncRealtimeConnection) -> None:
        await connection.session.update(session={"type": "realtime", "tools": [WEATHER]})
        await ask(connection, "How is the weather in Oslo?")
        events = await read_until(connection, "response.done")
        [call] = events[-1].response.output
        assert (call.type, call.name, json.loads(call.arguments)) == (
            "function_call",
            "weather",
            {"city": "Oslo"},
        )
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        )
        await connection.response.create()
        assert text_of(await read_until(connection, "response.done")) == "It is sunny."

    run_connected(server, work)


def test_response_cancel_stops_the_agent(server: Server) -> None:
    async def work(connection: AsyncRealtimeConnection) -> None:
        closed = server.folder / "closed"
        closed.unlink(missing_ok=True)
        await ask(connection, "Tell me everything.")
        await read_until(connection, "response.output_text.delta")
        await connection.response.cancel()
        [*_, done] = await read_until(connection, "response.done")
        assert (done.response.status, done.response.status_details.reason) == (
            "cancelled",
            "client_cancelled",
        )
        await asyncio.to_thread(wait_until, closed.exists)
        await connection.response.cancel()
        assert (await connection.recv()).error.code == "response_cancel_not_active"
        await ask(connection, "When are you open?")
        assert "nine" in text_of(await read_until(connection, "response.done"))

    run_connected(server, work)


@pytest.mark.parametrize("field", ["heard", "audio_end_ms"])
def test_item_truncate_sets_the_heard_text(server: Server, field: str) -> None:
    async def work(connection: AsyncRealtimeConnection) -> None:
        await ask(connection, "When are you open?")
        [*_, done] = await read_until(connection, "response.done")
        [item] = done.response.output
        if field == "heard":
            position: Any = {"heard": "Let me see. We are open", "audio_end_ms": 0}
            await connection.send(
                {"type": "conversation.item.truncate", "item_id": item.id, "content_index": 0, **position}
            )
        else:
            await connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=1600)
        [*_, truncated] = await read_until(connection, "conversation.item.truncated")
        assert truncated.item_id == item.id
        await ask(connection, "Sorry?")
        await read_until(connection, "response.done")

    run_connected(server, work)
    last = received_turns(server)[-1]
    assert (last["heard"], last["texts"][-2]) == ("We are open", "We are open")


def test_wrong_key_or_unknown_model_is_refused_before_the_upgrade(server: Server) -> None:
    for key, model, status in (("wrong", "desk", 401), (SECRET, "unknown", 404)):
        gateway = OpenAI(base_url=f"{server.url}/v1", api_key=key)
        with pytest.raises(InvalidStatus) as refused, gateway.realtime.connect(model=model):
            pass
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body)["error"]["message"]


class FakeSpeaker:
    """A text to speech for the bridge: an interrupted item counts as heard up to its fifth word."""

    def __init__(self) -> None:
        self.spoken: list[tuple[str, str]] = []
        self.is_idle = True
        self.changed = asyncio.Event()

    async def wait_for(self, text: str) -> None:
        """Wait until the spoken text contains `text`."""
        while text not in "".join(delta for _, delta in self.spoken):
            self.changed.clear()
            await self.changed.wait()

    def say(self, item: str, delta: str) -> None:
        self.is_idle = False
        self.spoken.append((item, delta))
        self.changed.set()

    def stop(self) -> tuple[str, str] | None:
        if self.is_idle:
            return None
        self.is_idle = True
        item = self.spoken[-1][0]
        text = "".join(delta for other, delta in self.spoken if other == item)
        return item, " ".join(text.split()[:5])


@asynccontextmanager
async def delaying_proxy(port: int, delay: float) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """Give the port of a proxy to the gateway that delays each way by `delay` seconds.

    The second value is a function that aborts every connection.
    """
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(delay, writer.write, data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.update((writer, upstream_writer))
        for pair in ((reader, upstream_writer), (upstream_reader, writer)):
            tasks.add(asyncio.ensure_future(copy(*pair)))

    def abort() -> None:
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], abort
    finally:
        abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()


def load_bridge() -> Any:
    """Return the function `bridge` of docs/realtime.md."""
    code, _ = blocks("realtime", "python")
    names: dict[str, Any] = {}
    exec(compile(code, "realtime.md", "exec"), names)
    return names["bridge"]


def test_bridge_of_the_docs_carries_a_call_over_a_slow_network(server: Server) -> None:
    speaker = FakeSpeaker()
    late: list[str] = []

    async def listener() -> AsyncIterator[str | None]:
        yield None
        yield "Tell me everything."
        await speaker.wait_for("item 3.")
        before = len(speaker.spoken)
        yield None
        await asyncio.sleep(0.4)  # deltas that were on their way arrive while the caller speaks
        late.extend(delta for _, delta in speaker.spoken[before:])
        yield "When are you open?"
        await speaker.wait_for("five.")

    async def main() -> None:
        async with asyncio.timeout(TIMEOUT), delaying_proxy(server.port, 0.1) as (port, _):
            gateway = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=SECRET)
            await load_bridge()(gateway, listener(), speaker, "desk", "call-17")

    asyncio.run(main())
    assert late == [], "no delta of the interrupted answer is spoken"
    first, second = received_turns(server)[-2:]
    assert first["call"] == second["call"]
    assert second["texts"] == ["Tell me everything.", "This is", "When are you open?"]
    assert second["heard"] == "This is"
    last = speaker.spoken[-1][0]
    text = "".join(delta for item, delta in speaker.spoken if item == last)
    assert text == "Let me see. We are open from nine to five."


def test_bridge_raises_when_the_connection_to_the_gateway_is_lost(server: Server) -> None:
    speaker = FakeSpeaker()

    async def listener() -> AsyncIterator[str | None]:
        yield "Tell me everything."
        await speaker.wait_for("item 3.")
        abort()
        await asyncio.Event().wait()

    abort: Callable[[], None] = lambda: None  # noqa: E731

    async def main() -> None:
        nonlocal abort
        async with asyncio.timeout(TIMEOUT), delaying_proxy(server.port, 0.0) as (port, abort):
            gateway = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=SECRET)
            await load_bridge()(gateway, listener(), speaker, "desk", "call-18")

    with pytest.raises(ExceptionGroup):
        asyncio.run(main())


def test_bridge_has_at_most_60_lines() -> None:
    code, _ = blocks("realtime", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 60
