"""A fake model with OpenAI's chat completions: it answers as requests say, on time, and records them.

The last user message decides the answer. Marks in it ask for more than words:

    Hello [first=0.4 every=0.02 words=40]      "word0 word1 ...": seconds before the first and between words
    Look it up [run sleep 5]                   "Let me check. " and a call of the terminal tool, then words
    Delete it [risk HIGH] [run rm note]        the same, with the risk that the model sees in the call
    Are we done? [finish We are done.]         a call of the tool `finish` with this message
    Think first [think]                        some reasoning before the words
    Break down [fail 503]                      an error instead of an answer

It uses blocking sockets and a thread per connection, so it outlives the event loop of a test.
"""

from __future__ import annotations

import itertools
import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL_NAME = "fake"
CONTEXT = 200_000
"""The context size in tokens that the model reports; agents refuse small models."""
FILLER = "Let me check. "
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
counter = itertools.count(1)


class ClientLeft(Exception):
    """The client closed the connection before the end of the answer."""


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """The answer to a request, and its timing in seconds."""

    first: float = 0.2
    every: float = 0.02
    words: int = 20
    run: str = ""
    risk: str = "LOW"
    finish: str = ""
    think: bool = False
    fail: int = 0

    @property
    def text(self) -> str:
        return "".join(f"word{i} " for i in range(self.words))


@dataclass(slots=True, eq=False)
class ModelRequest:
    """A request of an agent. `left_at` is when it closed its connection early, by `time.monotonic`."""

    body: dict[str, Any]
    left_at: float | None = None
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body["messages"])

    @property
    def plan(self) -> ResponsePlan:
        """The plan of the last user message; after a tool result it asks for words alone."""
        place = max((i for i, message in enumerate(self.messages) if message["role"] == "user"), default=-1)
        plan = parse_plan(last_text(self.messages[place])) if place >= 0 else ResponsePlan()
        has_result = any(message["role"] == "tool" for message in self.messages[place + 1 :])
        return replace(plan, run="", finish="") if has_result else plan


def last_text(message: dict[str, Any]) -> str:
    """Return the last text of a message: some agents put earlier unanswered messages before it."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else str(content[-1].get("text", ""))


def parse_plan(text: str) -> ResponsePlan:
    """Return the plan that the marks in a text ask for."""
    plan = ResponsePlan()
    for mark in re.findall(r"\[([^\]]+)\]", text):
        name, _, rest = mark.partition(" ")
        if name in ("run", "finish", "risk"):
            plan = replace(plan, **{name: rest})
        elif name == "think":
            plan = replace(plan, think=True)
        elif name == "fail":
            plan = replace(plan, fail=int(rest))
        else:
            plan = replace(plan, **parse_timing(mark))
    return plan


def parse_timing(mark: str) -> dict[str, Any]:
    found = dict(re.findall(r"\b(first|every|words)=([\d.]+)", mark))
    return {name: int(value) if name == "words" else float(value) for name, value in found.items()}


def make_tool_call(request: ModelRequest, plan: ResponsePlan) -> dict[str, Any] | None:
    """Return the tool call of the answer, with the arguments that the agent's tools require."""
    name, arguments = (
        ("terminal", {"command": plan.run}) if plan.run else ("finish", {"message": plan.finish})
    )
    if not (plan.run or plan.finish):
        return None
    tools = {tool["function"]["name"]: tool["function"] for tool in request.body.get("tools") or []}
    properties = tools.get(name, {}).get("parameters", {}).get("properties", {})
    more = {"security_risk": plan.risk, "summary": "Run a command."}
    arguments |= {key: value for key, value in more.items() if key in properties}
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"index": 0, "id": f"call_{next(counter)}", "type": "function", "function": function}


def plan_deltas(request: ModelRequest, plan: ResponsePlan) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield the answer: seconds to wait, and then a delta."""
    text = FILLER if plan.run else "" if plan.finish else plan.text
    wait = plan.first
    for word in re.findall(r"\S+ ", "Well, think hard. " if plan.think else ""):
        yield wait, {"reasoning_content": word}
        wait = plan.every
    for word in re.findall(r"\S+ ", text):
        yield wait, {"content": word}
        wait = plan.every
    call = make_tool_call(request, plan)
    if call is not None:
        yield wait, {"tool_calls": [call]}


class Connection(BaseHTTPRequestHandler):
    """One connection of an agent."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: FakeModel

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        model = {"id": MODEL_NAME, "object": "model", "owned_by": "tests", "context_length": CONTEXT}
        self.answer(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.endswith("/chat/completions"):
            self.answer(404, {"error": {"message": "Not found."}})
            return
        request = ModelRequest(body)
        self.server.requests.append(request)
        try:
            self.reply(request, request.plan)
        except (ClientLeft, OSError):
            request.left_at = time.monotonic()
            self.close_connection = True
        finally:
            request.closed.set()

    def reply(self, request: ModelRequest, plan: ResponsePlan) -> None:
        if plan.fail:
            self.answer(plan.fail, {"error": {"message": "The model broke down.", "type": "server_error"}})
        elif request.body.get("stream"):
            self.stream(request, plan)
        else:
            self.complete(request, plan)

    def complete(self, request: ModelRequest, plan: ResponsePlan) -> None:
        parts = [*plan_deltas(request, plan)]
        self.wait(sum(wait for wait, _ in parts))
        text = "".join(delta.get("content", "") for _, delta in parts)
        calls = [call for _, delta in parts for call in delta.get("tool_calls", [])]
        message = {"role": "assistant", "content": text or None} | ({"tool_calls": calls} if calls else {})
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        self.answer(200, completion_object("chat.completion") | {"choices": [choice], "usage": USAGE})

    def stream(self, request: ModelRequest, plan: ResponsePlan) -> None:
        self.begin(200, "text/event-stream", "transfer-encoding", "chunked")
        fixed, reason = completion_object("chat.completion.chunk"), "stop"
        self.event(fixed, {"role": "assistant", "content": ""})
        for wait, delta in plan_deltas(request, plan):
            self.wait(wait)
            self.event(fixed, delta)
            reason = "tool_calls" if "tool_calls" in delta else reason
        self.event(fixed, {}, reason)
        if (request.body.get("stream_options") or {}).get("include_usage"):
            self.chunk(json.dumps({**fixed, "choices": [], "usage": USAGE}))
        self.chunk("[DONE]")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def wait(self, seconds: float) -> None:
        """Wait. Raises `ClientLeft` if the client closes the connection before."""
        if select.select([self.connection], [], [], seconds)[0]:
            raise ClientLeft

    def event(self, fixed: dict[str, Any], delta: dict[str, Any], reason: str | None = None) -> None:
        self.chunk(json.dumps({**fixed, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}))

    def chunk(self, data: str) -> None:
        raw = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(raw), raw))
        self.wfile.flush()

    def begin(self, status: int, kind: str, name: str, value: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header(name, value)
        self.end_headers()

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.begin(status, "application/json", "content-length", str(len(data)))
        self.wfile.write(data)
        self.wfile.flush()


def completion_object(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{next(counter)}", "object": kind, "created": 1, "model": MODEL_NAME}


class FakeModel(ThreadingHTTPServer):
    """`with FakeModel() as model` answers at `model.url`; `requests` are the requests so far, in order."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.requests: list[ModelRequest] = []
        self.open: set[socket.socket] = set()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self) -> FakeModel:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        for connection in [*self.open]:
            connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
