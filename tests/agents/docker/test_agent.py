"""The docker agent against a fake server: runs, sessions, busy sessions and failures."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from tests.agents.upstream import Action, Upstream, chunk, chunked_head, http_response, wait_until
from voicegw.agents.docker import agent as docker_api
from voicegw.agents.docker.agent import DockerApiAgent
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentUnavailable
from voicegw.events import REASONING, Activity, Event, Message, Turn, Usage

pytestmark = pytest.mark.wire

KEY = "docker-secret"
HI = Message("user", "Hi")


def event(type: str, **fields: Any) -> bytes:
    return b"data: %b\n\n" % orjson.dumps({"type": type, **fields})


def text_event(text: str) -> bytes:
    return event("agent_choice", content=text)


STOPPED = event("stream_stopped")
Step = bytes | float | None
"""Bytes of a stream, a pause in seconds, or None, which breaks the connection."""


@dataclass
class FakeDockerServer:
    """`docker agent serve api`: runs play their steps; a session stays busy after a disconnect."""

    runs: list[tuple[Step, ...]]
    # Seconds that a session stays busy after a disconnect.
    busy_seconds: float = 0.0
    # A status and a body for requests, by a part of their request line.
    refusals: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    teams: bytes = b'[{"name":"desk","multi":false},{"name":"other"}]'
    requests: list[tuple[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    sessions: int = 0
    disconnects: int = 0

    async def __aenter__(self) -> FakeDockerServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def received_texts(self) -> list[str]:
        return [body["messages"][0]["content"] for line, body in self.requests if "/agent/" in line]

    @property
    def lines(self) -> list[str]:
        return [line for line, _ in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
                self.keys.add(fields.get("authorization", ""))
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                line = head.partition(" HTTP")[0]
                self.requests.append((line, orjson.loads(body) if body else None))
                await self._answer(line, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refusal = next((answer for part, answer in self.refusals.items() if part in line), None)
        if refusal is not None:
            return _write(writer, *refusal)
        if line == "GET /api/agents":
            return _write(writer, 200, self.teams)
        if line == "POST /api/sessions":
            self.sessions += 1
            return _write(writer, 200, orjson.dumps({"id": f"s{self.sessions}"}))
        if "/agent/" not in line:
            return _write(writer, 200, b"null")
        session = line.split("/")[3]
        if session in self.busy:
            return _write(writer, 409, b'{"message":"session is already processing a request"}')
        await self._run(session, reader, writer)

    async def _run(self, session: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy.add(session)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        try:
            for step in self.runs.pop(0):
                if step is None:
                    raise ConnectionResetError
                if isinstance(step, float):
                    closed = asyncio.ensure_future(reader.read(1))
                    done, _ = await asyncio.wait((closed,), timeout=step)
                    closed.cancel()
                    if done:
                        self.disconnects += 1
                        await asyncio.sleep(self.busy_seconds)
                        raise ConnectionResetError
                else:
                    writer.write(b"%x\r\n%b\r\n" % (len(step), step))
                    await writer.drain()
        finally:
            self.busy.discard(session)
        writer.write(b"0\r\n\r\n")


def _write(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))


def turn(*messages: Message, call: str | None = "c1", **more: Any) -> Turn:
    return Turn("t", messages or (HI,), call=call, **more)


async def collect_events(agent: DockerApiAgent, turn: Turn) -> list[Event]:
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply if event != REASONING]


async def test_a_turn_is_a_run_and_its_events_are_decoded() -> None:
    run = (
        event("stream_started", session_id="s1"),
        event("agent_choice_reasoning", content="hm"),
        event("tool_call", tool_call={"id": "1", "function": {"name": "shell"}}),
        text_event("a"),
        event("token_usage", usage={"last_message": {"input_tokens": 5, "output_tokens": 2}}),
        STOPPED,
    )
    async with FakeDockerServer([run]) as server:
        agent = DockerApiAgent(server.url, key=KEY, agent="front desk")
        assert await collect_events(agent, turn()) == [Activity("shell"), "a", Usage(5, 2)]
        assert server.requests == [
            ("POST /api/sessions", {"title": "Call"}),
            ("GET /api/agents", None),
            (
                "POST /api/sessions/s1/agent/desk/front%20desk",
                {"messages": [{"role": "user", "content": "Hi"}]},
            ),
        ]
        assert server.keys == {f"Bearer {KEY}"}
        await agent.aclose()


async def test_a_call_has_a_session_from_its_beginning_to_its_end() -> None:
    async with FakeDockerServer([(text_event("a"),), (text_event("b"), STOPPED)]) as server:
        agent = DockerApiAgent(server.url, team="my team")
        await agent.warm()
        await agent.warm("c1")
        assert await collect_events(agent, turn()) == ["a"]
        again = turn(HI, Message("assistant", "a"), Message("user", "More"), heard="")
        assert await collect_events(agent, again) == ["b"]
        await agent.call_ended("c1")
        await agent.aclose()
    run = "POST /api/sessions/s1/agent/my%20team"
    assert server.lines == ["POST /api/sessions", run, run, "DELETE /api/sessions/s1"]
    assert server.received_texts[0] == "Hi"
    assert server.received_texts[1].endswith("heard anything of your last answer.)\n\nMore")


async def test_the_team_is_loaded_at_start() -> None:
    async with FakeDockerServer([]) as server:
        agent = DockerApiAgent(server.url)
        await agent.warm()
        await agent.warm()
        await agent.aclose()
    assert server.lines == ["GET /api/agents"]


@pytest.mark.parametrize(
    ("event_bytes", "action", "answer"),
    [
        (event("tool_call_confirmation"), "resume", "reject"),
        (event("max_iterations_reached"), "resume", "reject"),
        (event("elicitation_request"), "elicitation", "decline"),
    ],
)
async def test_requests_of_a_run_are_rejected_and_the_run_continues(
    event_bytes: bytes, action: str, answer: str
) -> None:
    async with FakeDockerServer(
        [(event_bytes + text_event("ok"), 0.01, text_event("then"), STOPPED)]
    ) as server:
        agent = DockerApiAgent(server.url, team="t")
        assert await collect_events(agent, turn()) == ["ok", "then"]
        line, body = server.requests[-1]
        assert line == f"POST /api/sessions/s1/{action}"
        assert answer in body.values()
        await agent.aclose()


# Interruptions


async def test_closing_a_reply_closes_the_connection_and_the_next_turn_waits_for_the_session() -> None:
    async with FakeDockerServer(
        [(text_event("a"), 60.0), (text_event("b"), STOPPED)], busy_seconds=0.05
    ) as server:
        agent = DockerApiAgent(server.url, team="t")
        reply = agent.reply(turn())
        assert await anext(reply) == "a"
        await reply.aclose()
        later = turn(HI, Message("assistant", "a"), Message("user", "No"), heard="a")
        assert await collect_events(agent, later) == ["b"]
        assert server.disconnects == 1
        assert server.sessions == 1
        assert len(server.received_texts) in (3, 4)
        assert server.received_texts[-1].endswith('heard only "a".)\n\nNo')
        await agent.aclose()


async def test_a_cancelled_task_closes_the_connection() -> None:
    async with FakeDockerServer([(text_event("a"), 60.0), (text_event("b"), STOPPED)]) as server:
        agent = DockerApiAgent(server.url, team="t")
        task = asyncio.create_task(collect_events(agent, turn()))
        await wait_until(lambda: server.busy)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(lambda: server.disconnects == 1)
        assert await collect_events(agent, turn()) == ["b"]
        assert server.sessions == 1
        await agent.aclose()


async def test_a_session_that_stays_busy_is_replaced_by_a_new_one_with_the_history() -> None:
    async with FakeDockerServer(
        [(text_event("a"), 60.0), (text_event("b"), STOPPED)], busy_seconds=60.0
    ) as server:
        agent = DockerApiAgent(server.url, team="t")
        reply = agent.reply(turn())
        assert await anext(reply) == "a"
        await reply.aclose()
        later = turn(HI, Message("assistant", "a"), Message("user", "No"), heard="a")
        assert await collect_events(agent, later) == ["b"]
        runs = [line for line in server.lines if "/agent/" in line]
        assert runs == ["POST /api/sessions/s1/agent/t"] * 5 + ["POST /api/sessions/s2/agent/t"]
        assert "DELETE /api/sessions/s1" in server.lines
        assert "Caller: Hi\nYou: a" in server.received_texts[-1]
        await agent.aclose()


async def test_a_busy_new_session_raises_busy() -> None:
    async with FakeDockerServer([], refusals={"/agent/": (409, b'{"message":"in use"}')}) as server:
        agent = DockerApiAgent(server.url, team="t")
        with pytest.raises(AgentBusy, match="busy even in a new session"):
            await collect_events(agent, turn())
        await agent.aclose()


# The end of a stream


async def test_a_stream_that_continues_after_its_run_is_not_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docker_api, "END_TIMEOUT", 0.02)
    async with FakeDockerServer(
        [(text_event("a") + STOPPED, 60.0), (text_event("b") + STOPPED, None)]
    ) as server:
        agent = DockerApiAgent(server.url, team="t")
        assert await collect_events(agent, turn()) == ["a"]
        assert await collect_events(agent, turn()) == ["b"]
        await agent.aclose()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ((text_event("a"), None), "in the middle of an answer"),
        ((text_event("a"), b"data: {"), "broke off in the middle of an event"),
        ((text_event("a"), b"data: [1]\n\n"), "an event of an unknown shape"),
    ],
)
async def test_a_broken_run_is_a_protocol_error(run: tuple[Step, ...], message: str) -> None:
    async with FakeDockerServer([run, (text_event("b"), STOPPED)]) as server:
        agent = DockerApiAgent(server.url, team="t")
        with pytest.raises(AgentProtocolError, match=message):
            await collect_events(agent, turn())
        assert await collect_events(agent, turn()) == ["b"]
        await agent.aclose()


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        ((http_response(b"x", "content-encoding: gzip"),), AgentProtocolError),
        ((http_response(b"", "location: http://127.0.0.1:9/", status="302 Found"),), AgentUnavailable),
        ((chunked_head() + chunk(b"data: " + b"x" * 5_000_000), Action.HANG), AgentProtocolError),
        ((b"HTTP/1.1 200 OK\r\n" + b"x-more: y\r\n" * 50_000, Action.HANG), AgentProtocolError),
        ((b"nonsense\r\n\r\n",), AgentProtocolError),
    ],
)
async def test_an_answer_that_is_no_stream_raises_an_error(
    reply: tuple[Any, ...], error_class: type[AgentError]
) -> None:
    session = http_response(b'{"id":"s1"}')
    async with Upstream((session,), reply, (http_response(b"null"),)) as upstream:
        agent = DockerApiAgent(upstream.url, team="t")
        with pytest.raises(error_class):
            await collect_events(agent, turn())
        await agent.aclose()


async def test_an_error_of_the_run_never_contains_the_key() -> None:
    async with FakeDockerServer(
        [(text_event("a"), event("error", error=f"not with {KEY}"), STOPPED)]
    ) as server:
        agent = DockerApiAgent(server.url, key=KEY, team="t")
        with pytest.raises(AgentError) as raised:
            await collect_events(agent, turn())
        assert str(raised.value) == f"{server.url}/api reported an error: not with ***"
        await agent.aclose()


# Refusals


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(401, AgentRejected), (404, AgentRejected), (429, AgentBusy), (500, AgentError)],
)
@pytest.mark.parametrize("part", ["/api/agents", "POST /api/sessions", "/agent/"])
async def test_a_status_selects_the_error_class(
    part: str, status: int, error_class: type[AgentError]
) -> None:
    async with FakeDockerServer([], refusals={part: (status, b'{"message":"no"}')}) as server:
        agent = DockerApiAgent(server.url)
        with pytest.raises(AgentError, match=f"answered {status}: no$") as raised:
            await collect_events(agent, turn())
        is_before_the_turn = status == 500 and part != "/agent/"
        assert type(raised.value) is (AgentUnavailable if is_before_the_turn else error_class)
        await agent.aclose()


async def test_a_session_that_the_server_forgot_is_replaced_by_a_new_one_with_the_history() -> None:
    async with FakeDockerServer([(text_event("a"), STOPPED), (text_event("b"), STOPPED)]) as server:
        agent = DockerApiAgent(server.url, team="t")
        await collect_events(agent, turn())
        server.refusals["/s1/agent/"] = (500, b"session not found")
        later = turn(HI, Message("assistant", "a"), Message("user", "More"))
        with pytest.raises(AgentError, match="answered 500: session not found"):
            await collect_events(agent, later)
        assert await collect_events(agent, later) == ["b"]
        assert "DELETE /api/sessions/s1" in server.lines
        assert "You: a" in server.received_texts[-1]
        await agent.aclose()


@pytest.mark.parametrize("teams", [b"[]", b"{}", b"no"])
async def test_a_server_without_a_team_is_a_protocol_error(teams: bytes) -> None:
    async with FakeDockerServer([], teams=teams) as server:
        agent = DockerApiAgent(server.url)
        with pytest.raises(AgentProtocolError):
            await agent.warm()
        await agent.aclose()


async def test_turns_without_a_call_and_background_turns_do_not_count() -> None:
    async with FakeDockerServer([(text_event(text), STOPPED) for text in "abc"]) as server:
        agent = DockerApiAgent(server.url, team="t")
        assert await collect_events(agent, turn(call=None)) == ["a"]
        assert server.lines[-1] == "DELETE /api/sessions/s1"
        assert await collect_events(agent, turn(background=True)) == ["b"]
        assert await collect_events(agent, turn()) == ["c"]
        assert server.received_texts == ["Hi", "Hi", "Hi"]
        await agent.aclose()


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
async def test_the_message_names_the_content_type_that_is_no_stream(kind: str) -> None:
    run = http_response(b"{}", f"content-type: {kind}")
    async with Upstream((http_response(b'{"id": "s1"}'),), (run,), (http_response(b"null"),)) as upstream:
        agent = DockerApiAgent(upstream.url, team="t")
        with pytest.raises(
            AgentProtocolError, match=f"/api answered with a wrong content type: {kind}: {{}}$"
        ):
            await collect_events(agent, turn())
        await agent.aclose()


async def test_a_session_created_after_the_cancellation_is_deleted() -> None:
    async with Upstream((0.05, http_response(b'{"id": "s1"}')), (http_response(b"null"),)) as upstream:
        agent = DockerApiAgent(upstream.url, team="t")
        task = asyncio.create_task(collect_events(agent, turn()))
        await wait_until(lambda: upstream.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream.requests[-1].startswith(b"DELETE /api/sessions/s1 ")
        await agent.aclose()


async def test_deleting_a_session_has_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_api, "CLOSE_TIMEOUT", 0.02)
    async with FakeDockerServer([(text_event("a"), STOPPED)]) as server:
        agent = DockerApiAgent(server.url, team="t")
        await collect_events(agent, turn())
        monkeypatch.setattr(server, "_answer", lambda *_: asyncio.sleep(60))
        await agent.call_ended("c1")
        await agent.aclose()


async def test_an_unreachable_server_is_unavailable() -> None:
    async with FakeDockerServer([]) as server:
        pass
    agent = DockerApiAgent(server.url)
    for attempt in (agent.warm(), agent.warm("c1"), collect_events(agent, turn())):
        with pytest.raises(AgentUnavailable):
            await attempt
    await agent.aclose()
