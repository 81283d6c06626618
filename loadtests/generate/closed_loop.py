"""The load generator: callers on real, unbuffered sockets, each asking again when its answer has ended.

    python -m loadtests.generate.closed_loop --port 8080 --model voice --callers 100 --seconds 10 --key KEY

Two latencies, never one: `ack` is the first words of any kind, `answer` the first of the upstream's own
(`loadtests.servers.upstream` marks them). Every stream keeps its raw times; nothing is averaged on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import cast

import orjson
import uvloop

from loadtests.generate.cli_types import SECONDS, count
from loadtests.generate.response_plan import Plan
from loadtests.generate.streams import NO_FILES, Load, Stream, figures
from loadtests.generate.target import Door
from loadtests.servers.upstream import MARK, waited

WORDS = re.compile(rb'"content": ?"[^"]')
ANSWER = re.compile(rb"%b ([a-j]{10})" % MARK.encode())
TOKEN = re.compile(rb"tok\d")
GOOD = b"HTTP/1.1 200"
TAIL = 64
"""Bytes; nothing that we look for is longer."""
MOST = 16_000_000
"""Bytes of an answer; who sends more has failed."""
LAST = b"0\r\n\r\n"
UNANSWERED = "the upstream's answer was not in the stream"
"""Why a stream failed that ended as it should and had no word of the agent's."""
DRAIN = 15.0
"""Seconds that streams may take to end after their time; then they are cut and count as failed."""
CONNECT = 30.0
"""Seconds in which all callers must be connected."""


class Caller(asyncio.Protocol):
    """One connection, kept open, with a request that is asked again and again, or another one each time."""

    def __init__(self, request: bytes = b"") -> None:
        self.request = request
        self.tail = b""
        self.size = 0
        self.loop = asyncio.get_running_loop()
        self.parts: list[bytes] = []
        self.answered = True
        self.ended: asyncio.Future[Stream] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes = b"", since: float | None = None) -> asyncio.Future[Stream]:
        """Send the request; the result is its whole stream, with times since then (now if left out)."""
        self.stream = Stream()
        self.parts.clear()
        self.tail, self.size = b"", 0
        self.good = self.answered = False
        ended = self.ended = self.loop.create_future()
        self.heard = time.perf_counter()
        self.asked = self.heard if since is None else since
        if self.transport.is_closing():
            self._finish("the connection was closed after a stream")
        else:
            self.transport.write(request or self.request)
        return ended

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self.ended is None or self.ended.done():
            return (
                self.transport.abort()
            )  # nobody asked for this, so nobody could tell it from the next answer
        self.parts.append(data)
        self.size += len(data)
        if self.size > MOST:
            return self.fail(f"more than {MOST / 1e6:g} MB came")
        if not self.answered:
            self._look(now - self.asked, data)
        if self.stream.first_chunk < now - self.asked:  # the first chunk ends no gap
            self.stream.gap = max(self.stream.gap, now - self.heard)
        self.heard = now
        if len(data) < len(LAST) or data.endswith(LAST):
            self._end(now)

    def _look(self, after: float, data: bytes) -> None:
        """Until the answer has begun, see what this read brings for the first time."""
        stream = self.stream
        data = self.tail + data  # what we look for may have been cut in two
        self.tail = data[-TAIL:]
        if not self.good and len(data) >= len(GOOD):
            self.good = data.startswith(GOOD)
            if not self.good:
                return self.fail(plain(data.split(b"\r\n", 1)[0]))
        if stream.first_chunk != stream.first_chunk and b"data: " in data:
            stream.first_chunk = after
        if stream.ack != stream.ack and WORDS.search(data):
            stream.ack = after
        if mark := ANSWER.search(data):
            self.answered = True
            stream.answer, stream.waited = after, waited(mark[1])

    def _end(self, now: float) -> None:
        body = b"".join(self.parts).partition(b"\r\n\r\n")[2]
        if not body.endswith(LAST):
            return
        stream = self.stream
        stream.done = now - self.asked
        stream.events, stream.tokens = body.count(b"data: "), len(TOKEN.findall(body))
        if b"data: [DONE]" not in body:
            self._finish("the stream ended without [DONE]")
        else:
            self._finish("" if self.answered else UNANSWERED)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish("the connection closed in the middle of a stream")

    def fail(self, why: str) -> None:
        """Give up on the stream that is open, and on the connection."""
        self._finish(why)
        self.transport.abort()

    def _finish(self, failed: str) -> None:
        if self.ended and not self.ended.done():
            self.stream.failed = failed
            self.ended.set_result(self.stream)


