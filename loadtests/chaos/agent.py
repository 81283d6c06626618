"""The agents' servers of the experiments: one counts how often a turn is asked, one sends prepared bytes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import orjson

from loadtests.servers.upstream import Upstream, UpstreamStats

ANSWER_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"connection: close\r\n\r\n"
)
ANSWER_END = b"data: [DONE]\n\n"


class CountingUpstream(Upstream):
    """The upstream of the load tests; `asked` counts the requests by the caller's last words."""

    def __init__(self, stats: UpstreamStats, asked: Counter[str]) -> None:
        super().__init__(stats)
        self.asked = asked

    def _start_stream(self, body: bytes) -> None:
        with suppress(orjson.JSONDecodeError):
            self.asked[str(orjson.loads(body)["messages"][-1]["content"])] += 1
        super()._start_stream(body)


class CountingAgent:
    """The agent of the innocent callers. `url` is its base URL, `asked` counts the requests of each turn."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.stats = UpstreamStats()
        self.url = ""

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: CountingUpstream(self.stats, self.asked), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


class PreparedAgent:
    """Sends prepared answers: `answer` returns the bytes for the head of a request.

    `byte_delay` is the seconds after each byte; 0 sends an answer at once. `url` is the server's address.
    """

    def __init__(self, answer: Callable[[bytes], bytes], byte_delay: float = 0.0) -> None:
        self.answer, self.byte_delay = answer, byte_delay
        self.url = ""

    async def start(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, asyncio.CancelledError):
            answer = self.answer(await reader.readuntil(b"\r\n\r\n"))
            step = 1 if self.byte_delay else len(answer)
            for at in range(0, len(answer), step):
                writer.write(answer[at : at + step])
                await writer.drain()
                await asyncio.sleep(self.byte_delay)
        writer.close()


def encode_answer(events: Sequence[bytes]) -> bytes:
    """Return a whole HTTP answer with these events of chat completions."""
    data = b"".join(b"data: %b\n\n" % event for event in events) + ANSWER_END
    return ANSWER_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


def content_event(text: bytes) -> bytes:
    """Return the data of an event with these bytes as text; they need not be UTF-8."""
    return b'{"choices":[{"index":0,"delta":{"content":"%b"}}]}' % text
