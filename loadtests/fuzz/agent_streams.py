"""Agents' servers whose streams are wrong: the caller must hear words and a proper end every time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from struct import pack
from typing import Any
from zlib import crc32

import orjson

from loadtests.fuzz.http_requests import encode_plain
from loadtests.fuzz.mutations import cut, mutate_bytes, mutate_json
from loadtests.fuzz.wire import ANSWER_TIMEOUT, Connection, HttpAnswers, closing
from voicegw.simulate.chat_reader import ChatReader
from voicegw.simulate.recording import TextHeard, Violation

STALL_SECONDS = 0.6
"""Seconds of an agent that is silent; the gateway's `first_token` and `idle` are shorter."""
KINDS = ("openai", "anthropic", "bedrock", "docker")
"""The agents of the gateway's configuration whose streams are fuzzed."""
Events = list[tuple[str, Any]]
"""The event stream of one answer: the name of each event and its data."""


def chat_chunk(delta: dict[str, Any], reason: str | None = None) -> tuple[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return "", {"id": "c1", "object": "chat.completion.chunk", "choices": [choice]}


def block(kind: str, **fields: Any) -> tuple[str, Any]:
    return kind, {"type": kind, **fields}


TOOL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
STREAMS: dict[str, Events] = {
    "openai": [
        chat_chunk({"role": "assistant", "content": ""}),
        chat_chunk({"reasoning_content": "Hm. "}),
        chat_chunk({"content": "We are **open** until "}),
        chat_chunk({"content": "six. "}),
        chat_chunk({"tool_calls": [TOOL]}),
        chat_chunk({}, "stop"),
        ("", {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}}),
        ("", "[DONE]"),
    ],
    "anthropic": [
        block("message_start", message={"id": "m1", "content": [], "usage": {"input_tokens": 5}}),
        block("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        block("content_block_delta", index=0, delta={"type": "text_delta", "text": "We are open. "}),
        block("content_block_stop", index=0),
        block("content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": "find"}),
        block("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "{}"}),
        block("content_block_stop", index=1),
        block("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}),
        block("message_stop"),
    ],
    "bedrock": [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "We are open. "}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("contentBlockStart", {
            "contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "find"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}),
        ("contentBlockStop", {"contentBlockIndex": 1}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12}}),
    ],
    "docker": [
        ("", {"type": "stream_started", "session_id": "s1"}),
        ("", {"type": "agent_choice", "content": "We are open. ", "agent_name": "team"}),
        ("", {
            "type": "tool_call", "tool_call": {"id": "t", "function": {"name": "find", "arguments": "{}"}}}),
        ("", {"type": "stream_stopped"}),
    ],
}  # fmt: skip
"""A valid answer of each kind of agent."""
OK = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
ODD_HEADS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n",
    b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\nnope",
    b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 204 \r\n\r\n",
    b"HTTP/1.1 429 Busy\r\nretry-after: soon\r\ncontent-length: 9\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"\x00\x01",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 101 Up\r\n\r\n",
)
"""Heads that stand in place of the right one."""


def encode_sse(name: str, text: bytes) -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"".join(b"data: %b\n" % line for line in text.split(b"\n")) + b"\n"


def encode_eventstream(name: str, text: bytes) -> bytes:
    """Return one message of Amazon's event stream encoding, with right checksums."""
    headers = b""
    for key, value in ((":message-type", "event"), (":event-type", name)):
        headers += bytes([len(key)]) + key.encode() + b"\x07" + pack(">H", len(value)) + value.encode()
    prelude = pack(">II", 16 + len(headers) + len(text), len(headers))
    message = prelude + pack(">I", crc32(prelude)) + headers + text
    return message + pack(">I", crc32(message))


def draw_answer(random: Random, kind: str) -> list[bytes]:
    """Return the parts of one wrong HTTP answer. Pure."""
    encode = encode_eventstream if kind == "bedrock" else encode_sse
    body = b"".join(
        encode(name, draw_event(random, data)) for name, data in draw_events(random, STREAMS[kind])
    )
    if random.random() < 0.15:
        body = mutate_bytes(random, body)
    content_type = b"application/vnd.amazon.eventstream" if kind == "bedrock" else b"text/event-stream"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in cut(random, body))
    answer = OK % content_type + chunks + b"0\r\n\r\n"
    if random.random() < 0.05:
        answer = random.choice(ODD_HEADS) + chunks
    if random.random() < 0.1:
        answer = mutate_bytes(random, answer)
    return cut(random, answer)


def draw_events(random: Random, events: Events) -> Events:
    """Return the events, some of them left out, repeated or in another place."""
    events = list(events)
    for _ in range(random.choice((0, 0, 1, 2))):
        index = random.randrange(len(events))
        moved = events.pop(index)
        for _ in range(random.choice((0, 1, 1, 30))):
            events.insert(random.randint(0, len(events)), moved)
        if not events:
            return [moved]
    return events


def draw_event(random: Random, data: Any) -> bytes:
    text = data.encode() if isinstance(data, str) else orjson.dumps(data)
    return mutate_json(random, data) if random.random() < 0.1 else text


class AgentFuzzer:
    """Asks an agent of the gateway for each input, and is the server of that agent, too."""

    name = "agent"

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, tuple[list[bytes], float]] = {}  # by the input's name
        self.server: asyncio.Server | None = None

    async def start(self, port: int) -> None:
        """Listen as the agents' server. Raises OSError when the port is in use."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def try_input(self, random: Random) -> str:
        """Ask for a turn whose agent answers as the random source draws; return the flaw, "" for none."""
        kind, name = random.choice(KINDS), f"input-{random.getrandbits(64)}"
        stall = STALL_SECONDS if random.random() < 0.02 else 0.0
        self.answers[name] = draw_answer(random, kind), stall
        body = {"model": kind, "stream": True, "messages": [{"role": "user", "content": name}]}
        reader, answers = ChatReader(), HttpAnswers()
        try:
            with closing(await Connection.open(self.port)) as connection:
                await connection.send([encode_plain("/v1/chat/completions", orjson.dumps(body))])
                while not answers.statuses and not answers.flaw:
                    if not (data := await connection.read(ANSWER_TIMEOUT)):
                        return "the connection closed in the middle of the answer"
                    answers.feed(data)
        except TimeoutError:
            return f"silence for {ANSWER_TIMEOUT:g} s"
        finally:
            del self.answers[name]
        if answers.flaw or answers.statuses != [200]:
            return answers.flaw or f"answered with status {answers.statuses[0]}"
        return judge_stream(reader, answers.body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection of the gateway, until the fuzzer ends and cancels it."""
        with suppress(OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0].strip()
                body = await reader.readexactly(int(length or b"0"))
                if not await self._answer(head, body, writer):
                    break
        writer.close()

    async def _answer(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Write the answer, and return whether the connection stays open."""
        name = next((name for name in self.answers if name.encode() in body), "")
        if not name:  # docker's agents ask for teams and sessions first
            data = b'[{"name": "team"}]' if head.startswith(b"GET") else b'{"id": "s1"}'
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
            )
            writer.write(data)
            return True
        parts, stall = self.answers[name]
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(stall)
        return False


def judge_stream(reader: ChatReader, body: bytes) -> str:
    """Return the first flaw of a stream of chat completions, "" for none."""
    observations = [*reader.feed(body), *reader.flush()]
    for observation in observations:
        if isinstance(observation, Violation):
            return f"{observation.item}: {observation.reason}"
    words = "".join(each.text for each in observations if isinstance(each, TextHeard))
    return "" if words.strip() or reader.has_output else "the caller heard nothing"
