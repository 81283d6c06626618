"""A client that calls an ASGI application in this process and records every send with its time.

Other test clients gather the body before they return, so that they cannot test a stream. This one can also
disconnect at any moment.
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
class RecordedResponse:
    """A response. `sends` is [(seconds since the request, body bytes)]; the last one ends the body."""

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
        """The chunks of each send, with its time."""
        return [(when, parse_chunks(data)) for when, data in self.sends]

    @property
    def texts(self) -> list[tuple[float, str]]:
        """The text of each send that has some, with its time."""
        texts = [(when, "".join(map(chunk_text, found))) for when, found in self.timeline]
        return [(when, text) for when, text in texts if text]

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.texts)

    @property
    def finish_reason(self) -> str | None:
        reasons = [chunk["choices"][0]["finish_reason"] for chunk in self.chunks if chunk["choices"]]
        return next(filter(None, reasons), None)


def parse_chunks(data: bytes) -> list[dict[str, Any]]:
    """Return the JSON chunks of complete server-sent events."""
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


def chunk_text(chunk: dict[str, Any]) -> str:
    return (chunk["choices"][0]["delta"].get("content") or "") if chunk.get("choices") else ""


@asynccontextmanager
async def run_lifespan(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Run the application's lifespan; yield the state that it offers to connections."""
    state: dict[str, Any] = {}
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    lifespan = asyncio.ensure_future(app({"type": "lifespan", "state": state}, inbox.get, outbox.put))
    inbox.put_nowait({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    try:
        yield state
    finally:
        inbox.put_nowait({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await lifespan


async def send_request(
    app: ASGIApp,
    body: bytes | dict[str, Any] | None = None,
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    hang_up: float | None = None,
    pieces: int = 1,
    response: RecordedResponse | None = None,
) -> RecordedResponse:
    """Send one request, its body in `pieces` messages; disconnect after `hang_up` seconds if that is given.

    `response` is filled while the response arrives, for tests that read it meanwhile.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    response = response or RecordedResponse()
    disconnected = asyncio.Event()
    payload = json.dumps(body).encode() if isinstance(body, dict) else (body or b"")
    size = max(1, -(-len(payload) // pieces))
    queue = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]

    async def receive() -> dict[str, Any]:
        if queue:
            piece = queue.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(queue)}
        await disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            response.status = message["status"]
            response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif not disconnected.is_set():
            assert not response.ended, "something was sent after the end of the body"
            response.sends.append((loop.time() - started, message.get("body", b"")))
            response.ended = not message.get("more_body", False)

    timer = None if hang_up is None else loop.call_later(hang_up, disconnected.set)
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
    return response
