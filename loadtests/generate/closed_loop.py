"""The closed loop: callers on real, unbuffered sockets, each of which sends one request after the other.

    python -m loadtests.generate.closed_loop --port 8080 --model voice --callers 100 --seconds 10 --key KEY

It keeps two latencies apart: `ack` is the first words of any kind, `answer` the first words of the upstream,
which `loadtests.servers.upstream` marks. It keeps the raw times of every stream and averages none of them.
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
from loadtests.generate.response_plan import ResponsePlan
from loadtests.generate.streams import NO_SOCKETS, Load, Stream, compute_figures
from loadtests.generate.target import Target
from loadtests.servers.upstream import ANSWER_MARK, decode_wait

CONTENT = re.compile(rb'"content": ?"[^"]')
FIRST_TOKEN = re.compile(rb"%b ([a-j]{10})" % ANSWER_MARK.encode())
TOKEN = re.compile(rb"tok\d")
STATUS_OK = b"HTTP/1.1 200"
TAIL_BYTES = 64
"""Bytes of a read that are searched again with the next one; every pattern is shorter."""
MAX_ANSWER_BYTES = 16_000_000
"""Bytes of one answer; a longer answer fails."""
LAST_CHUNK = b"0\r\n\r\n"
NO_ANSWER = "the upstream's answer was not in the stream"
"""The failure of a stream that ended properly without a word of the upstream."""
DRAIN_TIMEOUT = 15.0
"""Seconds after the end of a load until open streams are cut; they count as failed."""
CONNECT_TIMEOUT = 30.0
"""Seconds within which all callers must be connected."""


class ChatConnection(asyncio.Protocol):
    """One kept-alive connection that sends one chat request at a time and measures its answer.

    `request` is the request that `send` repeats when it is given none.
    """

    def __init__(self, request: bytes = b"") -> None:
        self.request = request
        self.tail = b""
        self.received_bytes = 0
        self.loop = asyncio.get_running_loop()
        self.parts: list[bytes] = []
        self.has_answer = True
        self.result: asyncio.Future[Stream] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes = b"", since: float | None = None) -> asyncio.Future[Stream]:
        """Send a request; the future's result is the whole stream, also when it failed.

        The times of the stream count from `since`, a time of `time.perf_counter`; None means now.
        """
        self.stream = Stream()
        self.parts.clear()
        self.tail, self.received_bytes = b"", 0
        self.is_status_ok = self.has_answer = False
        result = self.result = self.loop.create_future()
        self.last_read_at = time.perf_counter()
        self.started_at = self.last_read_at if since is None else since
        if self.transport.is_closing():
            self._finish("the connection was closed after a stream")
        else:
            self.transport.write(request or self.request)
        return result

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self.result is None or self.result.done():
            # Without a request: these bytes could be mistaken for the next answer.
            return self.transport.abort()
        self.parts.append(data)
        self.received_bytes += len(data)
        if self.received_bytes > MAX_ANSWER_BYTES:
            return self.fail(f"the answer is longer than {MAX_ANSWER_BYTES / 1e6:g} MB")
        if not self.has_answer:
            self._scan(now - self.started_at, data)
        if self.stream.first_chunk < now - self.started_at:  # no gap ends with the first chunk
            self.stream.gap = max(self.stream.gap, now - self.last_read_at)
        self.last_read_at = now
        if len(data) < len(LAST_CHUNK) or data.endswith(LAST_CHUNK):
            self._check_end(now)

    def _scan(self, after: float, data: bytes) -> None:
        """Search a read for what the stream has not brought yet, until its answer has begun."""
        stream = self.stream
        data = self.tail + data  # a pattern may be cut in two
        self.tail = data[-TAIL_BYTES:]
        if not self.is_status_ok and len(data) >= len(STATUS_OK):
            self.is_status_ok = data.startswith(STATUS_OK)
            if not self.is_status_ok:
                return self.fail(printable(data.split(b"\r\n", 1)[0]))
        if stream.first_chunk != stream.first_chunk and b"data: " in data:
            stream.first_chunk = after
        if stream.ack != stream.ack and CONTENT.search(data):
            stream.ack = after
        if mark := FIRST_TOKEN.search(data):
            self.has_answer = True
            stream.answer, stream.waited = after, decode_wait(mark[1])

    def _check_end(self, now: float) -> None:
        body = b"".join(self.parts).partition(b"\r\n\r\n")[2]
        if not body.endswith(LAST_CHUNK):
            return
        stream = self.stream
        stream.done = now - self.started_at
        stream.events, stream.tokens = body.count(b"data: "), len(TOKEN.findall(body))
        if b"data: [DONE]" not in body:
            self._finish("the stream ended without [DONE]")
        else:
            self._finish("" if self.has_answer else NO_ANSWER)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish("the connection closed in the middle of a stream")

    def fail(self, reason: str) -> None:
        """Fail the open stream with this reason, and close the connection."""
        self._finish(reason)
        self.transport.abort()

    def _finish(self, failure: str) -> None:
        if self.result and not self.result.done():
            self.stream.failure = failure
            self.result.set_result(self.stream)


def printable(line: bytes) -> str:
    """Return the first 100 bytes of a line from a server, without unprintable characters."""
    text = line[:100].decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def encode_request(port: int, model: str, key: str) -> bytes:
    """Return a request as a voice platform sends it, for a server on this machine."""
    return Target("", port, key=key).encode_request(model)


async def connect(target: Target, request: bytes = b"") -> ChatConnection:
    """Return a new connection to the target. Raises OSError when the server does not accept it."""
    loop = asyncio.get_running_loop()
    tls = True if target.tls else None
    pair = await loop.create_connection(lambda: ChatConnection(request), target.host, target.port, ssl=tls)
    return pair[1]


def describe_connect_error(error: OSError | UnicodeError) -> str:
    """Return why a connection could not be made."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{NO_SOCKETS}: ulimit -n is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"
    return f"could not connect: {type(error).__name__}"


