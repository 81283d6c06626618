"""A chat-completions server that sends numbered tokens on time: the agent of every measurement.

    python -m loadtests.servers.upstream --port 9001

The model name sets the timing and the faults, as `loadtests.generate.response_plan` describes: "voice", for
example, or "first=lognormal:0.3:0.5,every=0.02,tokens=40,fault=cut". The first token is " tok0 " and a word
that encodes how long the upstream really waited before it (see `decode_wait`); a measurement subtracts it,
and with it the lateness of the upstream's timers. The later tokens are " tok1", " tok2" and so on. `GET
/stats` counts the streams: the true number of agent requests, and their outcome.

It is a bare protocol on uvloop, because it must be much faster than the servers under test.
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

from loadtests.generate.response_plan import ResponsePlan

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ANSWER_MARK = "tok0"
"""Stands in the first token only, and never in an acknowledgement."""

LETTERS = str.maketrans("0123456789", "abcdefghij")
DIGITS = bytes.maketrans(b"abcdefghij", b"0123456789")


@dataclass(slots=True)
class UpstreamStats:
    """Streams begun, ended as planned, left by the client, open now, and refused or cut by their fault.

    begun == ended + left + active + failed. `peak` is the most streams at a time. `connections` are those
    open now, with the connection that asks for the counts.
    """

    begun: int = 0
    ended: int = 0
    left: int = 0
    active: int = 0
    failed: int = 0
    peak: int = field(default=0, compare=False)
    connections: int = field(default=0, compare=False)


def encode_event(data: bytes) -> bytes:
    """Return one server-sent event in a separate HTTP chunk."""
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


def encode_chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    fixed = {"id": "chatcmpl-upstream", "object": "chat.completion.chunk", "created": 1, "model": "upstream"}
    return encode_event(orjson.dumps({**fixed, "choices": [choice]}))


def json_response(status: str, body: object) -> bytes:
    """Return a whole HTTP response with this body as JSON."""
    data = orjson.dumps(body)
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
STREAM_START = STREAM_HEAD + encode_chunk({"role": "assistant", "content": ""})
STREAM_END = encode_chunk({}, "stop") + encode_event(b"[DONE]") + b"0\r\n\r\n"
REFUSAL = json_response("503 Service Unavailable", {"error": {"message": "As planned."}})


@lru_cache
def later_tokens(tokens: int) -> tuple[bytes, ...]:
    """Return the parts after the first token; the last one has the end of the stream, too."""
    chunks = [encode_chunk({"content": f" tok{i}"}) for i in range(1, tokens)]
    return (*chunks[:-1], chunks[-1] + STREAM_END) if chunks else (STREAM_END,)


@lru_cache
def later_parts(tokens: int, fault: str) -> tuple[bytes, ...]:
    """Return the parts after the first token of a stream with this fault."""
    parts, half = later_tokens(tokens), tokens // 2
    if fault == "garble":
        return (*parts[:half], encode_event(b'{"choices": [{"delta": '), *parts[half:])
    return parts[:half] if fault in ("stall", "cut") else parts


def encode_first_token(waited: float) -> bytes:
    """Return the first token, with the waited microseconds as letters.

    Letters are prose, which no speech filter changes.
    """
    return encode_chunk({"content": f" {ANSWER_MARK} {f'{waited * 1e6:010.0f}'.translate(LETTERS)}"})


def decode_wait(word: bytes) -> float:
    """Return the seconds that the word after the mark encodes."""
    return int(word.translate(DIGITS)) / 1e6


class Upstream(asyncio.Protocol):
    """One connection with one stream at a time; a stream ends early when the client leaves."""

    def __init__(self, stats: UpstreamStats) -> None:
        self.stats = stats
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.timer: asyncio.TimerHandle | None = None
        self.plan: ResponsePlan | None = None
        self.received_at = 0.0
        self.due_at = 0.0
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
        self.received_at = time.perf_counter()
        self.buffer += data
        self._take_request()

    def _take_request(self) -> None:
        """Take the next request once it is complete and the stream before it has ended."""
        head, blank, rest = self.buffer.partition(b"\r\n\r\n")
        if self.plan or not blank:
            return
        length = CONTENT_LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        self.buffer = rest[size:]
        if head.startswith(b"POST"):
            self._start_stream(rest[:size])
        elif head.startswith(b"GET /stats"):
            self.transport.write(json_response("200 OK", asdict(self.stats)))
        else:
            self.transport.write(json_response("404 Not Found", {"error": {"message": "Not found."}}))

    def _start_stream(self, body: bytes) -> None:
        try:
            plan = ResponsePlan.from_model_name(orjson.loads(body)["model"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.transport.write(json_response("400 Bad Request", {"error": {"message": str(error)}}))
            return
        self.plan = plan
        self._count(self.stats)
        first, self.waits = plan.waits(self.stats.begun)
        self.due_at = self.loop.time() + first
        if plan.fault == "refuse":
            self.transport.write(REFUSAL)
            self._finish(failed=True)
        elif plan.fault != "silent":
            self._send_head(plan, first)

    @staticmethod
    def _count(stats: UpstreamStats) -> None:
        stats.begun += 1
        stats.active += 1
        if stats.active > stats.peak:
            stats.peak = stats.active

    def _send_head(self, plan: ResponsePlan, first: float) -> None:
        if first:
            self.transport.write(STREAM_START)
            self.timer = self.loop.call_at(self.due_at, self._send_first, plan, b"")
        else:
            self._send_first(plan, STREAM_START)

    def _send_first(self, plan: ResponsePlan, begin: bytes) -> None:
        token = begin + encode_first_token(time.perf_counter() - self.received_at)
        rest = later_parts(plan.tokens, plan.fault)
        if plan.every and rest and plan.tokens > 1:
            self.transport.write(token)
            self._schedule_next(plan, rest, 0)
            return
        for part in (token, *rest) if plan.apart else (token + b"".join(rest),):
            self.transport.write(part)
        self._end_stream(plan)

    def _schedule_next(self, plan: ResponsePlan, rest: tuple[bytes, ...], i: int) -> None:
        self.due_at += next(self.waits)  # from the due time, not from now: a late token delays no other
        self.timer = self.loop.call_at(self.due_at, self._send_next, plan, rest, i)

    def _send_next(self, plan: ResponsePlan, rest: tuple[bytes, ...], i: int) -> None:
        self.transport.write(rest[i])
        if i + 1 < len(rest):
            self._schedule_next(plan, rest, i + 1)
        else:
            self._end_stream(plan)

    def _end_stream(self, plan: ResponsePlan) -> None:
        """End the stream after its last part; a stream that stalls stays open."""
        if plan.fault == "cut":
            self._finish(failed=True)
            self.transport.close()
        elif plan.fault != "stall":
            self._finish()

    def _finish(self, failed: bool = False) -> None:
        self.plan = self.timer = None
        self.stats.ended += not failed
        self.stats.failed += failed
        self.stats.active -= 1
        if self.buffer:
            self._take_request()


async def serve(port: int, host: str = "127.0.0.1") -> None:
    """Serve until cancelled. Raises OSError when the port is in use."""
    stats = UpstreamStats()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(stats), host, port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(
        "loadtests.servers.upstream", description="Run a fast chat-completions server with exact timing."
    )
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
