"""HTTP requests to the gateway: wrong bodies within right framing, and wrong framing around right bodies."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson

from loadtests.fuzz.mutations import cut, mutate_bytes, mutate_json
from loadtests.fuzz.wire import ANSWER_TIMEOUT, NOT_HTTP, REMAINING_BYTES, Connection, HttpAnswers, closing

CHAT: dict[str, Any] = {
    "model": "receptionist",
    "stream": True,
    "temperature": 0.7,
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
        {"role": "user", "content": "And now?", "name": "ada"},
    ],
    "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
    "stream_options": {"include_usage": True},
    "response_format": {"type": "text"},
    "metadata": {"call": "1"},
}  # fmt: skip
RESPONSES: dict[str, Any] = {
    "model": "receptionist",
    "stream": True,
    "instructions": "Be short.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "function_call", "call_id": "c1", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "found"},
    ],
    "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}}],
    "text": {"format": {"type": "text"}},
    "previous_response_id": None,
}
ROUTES: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("/v1/chat/completions", CHAT), ("/v1/responses", RESPONSES)),
    *(("/retell/webhook", {"event": "call_ended", "call": {"call_id": "c1"}}), ("/v1/nothing", {})),
)
PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/models",
    "/v1/models/receptionist",
    "/twilio/voice",
    "/",
    "*",
    "/%00",
)
ODD_HEADERS = (
    *(b"content-length: 5", b"content-length: -1", b"content-length: 99999999999999999999"),
    *(b"content-length: 0", b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked"),
    *(b"transfer-encoding: identity", b"expect: 100-continue", b"expect: 200-maybe", b"upgrade: h2c"),
    *(b"upgrade: websocket", b"connection: upgrade", b"connection: close", b"host: a", b"host: "),
    *(b"x: \xff\xfe", b"x" * 300 + b": y", b"x: " + b"y" * 70_000, b"content-encoding: gzip"),
    *(b"content-type: text/\xe9", b"authorization: Bearer \xf0", b"idempotency-key: " + b"k" * 300),
    *(
        b"no colon",
        b" folded: yes",
        b": empty name",
        b"x-forwarded-for: 1",
        b"accept: */*;q=x",
        b"origin: null",
    ),
)
"""Headers that are wrong, or that change how a request is read."""


def request_head(method: str, path: str, *headers: bytes, version: str = "1.1") -> bytes:
    first = f"{method} {path} HTTP/{version}".encode()
    return b"\r\n".join([first, b"host: 127.0.0.1", b"content-type: application/json", *headers, b"", b""])


class HttpFuzzer:
    """Sends one request after the other, each on a new connection."""

    name = "http"

    def __init__(self, port: int) -> None:
        self.port = port

    async def try_input(self, random: Random) -> str:
        """Send the input that the random source draws; return what the gateway did wrong, "" if nothing."""
        return await (self._try_body(random) if random.random() < 0.5 else self._try_framing(random))

    async def _try_body(self, random: Random) -> str:
        """Send a wrong body within right framing: it must be answered in time, and not with a fault."""
        path, value = random.choice(ROUTES)
        body = (
            mutate_json(random, value) if random.random() < 0.8 else mutate_bytes(random, orjson.dumps(value))
        )
        request = encode_chunked(random, path, body) if random.random() < 0.3 else encode_plain(path, body)
        return await self._exchange(cut(random, request), must_answer=True)

    async def _try_framing(self, random: Random) -> str:
        """Send wrong framing: any answer but a fault of the gateway is right, and so is a closed one."""
        path, value = random.choice(ROUTES)
        if random.random() < 0.3:
            path, value = random.choice(PATHS), {}
        body = orjson.dumps(value)
        headers = [random.choice(ODD_HEADERS) for _ in range(random.randint(0, 3))]
        length = [b"content-length: %d" % len(body)] if random.random() < 0.7 else []
        method = random.choice(("POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "PUT", "\xe9", "G" * 50))
        version = random.choice(("1.1", "1.1", "1.1", "1.0", "2.0", "0.9", "1.", "x"))
        request = request_head(method, path, *headers, *length, version=version) + body
        if random.random() < 0.6:
            request = mutate_bytes(random, request)
        times = random.choice((1, 1, 2, 20))
        flaw = await self._exchange(cut(random, request * times), must_answer=False)
        # The parser of the answers expects a body after HEAD, too, and misreads the next answer.
        return "" if method == "HEAD" and flaw.startswith(NOT_HTTP) else flaw

    async def _exchange(self, parts: list[bytes], *, must_answer: bool) -> str:
        answers = HttpAnswers()
        with closing(await Connection.open(self.port)) as connection:
            await connection.send(parts)
            if not must_answer:
                connection.half_close()
            received = 0
            while not answers.flaw and received < REMAINING_BYTES and not (must_answer and answers.statuses):
                try:
                    data = await connection.read(ANSWER_TIMEOUT if must_answer else 0.5)
                except TimeoutError:
                    return f"no answer within {ANSWER_TIMEOUT:g} s" if must_answer else ""
                if not data:
                    break
                received += len(data)
                answers.feed(data)
        return judge(answers, must_answer=must_answer)


def judge(answers: HttpAnswers, *, must_answer: bool) -> str:
    """Return the flaw of the answers on one connection, "" for none. Pure."""
    if faults := [status for status in answers.statuses if status >= 500]:
        return f"answered with status {faults[0]}"
    if must_answer and not answers.flaw and (answers.is_partial or not answers.statuses):
        return "the connection closed before the answer had ended"
    return answers.flaw


def encode_plain(path: str, body: bytes) -> bytes:
    return request_head("POST", path, b"content-length: %d" % len(body)) + body


def encode_chunked(random: Random, path: str, body: bytes) -> bytes:
    """Return a request whose body comes in chunks of random sizes, with extensions and a trailer."""
    chunks, at = [], 0
    while at < len(body):
        part = body[at : at + random.choice((1, 1, 7, 500))]
        extension = random.choice((b"", b"", b";a=b"))
        chunks.append(b"%x%b\r\n%b\r\n" % (len(part), extension, part))
        at += len(part)
    trailer = random.choice((b"", b"x-sum: 1\r\n"))
    return (
        request_head("POST", path, b"transfer-encoding: chunked")
        + b"".join(chunks)
        + b"0\r\n%b\r\n" % trailer
    )
