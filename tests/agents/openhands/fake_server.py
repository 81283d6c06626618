"""A fake OpenHands server on the loopback interface: conversations, their sockets, and confirmations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.agents.zeroclaw.fake_server import pipe
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.events import REASONING, Event, Message, Turn

KEY = "very-secret-key"
CALL = "6f0c1a2e-0000-4000-8000-000000000001"
PATH = f"/api/conversations/{CALL}"
Frame = dict[str, Any]
Step = Frame | str | float | bytes | None
"""A frame; a status; a pause in seconds; raw bytes; or None, which breaks the conversation's sockets."""
PROFILES = {"profiles": [{"name": "fast"}, {"name": "good"}], "active_profile": None}
AGENTS = {"profiles": [{"id": "a1", "llm_profile_ref": "fast"}], "active_agent_profile_id": "a1"}
SECRET = "gAAAA-encrypted"


def durable(kind: str, **event: Any) -> Frame:
    return {"type": "durable", "event": {"kind": kind, **event}}


def state_update(key: str, value: Any) -> Frame:
    return durable("ConversationStateUpdateEvent", key=key, value=value)


def usage_update(prompt: int, completion: int) -> Frame:
    spent = {"prompt_tokens": prompt, "completion_tokens": completion}
    return state_update("stats", {"usage_to_metrics": {"voice": {"accumulated_token_usage": spent}}})


def answer_steps(*texts: str, item: str = "i") -> list[Step]:
    """Return the steps of a complete answer that streams."""
    return [*streamed_frames(*texts, item=item), message_event("".join(texts), item), "finished"]


def streamed_frames(*texts: str, item: str = "i") -> list[Frame]:
    """Return the frames of an answer without its end."""
    opened: Frame = {"type": "item_started", "item_id": item, "attempt": 1}
    deltas = [
        {"type": "delta", "item_id": item, "attempt": 1, "order": order, "content": text}
        for order, text in enumerate(texts)
    ]
    return [opened, *deltas]


def message_event(text: str, id: str = "i", source: str = "agent") -> Frame:
    content = [{"type": "text", "text": text}]
    return durable("MessageEvent", source=source, id=id, llm_message={"content": content})


def action_event(summary: str, thought: str = "", id: str = "a", **more: Any) -> Frame:
    parts = [{"type": "text", "text": thought}]
    return durable("ActionEvent", id=id, thought=parts, summary=summary, tool_call_id=f"call_{id}", **more)


class ServedConversation:
    """A conversation: its durable frames, its open sockets, and its active run."""

    def __init__(self) -> None:
        self.log: list[Frame] = []
        self.sockets: list[ServerConnection] = []
        self.run: asyncio.Task[None] | None = None
        self.status = "idle"
        self.interrupts = 0


