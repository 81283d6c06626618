"""The official library's Realtime client, unchanged, against the served gateway, and the docs' bridge."""

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
from tests.e2e.server import PATIENCE, Server, eventually

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
    told = {"heard": turn.heard, "call": turn.call, "texts": [m.text for m in turn.messages]}
    with Path(folder, "told").open("a") as file:
        file.write(json.dumps(told) + "\\n")
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


def told(server: Server) -> list[dict[str, Any]]:
    """Return the messages that the agent received, turn by turn."""
    return [json.loads(line) for line in (server.folder / "told").read_text("utf-8").splitlines()]


def client(server: Server) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key=SECRET)


def connected(server: Server, work: Callable[[AsyncRealtimeConnection], Awaitable[None]]) -> None:
    """Do something on one connection, on the plain loop."""

    async def main() -> None:
        async with asyncio.timeout(PATIENCE), client(server).realtime.connect(model="desk") as line:
            assert (await line.recv()).type == "session.created"
            await work(line)

    asyncio.run(main())


async def say(line: AsyncRealtimeConnection, words: str) -> None:
    await line.conversation.item.create(
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
    )
    await line.response.create()


async def until(line: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """Events up to one of this kind."""
    found: list[Any] = []
    async for event in line:
        assert event.type != "error", event
        found.append(event)
        if event.type == kind:
            break
    return found


def words(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_a_text_turn(server: Server) -> None:
    async def work(line: AsyncRealtimeConnection) -> None:
        await line.session.update(session={"type": "realtime", "instructions": "Be brief."})
        [*_, updated] = await until(line, "session.updated")
        assert updated.session.instructions == "Be brief."
        await say(line, "When are you open?")
        events = await until(line, "response.done")
        assert words(events) == "Let me see. We are open from nine to five."
        response = events[-1].response
        assert (response.status, response.usage.total_tokens) == ("completed", 12)
        assert response.output[0].content[0].text == words(events)

    connected(server, work)
    assert told(server)[-1]["texts"] == ["Be brief.", "When are you open?"]


def test_a_tool_round_trip(server: Server) -> None:
    async def work(line: AsyncRealtimeConnection) -> None:
        await line.session.update(session={"type": "realtime", "tools": [WEATHER]})
        await say(line, "How is the weather in Oslo?")
        events = await until(line, "response.done")
        [call] = events[-1].response.output
        assert (call.type, call.name, json.loads(call.arguments)) == (
            "function_call",
            "weather",
            {"city": "Oslo"},
        )
        await line.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        )
        await line.response.create()
        assert words(await until(line, "response.done")) == "It is sunny."

    connected(server, work)


def test_a_cancelled_response_stops_the_agent(server: Server) -> None:
    async def work(line: AsyncRealtimeConnection) -> None:
        closed = server.folder / "closed"
        closed.unlink(missing_ok=True)
        await say(line, "Tell me everything.")
        await until(line, "response.output_text.delta")
        await line.response.cancel()
        [*_, done] = await until(line, "response.done")
        assert (done.response.status, done.response.status_details.reason) == (
            "cancelled",
            "client_cancelled",
        )
        await asyncio.to_thread(eventually, closed.exists)
        await line.response.cancel()
        assert (await line.recv()).error.code == "response_cancel_not_active"
        await say(line, "When are you open?")
        assert "nine" in words(await until(line, "response.done"))

    connected(server, work)


@pytest.mark.parametrize("how", ["heard", "audio_end_ms"])
def test_a_truncated_item_is_what_was_heard(server: Server, how: str) -> None:
    async def work(line: AsyncRealtimeConnection) -> None:
        await say(line, "When are you open?")
        [*_, done] = await until(line, "response.done")
        [item] = done.response.output
        if how == "heard":
            said: Any = {"heard": "Let me see. We are open", "audio_end_ms": 0}
            await line.send(
                {"type": "conversation.item.truncate", "item_id": item.id, "content_index": 0, **said}
            )
        else:
            await line.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=1600)
        [*_, cut] = await until(line, "conversation.item.truncated")
        assert cut.item_id == item.id
        await say(line, "Sorry?")
        await until(line, "response.done")

    connected(server, work)
    last = told(server)[-1]
    assert (last["heard"], last["texts"][-2]) == ("We are open", "We are open")


