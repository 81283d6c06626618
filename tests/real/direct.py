"""Real agents asked directly, by their own protocols, with nothing of ours between."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.real.model import Asked
from tests.real.servers import Server

PATIENCE = 30.0
"""Seconds until a test gives up."""
ENDS = {"finished", "error", "stuck", "paused", "waiting_for_confirmation"}
Frame = dict[str, Any]


def client(server: Server, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=PATIENCE, trust_env=False)


class Conversation:
    """One OpenHands conversation, seen through its session socket. `frames` is what came so far."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection, path: str) -> None:
        self.http = http
        self.socket = socket
        self.path = path
        self.frames: list[Frame] = []

    async def post(self, what: str, body: Frame | None = None) -> httpx.Response:
        return await self.http.post(f"{self.path}/{what}", json=body or {})

    async def say(self, text: str) -> None:
        await self.socket.send(json.dumps({"role": "user", "content": [{"type": "text", "text": text}]}))

    async def until(self, wanted: Callable[[Frame], object]) -> Frame:
        async with asyncio.timeout(PATIENCE):
            while True:
                frame: Frame = json.loads(await self.socket.recv())
                self.frames.append(frame)
                if wanted(frame):
                    return frame

    async def end(self) -> str:
        """How the run ended."""
        frame = await self.until(lambda frame: state(frame) in ENDS)
        return state(frame)

    async def ask(self, text: str) -> str:
        await self.say(text)
        return await self.end()

    @property
    def said(self) -> str:
        return "".join(frame["content"] for frame in self.frames if frame["type"] == "delta")

    def events(self, kind: str) -> list[Frame]:
        return [event for event in map(durable, self.frames) if event.get("kind") == kind]


def durable(frame: Frame) -> Frame:
    event: Frame = frame["event"] if frame["type"] == "durable" else {}
    return event


def state(frame: Frame) -> str:
    event = durable(frame)
    return str(event["value"]) if event.get("key") == "execution_status" else ""


def is_delta(frame: Frame) -> bool:
    return bool(frame["type"] == "delta")


def order(server: Server, identity: str, **more: Any) -> Frame:
    """What creates a lean conversation: its own model, one tool, and an answer in plain words."""
    llm = {"model": "openai/fake", "base_url": server.model_url, "api_key": "none", "stream": True}
    agent = {"kind": "Agent", "llm": llm, "tools": [{"name": "terminal"}], "include_default_tools": []}
    place = {"kind": "LocalWorkspace", "working_dir": str(server.folder / "workspace")}
    return {"conversation_id": identity, "agent": agent, "workspace": place, "autotitle": False, **more}


def socket(server: Server, identity: str, **headers: str) -> connect:
    """The session socket, yet without a key."""
    url = f"{server.url.replace('http', 'ws', 1)}/sockets/session/{identity}"
    return connect(url, compression=None, max_size=8 * 2**20, proxy=None, additional_headers=headers)


def auth(key: str) -> str:
    """The first frame on a session socket."""
    return json.dumps({"type": "auth", "session_api_key": key})


@asynccontextmanager
async def conversation(server: Server, **more: Any) -> AsyncIterator[Conversation]:
    """A conversation with an open socket that is subscribed, and removed at the end."""
    identity = str(uuid.uuid4())
    async with client(server, **{"X-Session-API-Key": server.key}) as http:
        created = await http.post("/api/conversations", json=order(server, identity, **more))
        assert created.status_code == 201, created.text
        async with socket(server, identity) as connection:
            await connection.send(auth(server.key))
            one = Conversation(http, connection, f"/api/conversations/{identity}")
            await one.until(lambda frame: frame["type"] == "transient")
            yield one
        await http.delete(f"/api/conversations/{identity}")


async def left(asked: Asked) -> None:
    """Wait until the agent hangs up on its model."""
    assert await asyncio.to_thread(asked.over.wait, PATIENCE)
    assert asked.left is not None, "the answer went to its end"


class Run:
    """One run of Hermes, to be followed once. `events` is what happened, `replies` what our posts got."""

    def __init__(self, http: httpx.AsyncClient, path: str) -> None:
        self.http = http
        self.path = path
        self.events: list[Frame] = []
        self.replies: list[httpx.Response] = []

    async def follow(self, upon: str = "", do: str = "", body: Frame | None = None) -> str:
        """How the run ended. At the first event `upon`, something is posted."""
        async with asyncio.timeout(PATIENCE), self.http.stream("GET", f"{self.path}/events") as answer:
            async for line in answer.aiter_lines():
                if not line.startswith("data:"):
                    continue
                self.events.append(json.loads(line.removeprefix("data:")))
                if upon and self.names().count(upon) == 1 and self.names()[-1] == upon:
                    self.replies.append(await self.http.post(f"{self.path}/{do}", json=body or {}))
        return self.names()[-1]

    def names(self) -> list[str]:
        return [event["event"] for event in self.events]

    @property
    def said(self) -> str:
        return "".join(event["delta"] for event in self.events if event["event"] == "message.delta")


@asynccontextmanager
async def run(server: Server, text: str, **more: Any) -> AsyncIterator[Run]:
    """A new run."""
    async with client(server, Authorization=f"Bearer {server.key}") as http:
        begun = await http.post("/v1/runs", json={"input": text, **more})
        assert begun.status_code == 202, begun.text
        yield Run(http, f"/v1/runs/{begun.json()['run_id']}")