class FakeOpenHandsServer:
    """`async with FakeOpenHandsServer(turn, turn, ...) as server`: a turn is the steps that a run plays.

    A run without steps left hangs until it is interrupted. The fake refuses a message during a run or while
    an action waits for confirmation, as the agent must never send one.
    """

    def __init__(self, *turns: list[Step], is_legacy: bool = False, key: str | None = None) -> None:
        self.turns = list(turns)
        self.is_legacy = is_legacy
        self.key = key
        # Whether a message starts no run.
        self.at_run_limit = False
        # How many of the next sockets send nothing.
        self.silent_sockets = 0
        # Seconds until a message of the caller arrives.
        self.delay = 0.0
        # A status and a body for requests, by their method and the end of their path.
        self.answers: dict[str, tuple[int, Any]] = {}
        # Prefixes of paths that are answered by 404.
        self.missing_paths: tuple[str, ...] = ()
        self.conversations: dict[str, ServedConversation] = {}
        self.received_texts: list[str] = []
        self.received_contents: list[Any] = []
        self.requests: list[str] = []
        self.bodies: list[Any] = []
        self.opened_sockets: list[str] = []
        self.auth_frames: list[Any] = []
        self._pipes: set[asyncio.Task[None]] = set()

    def bodies_of(self, end: str) -> list[Any]:
        """Return the bodies of the requests whose request lines have this end."""
        return [body for line, body in zip(self.requests, self.bodies, strict=True) if line.endswith(end)]

    async def __aenter__(self) -> FakeOpenHandsServer:
        self._inner = await serve(self._socket, "127.0.0.1", 0, process_request=self._process_request)
        self._outer = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._outer.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._outer.close()
        runs = [
            conversation.run for conversation in self.conversations.values() if conversation.run is not None
        ]
        for task in (*self._pipes, *runs):
            task.cancel()
        await asyncio.gather(*self._pipes, *runs, return_exceptions=True)
        self._inner.close()
        await self._inner.wait_closed()

    # Sockets

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.opened_sockets.append(request.path)
        if self.is_legacy and "/session/" in request.path:
            return connection.respond(403, "no")
        return None

    async def _socket(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        parts = urlsplit(connection.request.path)
        with suppress(ConnectionClosed):
            if not self.is_legacy and self.key is not None:
                self.auth_frames.append(orjson.loads(await connection.recv()))
                if self.auth_frames[-1].get("session_api_key") != self.key:
                    return await connection.close(4001, f"not {self.auth_frames[-1].get('session_api_key')}")
            conversation = self.conversations.get(parts.path.split("/")[-1])
            if conversation is None:
                return await connection.close(4004, "Conversation not found")
            if self.silent_sockets:
                self.silent_sockets -= 1
                await connection.wait_closed()
                return
            conversation.sockets.append(connection)
            await self._replay(conversation, connection, parse_qs(parts.query).get("after_seq"))
            async for data in connection:
                await self._receive(conversation, orjson.loads(data))

    async def _replay(
        self, conversation: ServedConversation, connection: ServerConnection, after: list[str] | None
    ) -> None:
        full = {"kind": "ConversationStateUpdateEvent", "key": "full_state", "value": {"stats": {}}}
        if self.is_legacy:
            return await connection.send(orjson.dumps(full).decode())
        sync: Frame = {"type": "sync"} | (
            {"through_seq": len(conversation.log) - 1} if conversation.log else {}
        )
        missed = conversation.log[int(after[0]) + 1 :] if after else []
        for frame in (sync, *missed, {"type": "transient", "event": full}):
            await connection.send(orjson.dumps(frame).decode())

    async def _receive(self, conversation: ServedConversation, frame: Frame) -> None:
        text = frame["content"][0]["text"]
        self.received_texts.append(text)
        self.received_contents.append(frame["content"])
        assert conversation.run is None, "a message during a run waits for its end"
        assert conversation.status != "waiting_for_confirmation", "any message confirms the action"
        await asyncio.sleep(self.delay)
        interrupts = conversation.interrupts
        await self.emit(conversation, message_event(text, "u", "user"))
        if conversation.interrupts > interrupts:
            return
        if self.at_run_limit:
            detail = "Message saved. Retry POST /run"
            await self.emit(
                conversation, {"type": "error", "code": "ConversationRunLimitExceeded", "detail": detail}
            )
        else:
            self.start(conversation)

    async def emit(self, conversation: ServedConversation, frame: Frame) -> None:
        if frame["type"] == "durable":
            frame = frame | {"seq": len(conversation.log)}
            conversation.log.append(frame)
            if frame["event"].get("key") == "execution_status":
                conversation.status = frame["event"]["value"]
        if self.is_legacy:
            event = {"kind": "StreamingDeltaEvent", "content": frame.get("content")}
            if frame["type"] not in ("durable", "transient", "delta"):
                return
            frame = event if frame["type"] == "delta" else frame["event"]
        for connection in conversation.sockets:
            with suppress(ConnectionClosed):
                await connection.send(orjson.dumps(frame).decode())

    def start(self, conversation: ServedConversation) -> None:
        steps: list[Step] = self.turns.pop(0) if self.turns else [60.0]
        conversation.run = asyncio.create_task(self._play(conversation, steps))

    async def _play(self, conversation: ServedConversation, steps: list[Step]) -> None:
        await self.emit(conversation, state_update("execution_status", "running"))
        for step in steps:
            if step is None:
                for connection in conversation.sockets:
                    connection.transport.abort()
                conversation.sockets.clear()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, bytes):
                for connection in conversation.sockets:
                    await connection.send(step)
            elif isinstance(step, str):
                conversation.run = None
                await self.emit(conversation, state_update("execution_status", step))
            else:
                await self.emit(conversation, step)
        conversation.run = None

    # Requests

    async def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        for line, answer in self.answers.items():
            if f"{method} {path}".endswith(line):
                return answer
        if path.startswith(self.missing_paths) if self.missing_paths else False:
            return 404, {"detail": "Not Found"}
        match method, path.split("/")[2:]:
            case "GET", ["profiles"]:
                return 200, PROFILES
            case "GET", ["agent-profiles"]:
                return 200, AGENTS
            case "GET", ["profiles", name]:
                return 200, {"name": name, "config": {"model": name, "api_key": SECRET, "stream": False}}
            case "POST", ["conversations"]:
                exists = body["conversation_id"] in self.conversations
                self.conversations.setdefault(body["conversation_id"], ServedConversation())
                return 200 if exists else 201, {"id": body["conversation_id"]}
            case "DELETE", ["conversations", id]:
                return (200, {"success": True}) if await self._delete(id) else (404, {"detail": "Not Found"})
            case "POST", ["conversations", id, *action]:
                return await self._post(self.conversations[id], "/".join(action), body)
        return 404, {"detail": "Not Found"}

    async def _delete(self, id: str) -> bool:
        conversation = self.conversations.pop(id, None)
        if conversation is not None and conversation.run is not None:
            conversation.run.cancel()
        return conversation is not None

    async def _post(self, conversation: ServedConversation, action: str, body: Any) -> tuple[int, Any]:
        conversation.interrupts += action == "interrupt"
        if action == "interrupt" and conversation.run is not None:
            conversation.run.cancel()
            await asyncio.wait((conversation.run,))
            conversation.run = None
            await self.emit(conversation, {"type": "item_aborted", "item_id": "i", "attempt": 1})
            await self.emit(conversation, state_update("execution_status", "paused"))
        elif action == "run" or (action.endswith("confirmation") and body["accept"]):
            self.start(conversation)
        elif action.endswith("confirmation") and conversation.status == "waiting_for_confirmation":
            await self.emit(conversation, state_update("execution_status", "idle"))
            await self.emit(conversation, durable("UserRejectObservation", tool_call_id="call_a"))
        return 200, {"success": True}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"websocket" in head:
                await self._proxy(head, reader, writer)
            while True:
                method, path, _ = head.decode().split(" ", 2)
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0"
                body = await reader.readexactly(int(length))
                self.requests.append(f"{method} {path}")
                self.bodies.append(orjson.loads(body) if body else head.decode())
                status, value = await self._answer(method, path, self.bodies[-1])
                data = value if isinstance(value, bytes) else orjson.dumps(value)
                head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n" % status
                writer.write(head + b"content-length: %d\r\n\r\n%b" % (len(data), data))
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._pipes.discard(task)
            writer.transport.abort()

    async def _proxy(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection to the websocket server."""
        port = self._inner.sockets[0].getsockname()[1]
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        outer.write(head)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pipe(reader, outer))
                group.create_task(pipe(inner, writer))
        except* ConnectionError:
            pass
        finally:
            outer.transport.abort()
        raise ConnectionError


def alternating_messages(*texts: str, system: str = "") -> tuple[Message, ...]:
    """Return a history in which the caller and the agent alternate."""
    dialog = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(texts)]
    return (*([Message("system", system)] if system else []), *dialog)


def turn(*texts: str, call: str | None = CALL, system: str = "", **more: Any) -> Turn:
    return Turn("t", alternating_messages(*(texts or ("Hi",)), system=system), call=call, **more)


async def collect_events(agent: OpenHandsAgent, turn: Turn) -> list[Event]:
    """Return all events of a reply but `REASONING`."""
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply if event != REASONING]


@asynccontextmanager
async def served_agent(
    *turns: list[Step], is_legacy: bool = False, **options: Any
) -> AsyncIterator[tuple[FakeOpenHandsServer, OpenHandsAgent]]:
    async with FakeOpenHandsServer(*turns, is_legacy=is_legacy) as server:
        agent = OpenHandsAgent(server.url, **({"tools": ("terminal",)} | options))
        try:
            yield server, agent
        finally:
            await agent.aclose()


class SinkUntil:
    """An `EventSink` that takes no more after `last`."""

    def __init__(self, last: Event) -> None:
        self.last = last

    def push(self, event: Event) -> bool:
        return event != self.last

    def flush(self) -> None: ...


async def read_until(reply: AsyncGenerator[Event, None], last: Event) -> None:
    """Read events up to `last`."""
    async for event in reply:
        if event == last:
            return
