"""A chat-completions server in the place of the model: it says what it is told to, on time, and remembers.

What the user says last decides the answer. Marks in it ask for more than words:

    Hello [first=0.4 every=0.02 words=40]      "word0 word1 ...": seconds before the first and between words
    Look it up [run sleep 5]                   "Let me check. " and a call of the terminal tool, then words
    Delete it [risk HIGH] [run rm note]        the same, with the risk that the model sees in the call
    Are we done? [finish We are done.]         a call of the tool `finish` with this message
    Think first [think]                        some reasoning before the words
    Break down [fail 503]                      an error instead of an answer

Blocking sockets and a thread per connection, so that it outlives the event loop of a test.
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

NAME = "fake"
CONTEXT = 200_000
"""Tokens that the model claims to take; agents refuse small models."""
FILLER = "Let me check. "
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
numbers = itertools.count(1)


class Left(Exception):
    """The client did not wait for the end of the answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to answer, and when; times are seconds."""

    first: float = 0.2
    every: float = 0.02
    words: int = 20
    run: str = ""
    risk: str = "LOW"
    finish: str = ""
    think: bool = False
    fail: int = 0

    @property
    def said(self) -> str:
        return "".join(f"word{i} " for i in range(self.words))


@dataclass(slots=True, eq=False)
class Asked:
    """A request, and what became of it; times are `time.monotonic`, and None where it did not happen."""

    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)
    spoke: float | None = None
    ended: float | None = None
    left: float | None = None
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body["messages"])

    @property
    def plan(self) -> Plan:
        """What the user's last words ask for; once the tool has answered they ask for words alone."""
        place = max((i for i, told in enumerate(self.messages) if told["role"] == "user"), default=-1)
        plan = planned(last(self.messages[place])) if place >= 0 else Plan()
        worked = any(told["role"] == "tool" for told in self.messages[place + 1 :])
        return replace(plan, run="", finish="") if worked else plan


def last(message: dict[str, Any]) -> str:
    """The last text of a message: some agents put what the user said before, unanswered, in front of it."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else str(content[-1].get("text", ""))


def planned(said: str) -> Plan:
    """The plan that the marks in a text ask for."""
    plan = Plan()
    for mark in re.findall(r"\[([^\]]+)\]", said):
        name, _, rest = mark.partition(" ")
        if name in ("run", "finish", "risk"):
            plan = replace(plan, **{name: rest})
        elif name == "think":
            plan = replace(plan, think=True)
        elif name == "fail":
            plan = replace(plan, fail=int(rest))
        else:
            plan = replace(plan, **timing(mark))
    return plan


def timing(mark: str) -> dict[str, Any]:
    found = dict(re.findall(r"\b(first|every|words)=([\d.]+)", mark))
    return {name: int(value) if name == "words" else float(value) for name, value in found.items()}


def call(asked: Asked, plan: Plan) -> dict[str, Any] | None:
    """The tool call of the answer, with the arguments that this agent's tools insist on."""
    name, given = ("terminal", {"command": plan.run}) if plan.run else ("finish", {"message": plan.finish})
    if not (plan.run or plan.finish):
        return None
    tools = {tool["function"]["name"]: tool["function"] for tool in asked.body.get("tools") or []}
    known = tools.get(name, {}).get("parameters", {}).get("properties", {})
    more = {"security_risk": plan.risk, "summary": "Run a command."}
    given |= {key: value for key, value in more.items() if key in known}
    function = {"name": name, "arguments": json.dumps(given)}
    return {"index": 0, "id": f"call_{next(numbers)}", "type": "function", "function": function}


def deltas(asked: Asked, plan: Plan) -> Iterator[tuple[float, dict[str, Any]]]:
    """The answer: how long to wait, and then what to say."""
    said = FILLER if plan.run else "" if plan.finish else plan.said
    wait = plan.first
    for word in re.findall(r"\S+ ", "Well, think hard. " if plan.think else ""):
        yield wait, {"reasoning_content": word}
        wait = plan.every
    for word in re.findall(r"\S+ ", said):
        yield wait, {"content": word}
        wait = plan.every
    wanted = call(asked, plan)
    if wanted is not None:
        yield wait, {"tool_calls": [wanted]}


class Connection(BaseHTTPRequestHandler):
    """One connection of an agent."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Model

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        model = {"id": NAME, "object": "model", "owned_by": "tests", "context_length": CONTEXT}
        self.answer(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.endswith("/chat/completions"):
            self.answer(404, {"error": {"message": "Nothing here."}})
            return
        asked = Asked(body)
        self.server.asked.append(asked)
        try:
            self.reply(asked, asked.plan)
            asked.ended = time.monotonic()
        except (Left, OSError):
            asked.left = time.monotonic()
            self.close_connection = True
        finally:
            asked.over.set()

    def reply(self, asked: Asked, plan: Plan) -> None:
        if plan.fail:
            self.answer(plan.fail, {"error": {"message": "The model broke down.", "type": "server_error"}})
        elif asked.body.get("stream"):
            self.stream(asked, plan)
        else:
            self.whole(asked, plan)

    def whole(self, asked: Asked, plan: Plan) -> None:
        parts = [*deltas(asked, plan)]
        self.wait(sum(wait for wait, _ in parts))
        said = "".join(delta.get("content", "") for _, delta in parts)
        calls = [wanted for _, delta in parts for wanted in delta.get("tool_calls", [])]
        message = {"role": "assistant", "content": said or None} | ({"tool_calls": calls} if calls else {})
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        self.answer(200, frame("chat.completion") | {"choices": [choice], "usage": USAGE})

    def stream(self, asked: Asked, plan: Plan) -> None:
        self.begin(200, "text/event-stream", "transfer-encoding", "chunked")
        fixed, reason = frame("chat.completion.chunk"), "stop"
        self.event(fixed, {"role": "assistant", "content": ""})
        for wait, delta in deltas(asked, plan):
            self.wait(wait)
            asked.spoke = asked.spoke or time.monotonic()
            self.event(fixed, delta)
            reason = "tool_calls" if "tool_calls" in delta else reason
        self.event(fixed, {}, reason)
        if (asked.body.get("stream_options") or {}).get("include_usage"):
            self.chunk(json.dumps({**fixed, "choices": [], "usage": USAGE}))
        self.chunk("[DONE]")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def wait(self, seconds: float) -> None:
        """Wait, unless the client hangs up before."""
        if select.select([self.connection], [], [], seconds)[0]:
            raise Left

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


def frame(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{next(numbers)}", "object": kind, "created": 1, "model": NAME}


class Model(ThreadingHTTPServer):
    """`with Model() as model`: answers at `model.url`; `asked` are the requests so far, in their order."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.asked: list[Asked] = []
        self.open: set[socket.socket] = set()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self) -> Model:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        for connection in [*self.open]:
            connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