def plain(line: bytes) -> str:
    """What a server says for a status, fit to be printed."""
    said = line[:100].decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in said)


def ask(port: int, model: str, key: str) -> bytes:
    """A request as a voice platform sends it, to a server on this machine."""
    return Door("", port, key=key).request(model)


async def dial(door: Door, request: bytes = b"") -> Caller:
    """A connection of one's own. Raises OSError when nobody opens."""
    loop = asyncio.get_running_loop()
    tls = True if door.tls else None
    return (await loop.create_connection(lambda: Caller(request), door.host, door.port, ssl=tls))[1]


def unconnected(error: OSError | UnicodeError) -> str:
    """Why a connection could not be made."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{NO_FILES}: ulimit -n is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"
    return f"could not connect: {type(error).__name__}"


async def call(caller: Caller, load: Load, tokens: int, begin: float, until: float) -> None:
    """One caller's loop, in the loop's time; at least one stream, and no new one after a failure."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(begin - loop.time())
    while True:
        load.open += 1
        stream = await caller.ask()
        load.open -= 1
        stream.at = caller.asked - load.begun
        load.streams.append(stream)
        if stream.tokens != tokens and not stream.failed:
            stream.failed = f"{stream.tokens} of {tokens} tokens arrived"
        if stream.failed or loop.time() >= until:
            return


async def run(
    port: int,
    model: str,
    callers: int,
    seconds: float,
    key: str = "",
    meter: Callable[[], None] | None = None,
    headers: Mapping[str, str] | None = None,
    load: Load | None = None,
) -> Load:
    """Keep `callers` streams open for `seconds`, then let the last ones end.

    Their starts are spread over one stream's length, so that their tokens are spread as well. `meter` is
    called three times: when all are connected, when the time is up and all are open, when all have ended.
    A `load` that is given is the one that is filled, so that others can look at it meanwhile.
    """
    plan, meter = Plan.named(model), meter or (lambda: None)
    door = Door("", port, key=key, headers=headers or {})
    request = door.request(model)
    load, loop = Load() if load is None else load, asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT):
            everyone = [await dial(door, request) for _ in range(callers)]
    except OSError as error:  # among them the TimeoutError
        load.streams.append(Stream(failed=unconnected(error)))
        return load
    gc.collect()
    gc.disable()
    meter()
    start, load.begun = loop.time(), time.perf_counter()
    until = start + seconds
    spread = min(plan.seconds, seconds) / callers
    timers = [loop.call_at(until, meter)]
    timers += [loop.call_at(until + DRAIN, c.fail, "did not end in time") for c in everyone]
    try:
        calls = [call(c, load, plan.tokens, start + i * spread, until) for i, c in enumerate(everyone)]
        await asyncio.gather(*calls)
        load.seconds = loop.time() - start
        meter()
    finally:
        gc.enable()
        for timer in timers:
            timer.cancel()
        for caller in everyone:
            caller.transport.abort()
    return load


def main() -> None:
    options = argparse.ArgumentParser(
        "loadtests.generate.closed_loop", description="Callers for any chat-completions server."
    )
    options.add_argument("--port", type=count(1, 65535), required=True, help="the server's, on 127.0.0.1")
    options.add_argument("--model", default="voice", help="(default: voice)")
    options.add_argument("--callers", type=count(1, 20_000), default=100, help="at a time (default: 100)")
    options.add_argument("--seconds", type=SECONDS, default=10.0, help="of new streams (default: 10)")
    options.add_argument("--key", default="none", help="the server's key")
    args = options.parse_args()
    load = uvloop.run(run(args.port, args.model, args.callers, args.seconds, args.key))
    print(orjson.dumps(figures(load), option=orjson.OPT_INDENT_2).decode())
    for why, times in Counter(s.failed for s in load.streams if s.failed).items():
        print(f"{times} x {why}")


if __name__ == "__main__":
    main()