def test_who_has_no_key_or_asks_for_nobody_is_refused_before_the_upgrade(server: Server) -> None:
    for key, model, status in (("wrong", "desk", 401), (SECRET, "nobody", 404)):
        gateway = OpenAI(base_url=f"{server.url}/v1", api_key=key)
        with pytest.raises(InvalidStatus) as refused, gateway.realtime.connect(model=model):
            pass
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body)["error"]["message"]


class Mouth:
    """Speaks at once, and was heard as far as the second word of what was interrupted."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.quiet = True
        self.news = asyncio.Event()

    async def heard(self, text: str) -> None:
        """The caller has heard this."""
        while text not in "".join(words for _, words in self.said):
            self.news.clear()
            await self.news.wait()

    def say(self, item: str, words: str) -> None:
        self.quiet = False
        self.said.append((item, words))
        self.news.set()

    def stop(self) -> tuple[str, str] | None:
        if self.quiet:
            return None
        self.quiet = True
        item = self.said[-1][0]
        spoken = "".join(words for other, words in self.said if other == item)
        return item, " ".join(spoken.split()[:5])


@asynccontextmanager
async def distant(port: int, delay: float) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """The gateway at some distance, in seconds each way: a port, and what cuts every connection to it."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(delay, writer.write, data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writers.update((writer, back))
        for pair in ((reader, back), (there, writer)):
            tasks.add(asyncio.ensure_future(carry(*pair)))

    def cut() -> None:
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], cut
    finally:
        cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()


def bridging() -> Any:
    """The bridge of the page."""
    code, _ = blocks("bridge", "python")
    names: dict[str, Any] = {}
    exec(compile(code, "bridge.md", "exec"), names)
    return names["bridge"]


def test_the_bridge_of_the_docs_joins_ears_and_mouth_also_from_afar(server: Server) -> None:
    mouth = Mouth()
    late: list[str] = []

    async def ears() -> AsyncIterator[str | None]:
        yield None
        yield "Tell me everything."
        await mouth.heard("item 3.")
        before = len(mouth.said)
        yield None
        await asyncio.sleep(0.4)  # the caller speaks, and what was under way arrives
        late.extend(words for _, words in mouth.said[before:])
        yield "When are you open?"
        await mouth.heard("five.")

    async def main() -> None:
        async with asyncio.timeout(PATIENCE), distant(server.port, 0.1) as (port, _):
            gateway = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=SECRET)
            await bridging()(gateway, ears(), mouth, "desk", "call-17")

    asyncio.run(main())
    assert late == [], "nothing of an answer that was cut is spoken"
    first, second = told(server)[-2:]
    assert first["call"] == second["call"]
    assert second["texts"] == ["Tell me everything.", "This is", "When are you open?"]
    assert second["heard"] == "This is"
    last = mouth.said[-1][0]
    words = "".join(words for item, words in mouth.said if item == last)
    assert words == "Let me see. We are open from nine to five."


def test_the_bridge_tells_at_once_that_the_gateway_is_gone(server: Server) -> None:
    mouth = Mouth()
    forever = asyncio.Event()

    async def ears() -> AsyncIterator[str | None]:
        yield "Tell me everything."
        await mouth.heard("item 3.")
        cutting()
        await forever.wait()

    cutting: Callable[[], None] = lambda: None  # noqa: E731

    async def main() -> None:
        nonlocal cutting
        async with asyncio.timeout(PATIENCE), distant(server.port, 0.0) as (port, cut):
            cutting = cut
            gateway = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=SECRET)
            await bridging()(gateway, ears(), mouth, "desk", "call-18")

    with pytest.raises(ExceptionGroup):
        asyncio.run(main())


def test_the_bridge_is_short_enough_to_read() -> None:
    code, _ = blocks("bridge", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 60
