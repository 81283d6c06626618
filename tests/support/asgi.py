"""Drive an ASGI application by hand: requests in, what it sent and when out.

Test clients that gather the body before they return cannot see a stream; this one notes the loop's
time of every send, and can hang up at any moment.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp


@dataclass
class Answer:
    """What came back. `sends` is [(time, body bytes)], the last one with the end of the body."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    sends: list[tuple[float, bytes]] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.sends)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.json["error"])

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [chunk for _, found in self.timeline for chunk in found]

    @property
    def timeline(self) -> list[tuple[float, list[dict[str, Any]]]]:
        """The chunks of each send."""
        return [(when, chunks(data)) for when, data in self.sends]

    @property
    def spoken(self) -> list[tuple[float, str]]:
        """What was said, and when."""
        said = [(when, "".join(map(content, found))) for when, found in self.timeline]
        return [(when, text) for when, text in said if text]

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.spoken)

    @property
    def reason(self) -> str | None:
        reasons = [chunk["choices"][0]["finish_reason"] for chunk in self.chunks if chunk["choices"]]
        return next(filter(None, reasons), None)


def chunks(data: bytes) -> list[dict[str, Any]]:
    """The JSON chunks among some whole events."""
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


def content(chunk: dict[str, Any]) -> str:
    return (chunk["choices"][0]["delta"].get("content") or "") if chunk["choices"] else ""


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """The application between its start and its end; yields the state that it offers to connections."""
    state: dict[str, Any] = {}
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan", "state": state}, told.get, heard.put))
    told.put_nowait({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    try:
        yield state
    finally:
        told.put_nowait({"type": "lifespan.shutdown"})
        assert (await heard.get())["type"] == "lifespan.shutdown.complete"
        await life


async def drive(
    app: ASGIApp,
    body: bytes | dict[str, Any] | None = None,
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    hang_up: float | None = None,
    pieces: int = 1,
    answer: Answer | None = None,
) -> Answer:
    """Send one request, its body in so many pieces; hang up after `hang_up` seconds if that is given.

    `answer` is filled while it comes, for whoever wants to look meanwhile.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = answer or Answer()
    gone = asyncio.Event()
    sent = json.dumps(body).encode() if isinstance(body, dict) else (body or b"")
    size = max(1, -(-len(sent) // pieces))
    queue = [sent[at : at + size] for at in range(0, len(sent), size)] or [b""]

    async def receive() -> dict[str, Any]:
        if queue:
            piece = queue.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(queue)}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif not gone.is_set():
            assert not answer.ended, "something was sent after the end of the body"
            answer.sends.append((loop.time() - started, message.get("body", b"")))
            answer.ended = not message.get("more_body", False)

    timer = None if hang_up is None else loop.call_later(hang_up, gone.set)
    fields = {"host": "127.0.0.1:8080", "content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8080),
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
    }
    try:
        await app(scope, receive, send)
    finally:
        if timer is not None:
            timer.cancel()
    return answer
