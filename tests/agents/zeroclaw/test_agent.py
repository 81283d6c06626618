"""ZeroClaw's chat socket, turn by turn, and above all what happens when the caller interrupts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from tests.agents.upstream import wait_until
from tests.agents.zeroclaw.server import FakeZeroClawServer, Step
from voicegw.agents.zeroclaw import agent as zeroclaw
from voicegw.agents.zeroclaw.agent import ZeroClawAgent
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentUnavailable
from voicegw.events import Activity, Event, Message, Turn, Usage
from voicegw.turns.run import Run

pytestmark = pytest.mark.wire

KEY = "zc_very_secret"
HI = Message("user", "Hi")
DONE = {"type": "done", "full_response": "", "input_tokens": 7, "output_tokens": 2}


def chunk(text: str) -> dict[str, Any]:
    return {"type": "chunk", "content": text}


def turn(*messages: Message, call: str | None = "c1", **more: Any) -> Turn:
    return Turn("t", messages or (HI,), call=call, **more)


async def events(agent: ZeroClawAgent, asked: Turn) -> list[Event]:
    async with aclosing(agent.reply(asked)) as reply:
        return [event async for event in reply]


async def once(*steps: Step, **how: Any) -> list[Event]:
    async with FakeZeroClawServer(steps) as claw:
        agent = ZeroClawAgent(claw.url, **how)
        try:
            return await events(agent, turn())
        finally:
            await agent.aclose()


async def test_a_turn_is_a_message_and_its_frames_are_events() -> None:
    work: tuple[Step, ...] = (
        {"type": "thinking", "content": "hm"},
        chunk("Let me see."),
        {"type": "tool_call", "id": "1", "name": "shell", "args": {}},
        {"type": "tool_result", "id": "1", "name": "shell", "output": "x"},
        chunk(" It is"),
        chunk(" open."),
        DONE,
    )
    async with FakeZeroClawServer(work) as claw:
        agent = ZeroClawAgent(claw.url, key=KEY, agent="desk one")
        said = await events(agent, turn())
        await agent.aclose()
        assert said == ["Let me see.", Activity("shell"), " It is", " open.", Usage(7, 2)]
        assert claw.frames == [{"type": "connect"}, {"type": "message", "content": "Hi"}]
        assert claw.opened_sockets == [{"agent": "desk one", "session_id": "c1"}]
        assert claw.keys == [f"Bearer {KEY}"]


async def test_a_call_that_opens_has_its_socket_before_anybody_speaks() -> None:
    async with FakeZeroClawServer((chunk("a"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        await agent.warm()
        await agent.warm("c1")
        await wait_until(lambda: claw.frames == [{"type": "connect"}])
        assert await events(agent, turn()) == ["a", Usage(7, 2)]
        assert len(claw.opened_sockets) == 1
        await agent.call_ended("c1")
        await wait_until(lambda: claw.closed_sockets == 1)
        assert claw.requests == []
        await agent.aclose()


@pytest.mark.parametrize("policy", ["deny", "approve"])
async def test_approval_requests_are_answered_by_the_setting(policy: Any) -> None:
    wants = {"type": "approval_request", "request_id": "r1", "tool": "shell", "timeout_secs": 120}
    async with FakeZeroClawServer((wants, 0.01, chunk("ok"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url, approvals=policy)
        assert await events(agent, turn()) == [Activity("shell"), "ok", Usage(7, 2)]
        await wait_until(lambda: len(claw.frames) == 3)
        assert claw.frames[-1] == {"type": "approval_response", "request_id": "r1", "decision": policy}
        await agent.aclose()


async def test_the_next_turn_sends_only_new_messages_and_the_heard_part() -> None:
    async with FakeZeroClawServer((chunk("One two"), DONE), (chunk("b"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        await events(agent, turn())
        later = turn(HI, Message("assistant", "One"), Message("user", "Wait"), heard="One")
        assert await events(agent, later) == ["b", Usage(7, 2)]
        await agent.aclose()
        assert len(claw.opened_sockets) == 1
    assert claw.received_texts == [
        "Hi",
        '(The caller interrupted you: of your last answer they heard only "One".)\n\nWait',
    ]


@pytest.mark.parametrize("resumed", [True, False])
async def test_a_new_session_gets_the_history(resumed: bool) -> None:
    history = (Message("system", "Be kind."), HI, Message("assistant", "Hello"), Message("user", "When?"))
    async with FakeZeroClawServer((chunk("a"), DONE), resumed=resumed) as claw:
        agent = ZeroClawAgent(claw.url)
        await events(agent, turn(*history))
        await agent.aclose()
    if resumed:
        assert claw.received_texts == ["When?"]
    else:
        instructions, before, words = claw.received_texts[0].split("\n\n")
        assert "Be kind." in instructions
        assert "Caller: Hi\nYou: Hello" in before
        assert words == "When?"


# Interruptions


async def test_an_interrupted_turn_is_aborted_and_its_frames_are_drained() -> None:
    endless = (chunk("a"), *(step for i in range(500) for step in (0.001, chunk(f"old {i}"))))
    async with FakeZeroClawServer(endless, (chunk("new"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url, key=KEY)
        reply = agent.reply(turn())
        assert await anext(reply) == "a"
        await asyncio.sleep(0.01)
        await reply.aclose()
        assert claw.requests == ["POST /api/sessions/c1/abort"]
        assert claw.running == {}
        assert await events(agent, turn(HI, Message("user", "No"))) == ["new", Usage(7, 2)]
        assert len(claw.opened_sockets) == 1
        await agent.aclose()


async def test_a_cancelled_task_aborts_its_turn_too() -> None:
    async with FakeZeroClawServer((), (chunk("b"), DONE)) as claw:
        claw.turns[0] = (60.0,)
        agent = ZeroClawAgent(claw.url)
        task = asyncio.create_task(events(agent, turn()))
        await wait_until(lambda: claw.running)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert claw.requests == ["POST /api/sessions/c1/abort"]
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(claw.opened_sockets) == 1
        await agent.aclose()


async def test_a_superseding_run_uses_the_same_socket() -> None:
    endless = (chunk("a"), *(step for _ in range(500) for step in (0.001, chunk("old"))))
    async with FakeZeroClawServer(endless, (chunk("new"), DONE)) as claw:
        agent, now = ZeroClawAgent(claw.url), asyncio.get_running_loop().time
        first = Run(agent, turn(), lambda run: None, now=now)
        first.start()
        await wait_until(lambda: first.event_log.events)
        second = Run(
            agent, turn(HI, Message("user", "No")), lambda run: None, now=now, earlier_runs=(first,)
        )
        second.start()
        await wait_until(lambda: second.event_log.ended)
        assert second.event_log.events == ["new", Usage(7, 2)]
        assert second.event_log.failure is None
        assert claw.received_texts == ["Hi", "No"]
        assert len(claw.opened_sockets) == 1
        await agent.aclose()


async def test_a_turn_that_ended_before_the_abort_is_drained() -> None:
    async with FakeZeroClawServer((chunk("a"), chunk("b"), DONE), (chunk("c"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        reply = agent.reply(turn())
        assert await anext(reply) == "a"
        await wait_until(lambda: not claw.running)
        await reply.aclose()
        assert await events(agent, turn()) == ["c", Usage(7, 2)]
        assert len(claw.opened_sockets) == 1
        await agent.aclose()


async def test_a_turn_that_failed_before_the_abort_is_done() -> None:
    failed = {"type": "error", "code": "AGENT_ERROR", "message": "x"}
    async with FakeZeroClawServer((chunk("a"), failed), (chunk("c"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        reply = agent.reply(turn())
        assert await anext(reply) == "a"
        await wait_until(lambda: not claw.running)
        await reply.aclose()
        assert await events(agent, turn()) == ["c", Usage(7, 2)]
        assert len(claw.opened_sockets) == 1
        await agent.aclose()


async def test_an_abort_that_finds_no_turn_is_repeated() -> None:
    async with FakeZeroClawServer((chunk("a"), 60.0), (chunk("b"), DONE)) as claw:
        early = iter([{"status": "no_active_response"}])

        async def abort(session: str) -> dict[str, str]:
            return next(early, None) or await claw.stop(session)

        claw.abort = abort
        agent = ZeroClawAgent(claw.url)
        reply = agent.reply(turn())
        await anext(reply)
        await reply.aclose()
        assert claw.requests == ["POST /api/sessions/c1/abort"] * 2
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(claw.opened_sockets) == 1
        await agent.aclose()


@pytest.mark.parametrize("limit", ["ABORT_TIMEOUT", "STOP_TIMEOUT"])
async def test_a_turn_that_does_not_stop_closes_its_socket(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zeroclaw, limit, 0.05)
    async with FakeZeroClawServer((chunk("a"), 60.0), (chunk("b"), DONE)) as claw:

        async def abort(session: str) -> dict[str, str]:
            await asyncio.sleep(60.0 if limit == "ABORT_TIMEOUT" else 0.0)
            return {"status": "aborted"}

        claw.abort = abort
        agent = ZeroClawAgent(claw.url)
        reply = agent.reply(turn())
        await anext(reply)
        await reply.aclose()
        await wait_until(lambda: claw.closed_sockets == 1)
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(claw.opened_sockets) == 2
        await agent.aclose()


async def test_a_refused_abort_closes_the_socket() -> None:
    async with FakeZeroClawServer((chunk("a"), 60.0), (chunk("b"), DONE)) as claw:

        async def abort(session: str) -> dict[str, str]:
            raise ConnectionError

        claw.abort = abort
        agent = ZeroClawAgent(claw.url)
        reply = agent.reply(turn())
        await anext(reply)
        await reply.aclose()
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(claw.opened_sockets) == 2
        await agent.aclose()


async def test_an_invalid_frame_while_stopping_closes_the_socket() -> None:
    async with FakeZeroClawServer((chunk("a"), 60.0), (chunk("b"), DONE)) as claw:

        async def abort(session: str) -> dict[str, str]:
            await claw.running[session][1].send("{}}")
            return {"status": "aborted"}

        claw.abort = abort
        agent = ZeroClawAgent(claw.url)
        reply = agent.reply(turn())
        await anext(reply)
        await reply.aclose()
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(claw.opened_sockets) == 2
        await agent.aclose()


async def test_a_turn_stopped_by_another_client_raises_an_error() -> None:
    async with FakeZeroClawServer((chunk("a"), {"type": "aborted"}), (chunk("b"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        with pytest.raises(AgentError, match="was stopped by another client"):
            await events(agent, turn())
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(claw.opened_sockets) == 1
        await agent.aclose()


# Turns of nobody's


async def test_a_turn_without_a_call_deletes_its_session() -> None:
    async with FakeZeroClawServer((chunk("a"), DONE), (chunk("b"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        for text in "ab":
            assert await events(agent, turn(call=None)) == [text, Usage(7, 2)]
        first, second = (opened["session_id"] for opened in claw.opened_sockets)
        assert first != second
        assert claw.requests == [f"DELETE /api/sessions/{name}" for name in (first, second)]
        await agent.aclose()


async def test_an_interrupted_turn_without_a_call_closes_its_socket() -> None:
    async with FakeZeroClawServer((chunk("a"), 60.0)) as claw:
        agent = ZeroClawAgent(claw.url)
        reply = agent.reply(turn(call=None))
        await anext(reply)
        await reply.aclose()
        await wait_until(lambda: claw.closed_sockets == 1)
        assert claw.requests == [f"DELETE /api/sessions/{claw.opened_sockets[0]['session_id']}"]
        await agent.aclose()


async def test_a_background_turn_does_not_count_as_sent() -> None:
    async with FakeZeroClawServer((chunk("a"), DONE), (chunk("b"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        await events(agent, turn(HI, background=True))
        await events(agent, turn(HI))
        await agent.aclose()
    assert claw.received_texts == ["Hi", "Hi"]


# Failures


@pytest.mark.parametrize(
    ("code", "kind", "sockets"),
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
    code: str, kind: type[AgentError], sockets: int
) -> None:
    failed = {"type": "error", "code": code, "message": f"not with {KEY}"}
    async with FakeZeroClawServer((chunk("a"), failed), (chunk("b"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url, key=KEY)
        with pytest.raises(AgentError) as raised:
            await events(agent, turn())
        assert type(raised.value) is kind
        assert raised.value.summary == f"{claw.url}/ws/chat reported {code}"
        assert raised.value.quote == "not with ***"
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        assert len(claw.opened_sockets) == sockets
        await agent.aclose()


@pytest.mark.parametrize("steps", [(None,), (b"{}}",), (b"[]",), ({"type": "chunk", "content": 5},)])
async def test_a_socket_that_breaks_during_a_turn_is_a_protocol_error(
    steps: tuple[Step, ...],
) -> None:
    async with FakeZeroClawServer((chunk("a"), *steps), (chunk("b"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        with pytest.raises(AgentProtocolError):
            await events(agent, turn())
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        await agent.aclose()


async def test_a_socket_that_closed_between_turns_is_opened_again() -> None:
    async with FakeZeroClawServer((chunk("a"), DONE, None), (chunk("b"), DONE)) as claw:
        agent = ZeroClawAgent(claw.url)
        assert await events(agent, turn()) == ["a", Usage(7, 2)]
        await wait_until(lambda: claw.closed_sockets == 1)
        await asyncio.sleep(0.02)
        assert await events(agent, turn()) == ["b", Usage(7, 2)]
        await agent.aclose()


@pytest.mark.parametrize(("status", "kind"), [(401, AgentRejected), (400, AgentRejected), (503, AgentBusy)])
async def test_a_refused_socket_raises_the_error_of_its_status(status: int, kind: type[AgentError]) -> None:
    async with FakeZeroClawServer(status=status) as claw:
        agent = ZeroClawAgent(claw.url, key=KEY)
        for attempt in (agent.warm("c1"), events(agent, turn())):
            with pytest.raises(AgentError) as raised:
                await attempt
            assert type(raised.value) is kind
            assert KEY not in str(raised.value)
        await agent.aclose()


@pytest.mark.parametrize(
    ("opening", "kind", "words"),
    [
        ((), AgentUnavailable, r"opened no session within 0\.05 s"),
        ((None,), AgentUnavailable, "closed the connection"),
        (({"type": "error", "code": "SESSION_RESTORE_UNAVAILABLE"},), AgentUnavailable, "RESTORE"),
        ((b"?",), AgentProtocolError, "no JSON object"),
    ],
)
async def test_a_socket_without_a_session_raises_an_error(
    opening: tuple[Step, ...], kind: type[AgentError], words: str
) -> None:
    async with FakeZeroClawServer() as claw:
        claw.opening = opening
        agent = ZeroClawAgent(claw.url, connect_timeout=0.05)
        with pytest.raises(kind, match=words):
            await events(agent, turn())
        await wait_until(lambda: claw.closed_sockets == 1)
        await agent.aclose()


async def test_an_unreachable_server_is_unavailable() -> None:
    async with FakeZeroClawServer() as claw:
        pass
    agent = ZeroClawAgent(claw.url)
    for attempt in (agent.warm(), agent.warm("c1"), events(agent, turn())):
        with pytest.raises(AgentUnavailable):
            await attempt
    await agent.aclose()
