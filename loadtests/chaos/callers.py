"""Innocent callers: streams of chat completions and websocket calls that go on during an experiment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from math import isnan

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from loadtests.chaos.counts import Counts
from loadtests.chaos.gateway import Gateway, request
from loadtests.generate.closed_loop import CONTENT, LAST_CHUNK, NO_ANSWER
from loadtests.generate.closed_loop import connect as connect_chat
from loadtests.generate.response_plan import ResponsePlan
from loadtests.generate.streams import Stream
from loadtests.generate.target import Target

END_TIMEOUT = 30.0
"""Seconds in which the last turns must end; then they count as broken."""
ASK_TIMEOUT = 15.0
"""Seconds in which every caller must have asked for the first time."""
START_INTERVAL = 0.01
"""Seconds between the first turns of two callers: all at once would be a load test."""
WATCH_INTERVAL = 0.02
RECONNECT_SECONDS = 0.1
ANSWER_TIMEOUT = 20.0
"""Seconds in which an answer must have ended."""


class InnocentCallers:
    """Callers that ask one turn after the other within an `async with` block; the last turns may end.

    `counts` takes what they notice. `asked` counts the agent's requests by the words of a turn, which differ
    from turn to turn. `model` is the agent to ask, and `plan` is the timing of its answers.
    """

    def __init__(
        self,
        gateway: Gateway,
        counts: Counts,
        asked: Counter[str],
        model: str,
        plan: str,
        *,
        streams: int,
        calls: int,
    ) -> None:
        self.gateway, self.counts, self.asked, self.model = gateway, counts, asked, model
        self.tokens = ResponsePlan.from_model_name(plan).tokens
        self.sizes = streams, calls
        self.stopping = False
        self.open_turns = 0
        self.all_asked = asyncio.Event()  # every caller had a turn at the same time
        self.number = 0
        self.own_turns: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> InnocentCallers:
        streams, calls = self.sizes
        callers = [*(self._run_streams for _ in range(streams)), *(self._run_call for _ in range(calls))]
        self.tasks = [asyncio.ensure_future(run(number)) for number, run in enumerate(callers)]
        self.watch = asyncio.ensure_future(self._watch_loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stopping = True
        done, open_tasks = (
            await asyncio.wait(self.tasks, timeout=END_TIMEOUT) if self.tasks else (set(), set())
        )
        for task in open_tasks:
            task.cancel()
        self.watch.cancel()
        await asyncio.gather(*open_tasks, self.watch, return_exceptions=True)
        self.counts.broken += len(open_tasks)
        self.counts.doubled += sum(max(0, self.asked[words] - 1) for words in self.own_turns)
        for task in done:
            task.result()

    async def until_all_ask(self) -> None:
        """Wait until every caller has a turn that is under way. Raises TimeoutError."""
        async with asyncio.timeout(ASK_TIMEOUT):
            await self.all_asked.wait()

    async def _watch_loop(self) -> None:
        """Measure how late this event loop is, until cancelled: callers and agents run in it."""
        while True:
            due = time.perf_counter() + WATCH_INTERVAL
            await asyncio.sleep(WATCH_INTERVAL)
            self.counts.lateness = max(self.counts.lateness, time.perf_counter() - due)

    def _new_turn(self) -> str:
        self.number += 1
        words = f"turn {self.number} of {self.counts.name}"
        self.own_turns.append(words)
        self.counts.turns += 1
        self.open_turns += 1
        if self.open_turns == sum(self.sizes):
            self.all_asked.set()
        return words

    async def _run_streams(self, number: int) -> None:
        await asyncio.sleep(number * START_INTERVAL)
        while not self.stopping:
            try:
                connection = await connect_chat(self.gateway.target)
            except OSError:  # the gateway is down: a platform calls another one
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            words = self._new_turn()
            request = self.gateway.target.encode_request(self.model, words.replace(" ", "-"), words)
            try:
                count_stream(self.counts, await connection.send(request), self.tokens)
            finally:
                self.open_turns -= 1
                connection.transport.abort()

    async def _run_call(self, number: int) -> None:
        await asyncio.sleep(number * START_INTERVAL)
        while not self.stopping:
            try:
                async with AsyncExitStack() as stack:
                    call = await open_call(stack, self.gateway.port, f"call_{number}_{self.number}")
                    while not self.stopping:
                        await self._run_call_turn(call)
            except (OSError, WebSocketException):
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _run_call_turn(self, call: ClientConnection) -> None:
        """Ask one turn and hear its answer. Count a turn that the call's end cut off, and raise its error."""
        words = self._new_turn()
        transcript = [{"role": "user", "content": words}]
        question = {
            "interaction_type": "response_required",
            "response_id": self.number,
            "transcript": transcript,
        }
        heard, id, last = "", self.number, time.perf_counter()
        try:
            await call.send(orjson.dumps(question).decode())
            while True:
                frame = orjson.loads(await call.recv())
                now = time.perf_counter()
                self.counts.silence, last = max(self.counts.silence, now - last), now
                if frame.get("response_id") != id:
                    continue
                heard += frame["content"]
                if frame["content_complete"]:
                    break
        except ConnectionClosed as closed:
            self.counts.broken += closed.rcvd is None
            self.counts.lost += 1
            self.counts.reasons[f"a call ended: {closed}"] += 1
            raise
        finally:
            self.open_turns -= 1
        self.counts.lost += heard.count("tok") < self.tokens


def count_stream(counts: Counts, stream: Stream, tokens: int) -> None:
    """Add what the caller of one stream noticed. Pure."""
    if stream.failure.startswith("HTTP/1.1 "):
        counts.refused += 1
        return
    if stream.failure:
        counts.reasons[stream.failure] += 1
    counts.broken += stream.failure not in ("", NO_ANSWER)
    counts.lost += bool(stream.failure) or stream.tokens < tokens
    waits = (stream.first_chunk, stream.gap)
    counts.silence = max(counts.silence, *(seconds for seconds in waits if not isnan(seconds)))


async def open_call(stack: AsyncExitStack, port: int, name: str) -> ClientConnection:
    """Open a Retell call, and read the two frames that the gateway sends first.

    Raises OSError or WebSocketException.
    """
    url = f"ws://127.0.0.1:{port}/retell/{name}"
    call = await stack.enter_async_context(
        connect(url, compression=None, ping_interval=None, open_timeout=5, close_timeout=1, proxy=None)
    )
    for _ in range(2):
        await call.recv()
    return call


async def ask(target: Target, model: str, words: str = "Hello?", **headers: str) -> tuple[int, bytes]:
    """Ask for one turn on a new connection; return the status and the whole answer, 0 without one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    closing = replace(target, headers={"connection": "close", **named})
    return await request(target.port, closing.encode_request(model, user_text=words), ANSWER_TIMEOUT)


def find_flaw(status: int, answer: bytes) -> str:
    """Return why an answer is not words with a proper end, "" if it is. Pure."""
    if status != 200:
        return f"status {status}"
    if not answer.endswith(LAST_CHUNK) or b"data: [DONE]" not in answer:
        return "no proper end"
    return "" if CONTENT.search(answer) else "no words"
