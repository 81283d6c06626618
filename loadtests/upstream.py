"""A chat-completions server that says numbered tokens on time: the agent's side of every measurement.

    python -m loadtests.upstream --port 9001

The model name sets the timing: "voice", "quick", "burst" (see `PLANS`), or, for example,
"first=0.3,every=0.02,tokens=40" (seconds; what is left out is 0, or 1 token). The first token is " tok0 "
and a word that tells how long the upstream really waited before it (see `waited`), so that whoever
measures can take the lateness of our timers out of the result. The others are " tok1", " tok2" and so
on. `GET /stats` counts the streams.

It is a bare protocol on uvloop, because it must be much faster than what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import cast

import orjson
import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
MARK = "tok0"
"""Stands in the first token and nowhere else, least of all in the words of an acknowledgement."""

LETTERS = str.maketrans("0123456789", "abcdefghij")
DIGITS = bytes.maketrans(b"abcdefghij", b"0123456789")


@dataclass(frozen=True, slots=True)
class Plan:
    """When a stream says what: the wait before the first token, that between tokens, how many tokens.

    Tokens without a wait between them share one write, unless they are to leave `apart`.
    """

    first: float = 0.0
    every: float = 0.0
    tokens: int = 1
    apart: bool = False

    @classmethod
    def named(cls, model: str) -> Plan:
        """The plan that a model name asks for. Raises ValueError when it asks for none."""
        if model in PLANS:
            return PLANS[model]
        options = dict(part.split("=", 1) for part in model.split(","))
        first, every = (float(options.pop(name, 0)) for name in ("first", "every"))
        tokens, apart = int(options.pop("tokens", 1)), bool(int(options.pop("apart", 0)))
        if options or not (0 <= first < 3600 and 0 <= every < 3600 and tokens > 0):
            raise ValueError(f"no such timing: {model}")
        return cls(first, every, tokens, apart)

    @property
    def seconds(self) -> float:
        """How long the stream takes."""
        return self.first + self.every * (self.tokens - 1)


PLANS = {"voice": Plan(0.3, 0.02, 40), "quick": Plan(tokens=20), "burst": Plan(tokens=10, apart=True)}


@dataclass(slots=True)
class Stats:
    """Streams begun, ended well, left by the client, and open now: begun == ended + left + active."""

    begun: int = 0
    ended: int = 0
    left: int = 0
    active: int = 0


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


@lru_cache
def later(tokens: int) -> tuple[bytes, ...]:
    """What follows the first token, part by part; the end of the stream leaves with the last token."""
    said = [chunk({"content": f" tok{i}"}) for i in range(1, tokens)]
    return (*said[:-1], said[-1] + END) if said else (END,)


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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
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
        except (ValueError, KeyError, TypeError) as error:
            self.transport.write(answer("400 Bad Request", {"error": {"message": str(error)}}))
            return
        self.plan = plan
        self.stats.begun += 1
        self.stats.active += 1
        if plan.first:
            self.transport.write(BEGIN)
            self.due = self.loop.time() + plan.first
            self.timer = self.loop.call_at(self.due, self._first, plan, b"")
        else:
            self.due = self.loop.time()
            self._first(plan, BEGIN)

    def _first(self, plan: Plan, begin: bytes) -> None:
        token = begin + first_token(time.perf_counter() - self.asked)
        rest = later(plan.tokens)
        if plan.every and plan.tokens > 1:
            self.transport.write(token)
            self._wait(plan, rest, 0)
            return
        for part in (token, *rest) if plan.apart else (token + b"".join(rest),):
            self.transport.write(part)
        self._end()

    def _wait(self, plan: Plan, rest: tuple[bytes, ...], i: int) -> None:
        self.due += plan.every  # from when it was due, not from now: a late token delays no other
        self.timer = self.loop.call_at(self.due, self._next, plan, rest, i)

    def _next(self, plan: Plan, rest: tuple[bytes, ...], i: int) -> None:
        self.transport.write(rest[i])
        if i + 1 < len(rest):
            self._wait(plan, rest, i + 1)
        else:
            self._end()

    def _end(self) -> None:
        self.plan = self.timer = None
        self.stats.ended += 1
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
    options = argparse.ArgumentParser(description="A fast upstream with exact timing.")
    options.add_argument("--port", type=int, required=True)
    uvloop.run(serve(options.parse_args().port))


if __name__ == "__main__":
    main()
