"""Clients of the real agents by their own protocols, without the gateway."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.real.model import ModelRequest
from tests.real.servers import AgentServer

TIMEOUT = 30.0
"""Seconds that a test waits for an event."""
END_STATUSES = {"finished", "error", "stuck", "paused", "waiting_for_confirmation"}
Frame = dict[str, Any]


def http_client(server: AgentServer, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=TIMEOUT, trust_env=False)


class DirectConversation:
    """One OpenHands conversation, with its session socket. `frames` are those received so far."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection, path: str) -> None:
        self.http = http
        self.socket = socket
        self.path = path
        self.frames: list[Frame] = []

    async def post(self, action: str, body: Frame | None = None) -> httpx.Response:
        return await self.http.post(f"{self.path}/{action}", json=body or {})

    async def say(self, text: str) -> None:
        await self.socket.send(json.dumps({"role": "user", "content": [{"type": "text", "text": text}]}))

    async def until(self, wanted: Callable[[Frame], object]) -> Frame:
        async with asyncio.timeout(TIMEOUT):
            while True:
                frame: Frame = json.loads(await self.socket.recv())
                self.frames.append(frame)
                if wanted(frame):
                    return frame

    async def end(self) -> str:
        """Wait until the run ends, and return its status."""
        frame = await self.until(lambda frame: execution_status(frame) in END_STATUSES)
        return execution_status(frame)

    async def ask(self, text: str) -> str:
        await self.say(text)
        return await self.end()

    @property
    def text(self) -> str:
        return "".join(frame["content"] for frame in self.frames if frame["type"] == "delta")

    def events(self, kind: str) -> list[Frame]:
        return [event for event in map(durable_event, self.frames) if event.get("kind") == kind]


def durable_event(frame: Frame) -> Frame:
    event: Frame = frame["event"] if frame["type"] == "durable" else {}
    return event


def execution_status(frame: Frame) -> str:
    event = durable_event(frame)
    return str(event["value"]) if event.get("key") == "execution_status" else ""


def is_delta(frame: Frame) -> bool:
    return bool(frame["type"] == "delta")


def conversation_request(server: AgentServer, id: str, **more: Any) -> Frame:
    """Return the body that creates a conversation with its own model, one tool, and a plain-text answer."""
    llm = {"model": "openai/fake", "base_url": server.model_url, "api_key": "none", "stream": True}
    agent = {"kind": "Agent", "llm": llm, "tools": [{"name": "terminal"}], "include_default_tools": []}
    workspace = {"kind": "LocalWorkspace", "working_dir": str(server.folder / "workspace")}
    return {"conversation_id": id, "agent": agent, "workspace": workspace, "autotitle": False, **more}


def connect_socket(server: AgentServer, id: str, **headers: str) -> connect:
    """Connect to the session socket, without sending a key."""
    url = f"{server.url.replace('http', 'ws', 1)}/sockets/session/{id}"
    return connect(url, compression=None, max_size=8 * 2**20, proxy=None, additional_headers=headers)


def auth_frame(key: str) -> str:
    """Return the first frame of a session socket."""
    return json.dumps({"type": "auth", "session_api_key": key})


@asynccontextmanager
async def open_conversation(server: AgentServer, **more: Any) -> AsyncIterator[DirectConversation]:
    """Open a conversation with a subscribed socket, and delete it at exit."""
    id = str(uuid.uuid4())
    async with http_client(server, **{"X-Session-API-Key": server.key}) as http:
        created = await http.post("/api/conversations", json=conversation_request(server, id, **more))
        assert created.status_code == 201, created.text
        async with connect_socket(server, id) as connection:
            await connection.send(auth_frame(server.key))
            conversation = DirectConversation(http, connection, f"/api/conversations/{id}")
            await conversation.until(lambda frame: frame["type"] == "transient")
            yield conversation
        await http.delete(f"/api/conversations/{id}")


async def wait_until_left(request: ModelRequest) -> None:
    """Wait until the agent closes its request to the model."""
    assert await asyncio.to_thread(request.closed.wait, TIMEOUT)
    assert request.left_at is not None, "the model answered to the end"


class DirectRun:
    """One run of Hermes. `events` are its events so far, `responses` those to our posts."""

    def __init__(self, http: httpx.AsyncClient, path: str) -> None:
        self.http = http
        self.path = path
        self.events: list[Frame] = []
        self.responses: list[httpx.Response] = []

    async def follow(self, upon: str = "", do: str = "", body: Frame | None = None) -> str:
        """Read the events to the end, and return the last name. Post to `do` at the first event `upon`."""
        async with asyncio.timeout(TIMEOUT), self.http.stream("GET", f"{self.path}/events") as response:
            async for line in response.aiter_lines():
                if not line.startswith("data:"):
                    continue
                self.events.append(json.loads(line.removeprefix("data:")))
                if upon and self.event_names().count(upon) == 1 and self.event_names()[-1] == upon:
                    self.responses.append(await self.http.post(f"{self.path}/{do}", json=body or {}))
        return self.event_names()[-1]

    def event_names(self) -> list[str]:
        return [event["event"] for event in self.events]

    @property
    def text(self) -> str:
        return "".join(event["delta"] for event in self.events if event["event"] == "message.delta")


@asynccontextmanager
async def start_run(server: AgentServer, text: str, **more: Any) -> AsyncIterator[DirectRun]:
    """Start a run."""
    async with http_client(server, Authorization=f"Bearer {server.key}") as http:
        started = await http.post("/v1/runs", json={"input": text, **more})
        assert started.status_code == 202, started.text
        yield DirectRun(http, f"/v1/runs/{started.json()['run_id']}")
