"""A chat-completions server that says numbered tokens on time: the agent's side of every measurement.

    python -m loadtests.servers.upstream --port 9001

The model name sets the timing and the faults, as `loadtests.generate.response_plan` describes: "voice", for example, or
"first=lognormal:0.3:0.5,every=0.02,tokens=40,fault=cut". The first token is " tok0 " and a word that tells
how long the upstream really waited before it (see `waited`), so that whoever measures can take the lateness
of our timers out of the result. The others are " tok1", " tok2" and so on. `GET /stats` counts the streams:
it is the truth about how often the agent was asked, and what became of it.

It is a bare protocol on uvloop, because it must be much faster than what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import cast

import orjson
import uvloop

from loadtests.generate.response_plan import Plan

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
MARK = "tok0"
"""Stands in the first token and nowhere else, least of all in the words of an acknowledgement."""

LETTERS = str.maketrans("0123456789", "abcdefghij")
DIGITS = bytes.maketrans(b"abcdefghij", b"0123456789")


@dataclass(slots=True)
class Stats:
    """Streams begun, ended as planned, left by the client, open now, and refused or cut by their fault.

    begun == ended + left + active + failed. `peak` is the most that were open at a time; `connections` are
    those open now, the asking one among them.
    """

    begun: int = 0
    ended: int = 0
    left: int = 0
    active: int = 0
    failed: int = 0
    peak: int = field(default=0, compare=False)
    connections: int = field(default=0, compare=False)


def event(data: bytes) -> bytes:
    """One server-sent event in an HTTP chunk of its own."""
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    fixed = {"id": "chatcmpl-upstream", "object": "chat.completion.chunk", "created": 1, "model": "upstream"}
    return event(orjson.dumps({**fixed, "choices": [choice]}))


def answer(status: str, body: object) -> bytes:
    """A whole JSON response."""
    data = orjson.dumps(body)
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
BEGIN = HEAD + chunk({"role": "assistant", "content": ""})
END = chunk({}, "stop") + event(b"[DONE]") + b"0\r\n\r\n"
REFUSAL = answer("503 Service Unavailable", {"error": {"message": "As planned."}})


@lru_cache
def later(tokens: int) -> tuple[bytes, ...]:
    """What follows the first token, part by part; the end of the stream leaves with the last token."""
    said = [chunk({"content": f" tok{i}"}) for i in range(1, tokens)]
    return (*said[:-1], said[-1] + END) if said else (END,)


@lru_cache
def parts(tokens: int, fault: str) -> tuple[bytes, ...]:
    """What follows the first token when it goes wrong like this."""
    whole, half = later(tokens), tokens // 2
    if fault == "garble":
        return (*whole[:half], event(b'{"choices": [{"delta": '), *whole[half:])
    return whole[:half] if fault in ("stall", "cut") else whole


def first_token(waited: float) -> bytes:
    """The first token, with the seconds waited as microseconds in letters: plain prose to any filter."""
    return chunk({"content": f" {MARK} {f'{waited * 1e6:010.0f}'.translate(LETTERS)}"})


def waited(word: bytes) -> float:
    """The seconds that the word after the mark tells."""
    return int(word.translate(DIGITS)) / 1e6


class Upstream(asyncio.Protocol):
    """One connection: a stream at a time, ended early when the client leaves."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.timer: asyncio.TimerHandle | None = None
        self.plan: Plan | None = None
        self.asked = 0.0
        self.due = 0.0
        self.waits: Iterator[float] = iter(())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.stats.connections -= 1
        if self.timer:
            self.timer.cancel()
        if self.plan:
            self.plan = None
            self.stats.left += 1
            self.stats.active -= 1

    def data_received(self, data: bytes) -> None:
        self.asked = time.perf_counter()
        self.buffer += data
        self._receive()

    def _receive(self) -> None:
        """Take the next request once it is whole and the stream before it has ended."""
        head, blank, rest = self.buffer.partition(b"\r\n\r\n")
        if self.plan or not blank:
            return
        length = LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        self.buffer = rest[size:]
        if head.startswith(b"POST"):
            self._begin(rest[:size])
        elif head.startswith(b"GET /stats"):
            self.transport.write(answer("200 OK", asdict(self.stats)))
        else:
            self.transport.write(answer("404 Not Found", {"error": {"message": "Nothing here."}}))

    def _begin(self, body: bytes) -> None:
        try:
            plan = Plan.named(orjson.loads(body)["model"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.transport.write(answer("400 Bad Request", {"error": {"message": str(error)}}))
            return
        self.plan = plan
        self._count(self.stats)
        first, self.waits = plan.waits(self.stats.begun)
        self.due = self.loop.time() + first
        if plan.fault == "refuse":
            self.transport.write(REFUSAL)
            self._over(failed=True)
        elif plan.fault != "silent":
            self._open(plan, first)

    @staticmethod
    def _count(stats: Stats) -> None:
        stats.begun += 1
        stats.active += 1
        if stats.active > stats.peak:
            stats.peak = stats.active

    def _open(self, plan: Plan, first: float) -> None:
        if first:
            self.transport.write(BEGIN)
            self.timer = self.loop.call_at(self.due, self._first, plan, b"")
        else:
            self._first(plan, BEGIN)

    def _first(self, plan: Plan, begin: bytes) -> None:
        token = begin + first_token(time.perf_counter() - self.asked)
        rest = parts(plan.tokens, plan.fault)
        if plan.every and rest and plan.tokens > 1:
            self.transport.write(token)
            self._wait(plan, rest, 0)
            return
        for part in (token, *rest) if plan.apart else (token + b"".join(rest),):
            self.transport.write(part)
        self._end(plan)

    def _wait(self, plan: Plan, rest: tuple[bytes, ...], i: int) -> None:
        self.due += next(self.waits)  # from when it was due, not from now: a late token delays no other
        self.timer = self.loop.call_at(self.due, self._next, plan, rest, i)

    def _next(self, plan: Plan, rest: tuple[bytes, ...], i: int) -> None:
        self.transport.write(rest[i])
        if i + 1 < len(rest):
            self._wait(plan, rest, i + 1)
        else:
            self._end(plan)

    def _end(self, plan: Plan) -> None:
        """All that is said was said; a stream that stalls stays open."""
        if plan.fault == "cut":
            self._over(failed=True)
            self.transport.close()
        elif plan.fault != "stall":
            self._over()

    def _over(self, failed: bool = False) -> None:
        self.plan = self.timer = None
        self.stats.ended += not failed
        self.stats.failed += failed
        self.stats.active -= 1
        if self.buffer:
            self._receive()


async def serve(port: int, host: str = "127.0.0.1") -> None:
    """Serve until cancelled."""
    stats = Stats()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(stats), host, port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    options = argparse.ArgumentParser(
        "loadtests.servers.upstream", description="A fast upstream with exact timing."
    )
    options.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    uvloop.run(serve(options.parse_args().port))


if __name__ == "__main__":
    main()
