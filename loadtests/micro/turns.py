"""The cost of a turn in the gateway, by the way in which it is dispatched: CPU microseconds.

    python -m loadtests.micro.turns [--rounds 7] [--turns 1000]

It runs the whole application in this process, called as a server would call it, without sockets: a client
discards what is written. A new turn starts a run of the agent, a joined turn follows the run of another
turn, a replayed turn gets the output of an ended run, a superseding turn stops the run before it first.
Every answer has WORDS deltas. Rounds are interleaved and medians shown, because only ratios within one run
are comparable on a shared machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import uvloop

from voicegw.app.create import create_app
from voicegw.config.load import Config
from voicegw.events import Event, Turn

WORDS = 10
JOINERS = 4
"""Turns that join one run."""
UNFINISHED_TEXT = "Hang on"
"""The beginning of a caller's text to which the agent's answer does not end."""
SETTINGS = {
    "agents": {"test": {"kind": "scripted", "ack": {"after": "off"}}},
    "trace": {"log": False},
    "calls": {"max_calls": 100},
}
RETRY = (b"x-stainless-retry-count", b"1")
NUMBERS = count()


class Agent:
    """Sends its words one by one; meanwhile, other turns join the run."""

    def __init__(self) -> None:
        self.request_count = 0

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        self.request_count += 1
        for _ in range(WORDS):
            yield "word "
            await asyncio.sleep(0)
        if turn.said.startswith(UNFINISHED_TEXT):
            await asyncio.get_running_loop().create_future()

    async def warm(self, call: str | None = None) -> None: ...
    async def call_ended(self, call: str) -> None: ...
    async def aclose(self) -> None: ...


class Client:
    """One request, and the chunk writer for its answer."""

    is_open = True
    is_paused = False

    def __init__(self) -> None:
        self.has_read = False
        self.last_body = b""
        self.word_count = 0
        loop = asyncio.get_running_loop()
        self.all_words: asyncio.Future[None] = loop.create_future()
        self.disconnected: asyncio.Future[dict[str, Any]] = loop.create_future()

    def write(self, data: bytes) -> None:
        self.word_count += data.count(b'word"')
        if self.word_count == WORDS and not self.all_words.done():
            self.all_words.set_result(None)

    def start(self, source: object, header_lines: bytes, data: bytes) -> None:
        self.write(data)

    def end(self, data: bytes) -> None:
        self.write(data)
        self.last_body = data

    def release(self) -> None: ...

    async def send(self, message: Any) -> None:
        if body := message.get("body"):
            self.write(body)
            self.last_body = body

    async def ask(self, app: Any, call: str, text: str, *headers: tuple[bytes, bytes]) -> int:
        """Send the request, read the whole answer, and return the number of its words."""
        messages = [{"role": "system", "content": "You are on the phone."}, {"role": "user", "content": text}]
        body = json.dumps({"model": "test", "stream": True, "messages": messages}).encode()

        async def receive() -> dict[str, Any]:
            if self.has_read:
                return await self.disconnected
            self.has_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await app(http_scope(self, call, headers), receive, self.send)
        assert self.last_body.endswith(b"[DONE]\n\n"), self.last_body
        return self.word_count


def http_scope(client: Client, call: str, headers: tuple[tuple[bytes, bytes], ...]) -> dict[str, Any]:
    """Return the ASGI scope of a request."""
    fields = ((b"host", b"127.0.0.1"), (b"x-voicegw-call", call.encode()), *headers)
    path = "/v1/chat/completions"
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [*fields, (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 5000),
        "extensions": {"voicegw.chunk_writer": client},
    }


def new_call() -> str:
    return f"call-{next(NUMBERS)}"


class CpuTimer:
    """Adds up the CPU time of `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        before = time.process_time()
        yield
        self.seconds += time.process_time() - before


# The kinds of turns. Each returns the number of requests that the agent must have got.


async def run_new(app: Any, turns: int, timer: CpuTimer) -> int:
    with timer():
        for _ in range(turns):
            assert await Client().ask(app, new_call(), "Hello?") == WORDS
    return turns


async def run_joined(app: Any, turns: int, timer: CpuTimer) -> int:
    """Run several turns at a time, and subtract the cost of the first of them alone."""
    groups = max(1, turns // JOINERS)
    alone = CpuTimer()
    await run_new(app, groups, alone)
    with timer():
        for _ in range(groups):
            call = new_call()
            counts = await asyncio.gather(*(Client().ask(app, call, "Hello?") for _ in range(1 + JOINERS)))
            assert counts == [WORDS] * (1 + JOINERS)
    timer.seconds = (timer.seconds - alone.seconds) * turns / (groups * JOINERS)
    return 2 * groups


async def run_replayed(app: Any, turns: int, timer: CpuTimer) -> int:
    call = new_call()
    await Client().ask(app, call, "Hello?")
    with timer():
        for _ in range(turns):
            assert await Client().ask(app, call, "Hello?", RETRY) == WORDS
    return 1


async def run_superseding(app: Any, turns: int, timer: CpuTimer) -> int:
    """Run turns each of which has sent its last word when the next one comes."""
    call = new_call()
    client = Client()
    older = asyncio.create_task(client.ask(app, call, UNFINISHED_TEXT))
    await client.all_words
    with timer():
        for number in range(turns):
            client = Client()
            newer = asyncio.create_task(client.ask(app, call, f"{UNFINISHED_TEXT} {number}"))
            await client.all_words
            assert await older == WORDS
            older = newer
    await Client().ask(app, call, "Hello?")
    await older
    return turns + 2


Kind = Callable[[Any, int, CpuTimer], Awaitable[int]]
KINDS: dict[str, Kind] = {
    "new": run_new,
    "joined": run_joined,
    "replayed": run_replayed,
    "superseding": run_superseding,
}


# The measurement


@asynccontextmanager
async def run_app(agent: Any, settings: Mapping[str, Any] = SETTINGS) -> AsyncIterator[Any]:
    """Start the application around one agent, and stop it, as a server does."""
    app = create_app(Config.model_validate(settings), agents=lambda table, config: agent)
    received: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: asyncio.Queue[Any] = asyncio.Queue()
    lifespan: asyncio.Future[None] = asyncio.ensure_future(
        app({"type": "lifespan", "state": {}}, received.get, sent.put)
    )
    for step in ("startup", "shutdown"):
        await received.put({"type": f"lifespan.{step}"})
        assert (await sent.get())["type"] == f"lifespan.{step}.complete"
        if step == "startup":
            yield app
    await lifespan


async def measure(rounds: int, turns: int) -> dict[str, list[float]]:
    """Return CPU microseconds per turn, by kind and round."""
    agent = Agent()
    costs: dict[str, list[float]] = {}
    async with run_app(agent) as app:
        for number in range(rounds + 1):
            for name, kind in KINDS.items():
                timer, before = CpuTimer(), agent.request_count
                runs = await kind(app, turns, timer)
                assert agent.request_count == before + runs, (
                    f"{name}: {agent.request_count - before} runs instead of {runs}"
                )
                if number:  # the first round warms up
                    costs.setdefault(name, []).append(timer.seconds / turns * 1e6)
    return costs


def print_costs(costs: dict[str, list[float]]) -> None:
    print(f"{'turn':12} {'us':>6} {'x new':>6}")
    for name, rounds in costs.items():
        ratio = statistics.median(cost / base for cost, base in zip(rounds, costs["new"], strict=True))
        print(f"{name:12} {statistics.median(rounds):6.0f} {ratio:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds; figures are medians over them")
    parser.add_argument("--turns", type=int, default=1000, help="turns of each kind and round")
    options = parser.parse_args()
    print_costs(uvloop.run(measure(options.rounds, options.turns)))


if __name__ == "__main__":
    main()
