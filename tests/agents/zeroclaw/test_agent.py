"""The ZeroClaw agent against a fake server: turns, interruptions, sessions and failures."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from tests.agents.upstream import wait_until
from tests.agents.zeroclaw.fake_server import FakeZeroClawServer, Step
from voicegw.agents.zeroclaw import agent as zeroclaw
from voicegw.agents.zeroclaw.agent import ZeroClawAgent
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentUnavailable
from voicegw.events import REASONING, Activity, Event, Message, Turn, Usage
from voicegw.turns.run import Run

pytestmark = pytest.mark.wire

KEY = "zc_very_secret"
HI = Message("user", "Hi")
DONE = {"type": "done", "full_response": "", "input_tokens": 7, "output_tokens": 2}


def chunk(text: str) -> dict[str, Any]:
    return {"type": "chunk", "content": text}


def turn(*messages: Message, call: str | None = "c1", **more: Any) -> Turn:
    return Turn("t", messages or (HI,), call=call, **more)


async def collect_events(agent: ZeroClawAgent, turn: Turn) -> list[Event]:
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply]


async def test_a_turn_is_a_message_and_its_frames_are_events() -> None:
    steps: tuple[Step, ...] = (
        {"type": "thinking", "content": "hm"},
        chunk("Let me see."),
        {"type": "tool_call", "id": "1", "name": "shell", "args": {}},
        {"type": "tool_result", "id": "1", "name": "shell", "output": "x"},
        chunk(" It is"),
        chunk(" open."),
        DONE,
    )
    async with FakeZeroClawServer(steps) as server:
        agent = ZeroClawAgent(server.url, key=KEY, agent="desk one")
        collected = await collect_events(agent, turn())
        await agent.aclose()
        assert collected == [
            REASONING,
            "Let me see.",
            Activity("shell"),
            REASONING,
            *(" It is", " open.", Usage(7, 2)),
        ]
        assert server.frames == [{"type": "connect"}, {"type": "message", "content": "Hi"}]
        assert server.opened_sockets == [{"agent": "desk one", "session_id": "c1"}]
        assert server.keys == [f"Bearer {KEY}"]


async def test_warming_a_call_opens_its_socket_before_the_first_turn() -> None:
    async with FakeZeroClawServer((chunk("a"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        await agent.warm()
        await agent.warm("c1")
        await wait_until(lambda: server.frames == [{"type": "connect"}])
        assert await collect_events(agent, turn()) == ["a", Usage(7, 2)]
        assert len(server.opened_sockets) == 1
        await agent.call_ended("c1")
        await wait_until(lambda: server.closed_sockets == 1)
        assert server.requests == []
        await agent.aclose()


@pytest.mark.parametrize("policy", ["deny", "approve"])
async def test_approval_requests_are_answered_by_the_setting(policy: Any) -> None:
    approval = {"type": "approval_request", "request_id": "r1", "tool": "shell", "timeout_secs": 120}
    async with FakeZeroClawServer((approval, 0.01, chunk("ok"), DONE)) as server:
        agent = ZeroClawAgent(server.url, approvals=policy)
        assert await collect_events(agent, turn()) == [Activity("shell"), "ok", Usage(7, 2)]
        await wait_until(lambda: len(server.frames) == 3)
        assert server.frames[-1] == {"type": "approval_response", "request_id": "r1", "decision": policy}
        await agent.aclose()


async def test_the_next_turn_sends_only_new_messages_and_the_heard_part() -> None:
    async with FakeZeroClawServer((chunk("One two"), DONE), (chunk("b"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        await collect_events(agent, turn())
        later = turn(HI, Message("assistant", "One"), Message("user", "Wait"), heard="One")
        assert await collect_events(agent, later) == ["b", Usage(7, 2)]
        await agent.aclose()
        assert len(server.opened_sockets) == 1
    assert server.received_texts == [
        "Hi",
        '(The caller interrupted you: of your last answer they heard only "One".)\n\nWait',
    ]


@pytest.mark.parametrize("resumed", [True, False])
async def test_a_new_session_gets_the_history(resumed: bool) -> None:
    history = (Message("system", "Be kind."), HI, Message("assistant", "Hello"), Message("user", "When?"))
    async with FakeZeroClawServer((chunk("a"), DONE), resumed=resumed) as server:
        agent = ZeroClawAgent(server.url)
        await collect_events(agent, turn(*history))
        await agent.aclose()
    if resumed:
        assert server.received_texts == ["When?"]
    else:
        instructions, before, words = server.received_texts[0].split("\n\n")
        assert "Be kind." in instructions
        assert "Caller: Hi\nYou: Hello" in before
        assert words == "When?"


# Interruptions


async def test_an_interrupted_turn_is_aborted_and_its_frames_are_drained() -> None:
    endless = (chunk("a"), *(step for i in range(500) for step in (0.001, chunk(f"old {i}"))))
    async with FakeZeroClawServer(endless, (chunk("new"), DONE)) as server:
        agent = ZeroClawAgent(server.url, key=KEY)
        reply = agent.reply(turn())
        assert await anext(reply) == "a"
        await asyncio.sleep(0.01)
        await reply.aclose()
        assert server.requests == ["POST /api/sessions/c1/abort"]
        assert server.running == {}
        assert await collect_events(agent, turn(HI, Message("user", "No"))) == ["new", Usage(7, 2)]
        assert len(server.opened_sockets) == 1
        await agent.aclose()


async def test_a_cancelled_task_aborts_its_turn_too() -> None:
    async with FakeZeroClawServer((), (chunk("b"), DONE)) as server:
        server.turns[0] = (60.0,)
        agent = ZeroClawAgent(server.url)
        task = asyncio.create_task(collect_events(agent, turn()))
        await wait_until(lambda: server.running)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.requests == ["POST /api/sessions/c1/abort"]
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(server.opened_sockets) == 1
        await agent.aclose()


async def test_a_superseding_run_uses_the_same_socket() -> None:
    endless = (chunk("a"), *(step for _ in range(500) for step in (0.001, chunk("old"))))
    async with FakeZeroClawServer(endless, (chunk("new"), DONE)) as server:
        agent, now = ZeroClawAgent(server.url), asyncio.get_running_loop().time
        first = Run(agent, turn(), lambda run: None, now=now)
        first.start()
        await wait_until(lambda: first.event_log.events)
        second = Run(agent, turn(HI, Message("user", "No")), lambda run: None, now=now, earlier_runs=(first,))
        second.start()
        await wait_until(lambda: second.event_log.has_ended)
        assert second.event_log.events == ["new", Usage(7, 2)]
        assert second.event_log.failure is None
        assert server.received_texts == ["Hi", "No"]
        assert len(server.opened_sockets) == 1
        await agent.aclose()


async def test_a_turn_that_ended_before_the_abort_is_drained() -> None:
    async with FakeZeroClawServer((chunk("a"), chunk("b"), DONE), (chunk("c"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        reply = agent.reply(turn())
        assert await anext(reply) == "a"
        await wait_until(lambda: not server.running)
        await reply.aclose()
        assert await collect_events(agent, turn()) == ["c", Usage(7, 2)]
        assert len(server.opened_sockets) == 1
        await agent.aclose()


async def test_a_turn_that_failed_before_the_abort_is_done() -> None:
    failed = {"type": "error", "code": "AGENT_ERROR", "message": "x"}
    async with FakeZeroClawServer((chunk("a"), failed), (chunk("c"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        reply = agent.reply(turn())
        assert await anext(reply) == "a"
        await wait_until(lambda: not server.running)
        await reply.aclose()
        assert await collect_events(agent, turn()) == ["c", Usage(7, 2)]
        assert len(server.opened_sockets) == 1
        await agent.aclose()


async def test_an_abort_that_finds_no_turn_is_repeated() -> None:
    async with FakeZeroClawServer((chunk("a"), 60.0), (chunk("b"), DONE)) as server:
        early = iter([{"status": "no_active_response"}])

        async def abort(session: str) -> dict[str, str]:
            return next(early, None) or await server.stop(session)

        server.abort = abort
        agent = ZeroClawAgent(server.url)
        reply = agent.reply(turn())
        await anext(reply)
        await reply.aclose()
        assert server.requests == ["POST /api/sessions/c1/abort"] * 2
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(server.opened_sockets) == 1
        await agent.aclose()


@pytest.mark.parametrize("limit", ["ABORT_TIMEOUT", "STOP_TIMEOUT"])
async def test_a_turn_that_does_not_stop_closes_its_socket(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zeroclaw, limit, 0.05)
    async with FakeZeroClawServer((chunk("a"), 60.0), (chunk("b"), DONE)) as server:

        async def abort(session: str) -> dict[str, str]:
            await asyncio.sleep(60.0 if limit == "ABORT_TIMEOUT" else 0.0)
            return {"status": "aborted"}

        server.abort = abort
        agent = ZeroClawAgent(server.url)
        reply = agent.reply(turn())
        await anext(reply)
        await reply.aclose()
        await wait_until(lambda: server.closed_sockets == 1)
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(server.opened_sockets) == 2
        await agent.aclose()


async def test_a_refused_abort_closes_the_socket() -> None:
    async with FakeZeroClawServer((chunk("a"), 60.0), (chunk("b"), DONE)) as server:

        async def abort(session: str) -> dict[str, str]:
            raise ConnectionError

        server.abort = abort
        agent = ZeroClawAgent(server.url)
        reply = agent.reply(turn())
        await anext(reply)
        await reply.aclose()
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(server.opened_sockets) == 2
        await agent.aclose()


async def test_an_invalid_frame_while_stopping_closes_the_socket() -> None:
    async with FakeZeroClawServer((chunk("a"), 60.0), (chunk("b"), DONE)) as server:

        async def abort(session: str) -> dict[str, str]:
            await server.running[session][1].send("{}}")
            return {"status": "aborted"}

        server.abort = abort
        agent = ZeroClawAgent(server.url)
        reply = agent.reply(turn())
        await anext(reply)
        await reply.aclose()
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(server.opened_sockets) == 2
        await agent.aclose()


async def test_a_turn_stopped_by_another_client_raises_an_error() -> None:
    async with FakeZeroClawServer((chunk("a"), {"type": "aborted"}), (chunk("b"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        with pytest.raises(AgentError, match="was stopped by another client"):
            await collect_events(agent, turn())
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(server.opened_sockets) == 1
        await agent.aclose()


# Turns without a call


async def test_a_turn_without_a_call_deletes_its_session() -> None:
    async with FakeZeroClawServer((chunk("a"), DONE), (chunk("b"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        for text in "ab":
            assert await collect_events(agent, turn(call=None)) == [text, Usage(7, 2)]
        first, second = (opened["session_id"] for opened in server.opened_sockets)
        assert first != second
        assert server.requests == [f"DELETE /api/sessions/{name}" for name in (first, second)]
        await agent.aclose()


async def test_an_interrupted_turn_without_a_call_closes_its_socket() -> None:
    async with FakeZeroClawServer((chunk("a"), 60.0)) as server:
        agent = ZeroClawAgent(server.url)
        reply = agent.reply(turn(call=None))
        await anext(reply)
        await reply.aclose()
        await wait_until(lambda: server.closed_sockets == 1)
        assert server.requests == [f"DELETE /api/sessions/{server.opened_sockets[0]['session_id']}"]
        await agent.aclose()


async def test_a_background_turn_does_not_count_as_sent() -> None:
    async with FakeZeroClawServer((chunk("a"), DONE), (chunk("b"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        await collect_events(agent, turn(HI, background=True))
        await collect_events(agent, turn(HI))
        await agent.aclose()
    assert server.received_texts == ["Hi", "Hi"]


# Failures


@pytest.mark.parametrize(
    ("code", "error_class", "sockets"),
    [
        ("AUTH_ERROR", AgentRejected, 1),
        ("PROVIDER_ERROR", AgentError, 1),
        ("AGENT_ERROR", AgentError, 1),
        ("SESSION_QUEUE_FULL", AgentBusy, 1),
        ("NEEDS_ONBOARDING", AgentRejected, 2),
        ("AGENT_INIT_FAILED", AgentUnavailable, 2),
        ("UNKNOWN_MESSAGE_TYPE", AgentProtocolError, 2),
        ("SOMETHING_NEW", AgentError, 2),
    ],
)
async def test_error_codes_select_the_error_and_whether_the_socket_is_reused(
    code: str, error_class: type[AgentError], sockets: int
) -> None:
    failed = {"type": "error", "code": code, "message": f"not with {KEY}"}
    async with FakeZeroClawServer((chunk("a"), failed), (chunk("b"), DONE)) as server:
        agent = ZeroClawAgent(server.url, key=KEY)
        with pytest.raises(AgentError) as raised:
            await collect_events(agent, turn())
        assert type(raised.value) is error_class
        assert raised.value.summary == f"{server.url}/ws/chat reported {code}"
        assert raised.value.quote == "not with ***"
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(server.opened_sockets) == sockets
        await agent.aclose()


@pytest.mark.parametrize("steps", [(None,), (b"{}}",), (b"[]",), ({"type": "chunk", "content": 5},)])
async def test_a_socket_that_breaks_during_a_turn_is_a_protocol_error(
    steps: tuple[Step, ...],
) -> None:
    async with FakeZeroClawServer((chunk("a"), *steps), (chunk("b"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        with pytest.raises(AgentProtocolError):
            await collect_events(agent, turn())
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        await agent.aclose()


async def test_a_socket_that_closed_between_turns_is_opened_again() -> None:
    async with FakeZeroClawServer((chunk("a"), DONE, None), (chunk("b"), DONE)) as server:
        agent = ZeroClawAgent(server.url)
        assert await collect_events(agent, turn()) == ["a", Usage(7, 2)]
        await wait_until(lambda: server.closed_sockets == 1)
        await asyncio.sleep(0.02)
        assert await collect_events(agent, turn()) == ["b", Usage(7, 2)]
        await agent.aclose()


@pytest.mark.parametrize(
    ("status", "error_class"), [(401, AgentRejected), (400, AgentRejected), (503, AgentBusy)]
)
async def test_a_refused_socket_raises_the_error_of_its_status(
    status: int, error_class: type[AgentError]
) -> None:
    async with FakeZeroClawServer(status=status) as server:
        agent = ZeroClawAgent(server.url, key=KEY)
        for attempt in (agent.warm("c1"), collect_events(agent, turn())):
            with pytest.raises(AgentError) as raised:
                await attempt
            assert type(raised.value) is error_class
            assert KEY not in str(raised.value)
        await agent.aclose()


@pytest.mark.parametrize(
    ("opening", "error_class", "message"),
    [
        ((), AgentUnavailable, r"opened no session within 0\.05 s"),
        ((None,), AgentUnavailable, "closed the connection"),
        (({"type": "error", "code": "SESSION_RESTORE_UNAVAILABLE"},), AgentUnavailable, "RESTORE"),
        ((b"?",), AgentProtocolError, "no JSON object"),
    ],
)
async def test_a_socket_without_a_session_raises_an_error(
    opening: tuple[Step, ...], error_class: type[AgentError], message: str
) -> None:
    async with FakeZeroClawServer() as server:
        server.opening = opening
        agent = ZeroClawAgent(server.url, connect_timeout=0.05)
        with pytest.raises(error_class, match=message):
            await collect_events(agent, turn())
        await wait_until(lambda: server.closed_sockets == 1)
        await agent.aclose()


async def test_an_unreachable_server_is_unavailable() -> None:
    async with FakeZeroClawServer() as server:
        pass
    agent = ZeroClawAgent(server.url)
    for attempt in (agent.warm(), agent.warm("c1"), collect_events(agent, turn())):
        with pytest.raises(AgentUnavailable):
            await attempt
    await agent.aclose()