async def run_caller(connection: ChatConnection, load: Load, tokens: int, start: float, end: float) -> None:
    """Run one caller from `start` to `end`, both times of the loop.

    It sends at least one request, and none after `end` or after a failure.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(start - loop.time())
    while True:
        load.open_streams += 1
        stream = await connection.send()
        load.open_streams -= 1
        stream.at = connection.started_at - load.started_at
        load.streams.append(stream)
        if stream.tokens != tokens and not stream.failure:
            stream.failure = f"{stream.tokens} of {tokens} tokens arrived"
        if stream.failure or loop.time() >= end:
            return


async def run(
    port: int,
    model: str,
    callers: int,
    seconds: float,
    key: str = "",
    checkpoint: Callable[[], None] | None = None,
    headers: Mapping[str, str] | None = None,
    load: Load | None = None,
) -> Load:
    """Keep `callers` streams open for `seconds`, then wait up to DRAIN_TIMEOUT for the last ones to end.

    The callers start evenly over the length of one stream, so that their tokens are spread as well.
    `checkpoint` is called three times: when all are connected, when the time is up and all are open, and
    when all have ended. A `load` that is given is filled, so that others can read it meanwhile.
    """
    plan, checkpoint = ResponsePlan.from_model_name(model), checkpoint or (lambda: None)
    target = Target("", port, key=key, headers=headers or {})
    request = target.encode_request(model)
    load, loop = Load() if load is None else load, asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            connections = [await connect(target, request) for _ in range(callers)]
    except OSError as error:  # TimeoutError is one
        load.streams.append(Stream(failure=describe_connect_error(error)))
        return load
    gc.collect()
    gc.disable()
    checkpoint()
    start, load.started_at = loop.time(), time.perf_counter()
    until = start + seconds
    spread = min(plan.seconds, seconds) / callers
    timers = [loop.call_at(until, checkpoint)]
    timers += [loop.call_at(until + DRAIN_TIMEOUT, c.fail, "did not end in time") for c in connections]
    try:
        calls = [
            run_caller(c, load, plan.tokens, start + i * spread, until) for i, c in enumerate(connections)
        ]
        await asyncio.gather(*calls)
        load.seconds = loop.time() - start
        checkpoint()
    finally:
        gc.enable()
        for timer in timers:
            timer.cancel()
        for connection in connections:
            connection.transport.abort()
    return load


def main() -> None:
    parser = argparse.ArgumentParser(
        "loadtests.generate.closed_loop", description="Load a chat-completions server in a closed loop."
    )
    parser.add_argument("--port", type=count(1, 65535), required=True, help="port of the server on 127.0.0.1")
    parser.add_argument("--model", default="voice", help="model to request (default: voice)")
    parser.add_argument(
        "--callers", type=count(1, 20_000), default=100, help="callers at a time (default: 100)"
    )
    parser.add_argument(
        "--seconds", type=SECONDS, default=10.0, help="seconds in which new streams begin (default: 10)"
    )
    parser.add_argument("--key", default="none", help="API key of the server")
    args = parser.parse_args()
    load = uvloop.run(run(args.port, args.model, args.callers, args.seconds, args.key))
    print(orjson.dumps(compute_figures(load), option=orjson.OPT_INDENT_2).decode())
    for failure, times in Counter(s.failure for s in load.streams if s.failure).items():
        print(f"{times} x {failure}")


if __name__ == "__main__":
    main()
