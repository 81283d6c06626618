"""The Hermes agent against a scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import orjson
import pytest

from tests.agents.hermes.recorded import EVENTS, recorded
from tests.agents.upstream import Act, Piece, Upstream, answer, chunk, chunked, until
from voicegw.agents.hermes import agent as hermes
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)
from voicegw.events import Activity, Event, Finish, Message, Turn, Usage

pytestmark = pytest.mark.wire

KEY = "a-key-for-hermes"
TURN = Turn("t1", (Message("system", "Be kind."), Message("user", "Hi")), model="desk", call="c1")
NEXT = replace(TURN, id="t2")
STREAM = chunked("content-type: text/event-stream")
BEGUN = answer(b'{"run_id": "run_1", "status": "started"}', status="202 Accepted")
STOPPING = answer(b'{"run_id": "run_1", "status": "stopping"}')
GONE = answer(b'{"error": {"message": "Run not found: run_1"}}', status="404 Not Found")
MODELS = answer(b'{"data": [{"id": "hermes-agent"}, {"id": "fast", "parent": "hermes-agent"}]}')
Reply = tuple[Piece | Act, ...]


def told(event: str, **more: Any) -> bytes:
    return b"data: %b\n\n" % orjson.dumps({"event": event, "run_id": "run_1", **more})


def said(text: str, reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason}
    return b"data: %b\n\n" % orjson.dumps({"choices": [choice], **more})


WORD = told("message.delta", delta="Well")
END = told("run.completed", output="Well", usage={"input_tokens": 1, "output_tokens": 2})
RUN = (STREAM, chunk(WORD + END + b": stream closed\n\n"), chunk(b""))
TALKS = (STREAM, chunk(WORD), Act.HANG)
CHAT = (STREAM, chunk(said("Well") + said("", "stop") + b"data: [DONE]\n\n"), chunk(b""))


@asynccontextmanager
async def served(*replies: Reply, **options: Any) -> AsyncIterator[tuple[HermesAgent, Upstream]]:
    async with Upstream(*replies) as upstream:
        agent = HermesAgent(upstream.url, **options)
        try:
            yield agent, upstream
        finally:
            await agent.aclose()


async def events(agent: HermesAgent, turn: Turn = TURN) -> list[Event]:
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply]


async def first(agent: HermesAgent, turn: Turn = TURN) -> Event:
    """The first event of a reply that is closed then."""
    async with aclosing(agent.reply(turn)) as reply:
        return await anext(reply)


def lines(upstream: Upstream) -> list[str]:
    """What was asked for: methods and paths."""
    return [request.partition(b" HTTP/")[0].decode() for request in upstream.requests]


def body(upstream: Upstream, place: int) -> dict[str, Any]:
    return dict(orjson.loads(upstream.requests[place].partition(b"\r\n\r\n")[2]))


BEGIN, FOLLOW, STOP = "POST /v1/runs", "GET /v1/runs/run_1/events", "POST /v1/runs/run_1/stop"
DENY = "POST /v1/runs/run_1/approval"


async def test_a_turn_is_a_run_and_what_happens_in_it() -> None:
    async with served((BEGUN,), (STREAM, chunk(recorded("run")), chunk(b"")), key=KEY) as (agent, upstream):
        assert await events(agent) == EVENTS
    assert lines(upstream) == [BEGIN, FOLLOW]
    assert body(upstream, 0) == {"input": "Hi", "instructions": "Be kind.", "session_id": "c1"}
    for request in upstream.requests:
        assert f"authorization: Bearer {KEY}\r\n".encode() in request


async def test_turns_of_a_call_share_a_session_and_a_connection_and_others_none() -> None:
    async with served(*((BEGUN,), RUN) * 3) as (agent, upstream):
        for turn in (TURN, NEXT, replace(TURN, call=None)):
            assert await events(agent, turn) == ["Well", Usage(1, 2)]
        assert upstream.connections == 1
    assert [body(upstream, place).get("session_id") for place in (0, 2, 4)] == ["c1", "c1", None]
    assert b"authorization" not in upstream.requests[0]


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/", ""), ("/v1", ""), ("/v1/", ""), ("/p/home", "/p/home"), ("/p/home/v1", "/p/home")],
)
async def test_the_address_may_have_a_path(path: str, asked: str) -> None:
    async with Upstream((BEGUN,), RUN) as upstream:
        agent = HermesAgent(upstream.url + path)
        assert await events(agent) == ["Well", Usage(1, 2)]
        await agent.aclose()
    assert lines(upstream) == [f"POST {asked}/v1/runs", f"GET {asked}/v1/runs/run_1/events"]


async def test_every_cut_on_the_wire_gives_the_same_events() -> None:
    whole = STREAM + chunk(told("tool.started", tool="clock") + WORD + END) + chunk(b"")
    async with served((BEGUN,), tuple(bytes([byte]) for byte in whole)) as (agent, _):
        assert await events(agent) == [Activity("clock"), "Well", Usage(1, 2)]


async def test_a_connection_is_kept_whose_body_ends_a_moment_after_the_run() -> None:
    slow = (STREAM, chunk(WORD + END), 0.01, chunk(b""))
    async with served(*((BEGUN,), slow) * 2) as (agent, upstream):
        for turn in (TURN, NEXT):
            assert await events(agent, turn) == ["Well", Usage(1, 2)]
            await asyncio.sleep(0.03)
        assert upstream.connections == 1


async def test_text_leaves_before_the_next_is_said_and_closing_stops_the_run() -> None:
    async with served((BEGUN,), TALKS, (STOPPING,), (GONE,), (BEGUN,), RUN) as (agent, upstream):
        assert await first(agent) == "Well"
        assert lines(upstream) == [BEGIN, FOLLOW, STOP, STOP]
        await until(upstream.gone.is_set)
        assert await events(agent, NEXT) == ["Well", Usage(1, 2)]
    assert body(upstream, 4)["session_id"] == "c1"


async def cancelled(agent: HermesAgent, upstream: Upstream, requests: int) -> None:
    """Cancel a turn once the server has got so many requests."""
    turn = asyncio.create_task(events(agent))
    await until(lambda: len(upstream.requests) == requests)
    await asyncio.sleep(0.01)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn


async def test_a_turn_that_is_cancelled_in_the_middle_stops_its_run() -> None:
    async with served((BEGUN,), TALKS, (GONE,)) as (agent, upstream):
        await cancelled(agent, upstream, 2)
        assert lines(upstream) == [BEGIN, FOLLOW, STOP]


async def test_a_run_is_stopped_that_began_after_we_were_cancelled() -> None:
    async with served((0.05, BEGUN), (STOPPING,), (GONE,)) as (agent, upstream):
        await cancelled(agent, upstream, 1)
        assert lines(upstream) == [BEGIN, STOP, STOP]


async def test_a_server_that_begins_nothing_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hermes, "STOP", 0.02)
    async with served() as (agent, upstream):
        async with asyncio.timeout(2):
            await cancelled(agent, upstream, 1)
        await until(upstream.gone.is_set)
        assert lines(upstream) == [BEGIN]


@pytest.mark.parametrize(
    "stops", [((STOPPING,),) * 4, ((Act.HANG,),), ((answer(b"", status="500 No"),),) * 4]
)
async def test_a_run_that_does_not_stop_keeps_its_session_to_itself(
    stops: tuple[Reply, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hermes, "PAUSE", 0.001)
    monkeypatch.setattr(hermes, "STOP", 0.1)
    async with served((BEGUN,), TALKS, *stops, (BEGUN,), RUN) as (agent, upstream):
        async with asyncio.timeout(2):
            assert await first(agent) == "Well"
        assert lines(upstream) == [BEGIN, FOLLOW, *(STOP for _ in stops)]
        assert await events(agent, NEXT) == ["Well", Usage(1, 2)]
    assert body(upstream, -2)["session_id"] == "c1-t1"


async def test_a_side_turn_has_no_part_in_a_session_that_is_in_use() -> None:
    replies: tuple[Reply, ...] = ((BEGUN,), TALKS, (BEGUN,), RUN, (GONE,))
    async with served(*replies) as (agent, upstream), aclosing(agent.reply(TURN)) as reply:
        assert await anext(reply) == "Well"
        assert await events(agent, replace(NEXT, background=True)) == ["Well", Usage(1, 2)]
    assert "session_id" not in body(upstream, 2)


async def test_there_is_a_most_of_sessions_and_a_call_that_is_over_has_none() -> None:
    async with served((BEGUN,), RUN, (BEGUN,), RUN, max_sessions=1) as (agent, upstream):
        await events(agent)
        with pytest.raises(AgentBusy):
            await events(agent, replace(TURN, call="c2"))
        await agent.call_ended("c1")
        assert await events(agent, replace(TURN, call="c2")) == ["Well", Usage(1, 2)]
    assert lines(upstream) == [BEGIN, FOLLOW] * 2


@pytest.mark.parametrize("denied", [answer(b"{}"), GONE, answer(b"{}", status="409 Conflict")])
async def test_what_wants_approval_is_denied(denied: bytes) -> None:
    wish = told("approval.request", command="rm -rf /", choices=["once", "session", "always", "deny"])
    follow = (STREAM, chunk(wish), chunk(WORD + END), chunk(b""))
    async with served((BEGUN,), follow, (denied,)) as (agent, upstream):
        assert await events(agent) == ["Well", Usage(1, 2)]
    assert lines(upstream) == [BEGIN, FOLLOW, DENY]
    assert body(upstream, 2) == {"choice": "deny"}


async def test_a_run_that_takes_no_no_is_stopped() -> None:
    follow = (STREAM, chunk(told("approval.request")), Act.HANG)
    refused = answer(b'{"error": {"message": "No such choice"}}', status="400 Bad Request")
    async with served((BEGUN,), follow, (refused,), (GONE,)) as (agent, upstream):
        with pytest.raises(
            AgentProtocolError, match=r"/v1/runs/run_1/approval answered 400: No such choice$"
        ):
            await events(agent)
    assert lines(upstream) == [BEGIN, FOLLOW, DENY, STOP]


async def test_a_run_that_failed_says_why_but_never_the_key_and_needs_no_stop() -> None:
    failed = told("run.failed", error=f"HTTP 401: wrong key {KEY}")
    follow = (STREAM, chunk(WORD + failed), chunk(b""))
    async with served((BEGUN,), follow, key=KEY) as (agent, upstream), aclosing(agent.reply(TURN)) as reply:
        assert await anext(reply) == "Well"
        with pytest.raises(AgentError) as raised:
            await anext(reply)
    assert str(raised.value).endswith("/v1/runs/run_1/events: Hermes failed: HTTP 401: wrong key ***")
    assert lines(upstream) == [BEGIN, FOLLOW]


async def test_a_run_that_somebody_else_stopped_is_an_error() -> None:
    async with served((BEGUN,), (STREAM, chunk(told("run.cancelled")), chunk(b""))) as (agent, upstream):
        with pytest.raises(AgentError, match=r"/events: somebody else stopped Hermes$"):
            await events(agent)
    assert lines(upstream) == [BEGIN, FOLLOW]


@pytest.mark.parametrize(
    ("reply", "kind", "why"),
    [
        ((answer(b"{}", status="400 No"),), AgentProtocolError, "/v1/runs answered 400"),
        ((answer(b"{}", status="401 No"),), AgentRejected, "/v1/runs answered 401"),
        ((answer(b"{}", "retry-after: 1", status="429 No"),), AgentBusy, "/v1/runs answered 429"),
        ((answer(b"{}", "retry-after: 1", status="503 No"),), AgentBusy, "/v1/runs answered 503"),
        ((answer(b"{}", status="500 No"),), AgentUnavailable, "/v1/runs answered 500"),
        ((answer(b"", "location: /x", status="302 No"),), AgentUnavailable, "redirects to /x"),
        ((answer(b"{", status="202 OK"),), AgentProtocolError, "no JSON"),
        ((answer(b'{"run_id": "/"}', status="202 OK"),), AgentProtocolError, "without an id"),
        ((answer(b"", status="204 OK"),), AgentProtocolError, "without an id"),
        ((answer(b"x", "content-encoding: gzip"),), AgentProtocolError, "compressed"),
        ((b"HTTP/1.1 202 OK\r\ncontent-length: 99\r\n\r\n{", Act.CLOSE), AgentProtocolError, "in the middle"),
        (
            (b"HTTP/1.1 202 OK\r\n", *(b"x: y\r\n" * 1000,) * 20, Act.HANG),
            AgentProtocolError,
            "a head of more",
        ),
        ((b"SSH-2.0-x\r\n", Act.HANG), AgentProtocolError, "no HTTP"),
    ],
)
async def test_a_run_that_does_not_begin(reply: Reply, kind: type[AgentError], why: str) -> None:
    async with served(reply) as (agent, upstream):
        with pytest.raises(AgentError, match=why) as raised:
            await events(agent)
        assert type(raised.value) is kind
    assert lines(upstream) == [BEGIN]


@pytest.mark.parametrize(
    ("reply", "kind", "why"),
    [
        ((answer(b"{}", status="404 No"),), AgentRejected, "/v1/runs/run_1/events answered 404"),
        (
            (
                STREAM,
                chunk(b""),
            ),
            AgentProtocolError,
            "/v1/runs/run_1/events ended in the middle",
        ),
        ((STREAM, chunk(b": stream closed\n\n"), chunk(b"")), AgentProtocolError, "ended in the middle"),
        ((STREAM, chunk(END[:-2]), chunk(b"")), AgentProtocolError, "ended in the middle"),
        ((STREAM, chunk(END[:20]), Act.CLOSE), AgentProtocolError, "in the middle"),
        ((STREAM, Act.RESET), AgentProtocolError, "in the middle"),
        ((STREAM, chunk(b"data: {\n\n"), Act.HANG), AgentProtocolError, "no JSON"),
        (
            (STREAM, *(chunk(b"data: " + b"x" * 1024**2),) * 10, Act.HANG),
            AgentProtocolError,
            "event of more",
        ),
        ((answer(b"x", "content-encoding: gzip"),), AgentProtocolError, "compressed"),
        ((answer(b"<html>", "content-type: text/html"),), AgentProtocolError, "answered with 'text/html'"),
    ],
)
async def test_a_run_that_cannot_be_followed_is_stopped(
    reply: Reply, kind: type[AgentError], why: str
) -> None:
    async with served((BEGUN,), reply, (GONE,)) as (agent, upstream):
        with pytest.raises(AgentError, match=why) as raised:
            await events(agent)
        assert type(raised.value) is kind
    assert lines(upstream) == [BEGIN, FOLLOW, STOP]


@pytest.mark.parametrize(("mode", "before"), [("runs", ((BEGUN,), RUN)), ("chat", (CHAT,))])
async def test_a_turn_is_never_asked_twice(mode: Literal["runs", "chat"], before: tuple[Reply, ...]) -> None:
    async with served(*before, (Act.RESET,), *before, mode=mode) as (agent, upstream):
        await events(agent)
        with pytest.raises(AgentProtocolError, match=r"connection (closed|reset) before any answer"):
            await events(agent, NEXT)
        assert len(upstream.requests) == len(before) + 1


async def test_a_run_is_followed_on_another_connection_where_the_kept_one_died() -> None:
    async with served((BEGUN,), (Act.CLOSE,), RUN) as (agent, upstream):
        assert await events(agent) == ["Well", Usage(1, 2)]
        assert lines(upstream) == [BEGIN, FOLLOW, FOLLOW]


async def test_a_server_in_trouble_is_told_again_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hermes, "PAUSE", 0.001)
    trouble: tuple[Reply, ...] = ((answer(b"", status="503 No"),), (Act.CLOSE,))
    async with served((BEGUN,), TALKS, *trouble, (GONE,), (BEGUN,), RUN) as (agent, upstream):
        assert await first(agent) == "Well"
        assert lines(upstream) == [BEGIN, FOLLOW, STOP, STOP, STOP]
        assert await events(agent, NEXT) == ["Well", Usage(1, 2)]
    assert body(upstream, -2)["session_id"] == "c1"


async def test_nobody_there_is_unavailable_for_turns_and_for_warming() -> None:
    async with Upstream() as upstream:
        pass
    agent = HermesAgent(upstream.url)
    for call in (None, "c1"):
        with pytest.raises(AgentUnavailable):
            await agent.warm(call)
    with pytest.raises(AgentUnavailable):
        await events(agent)
    await agent.aclose()


async def test_models_are_learned_and_asked_for_by_name() -> None:
    async with served((MODELS,), *((BEGUN,), RUN) * 2, warm=False, model="slow") as (agent, upstream):
        assert agent.models == []
        await agent.warm()
        assert agent.models == ["fast"]
        await events(agent)
        await events(agent, replace(TURN, model="fast"))
    assert lines(upstream)[0] == "GET /v1/models"
    assert [body(upstream, place)["model"] for place in (1, 3)] == ["slow", "fast"]


async def test_getting_ready_includes_a_turn_that_is_stopped_at_its_first_word() -> None:
    talks = (STREAM, chunk(told("tool.started", tool="x") + WORD), Act.HANG)
    async with served((MODELS,), (BEGUN,), talks, (STOPPING,), (GONE,)) as (agent, upstream):
        await agent.warm(None)
        assert lines(upstream) == ["GET /v1/models", BEGIN, FOLLOW, STOP, STOP]
    assert body(upstream, 1) == {"input": "Say OK.", "session_id": "voicegw-warm-up"}


async def test_a_server_that_refuses_us_is_not_ready() -> None:
    async with served((answer(b"{}", status="401 No"),)) as (agent, _):
        with pytest.raises(AgentRejected, match="/v1/models answered 401"):
            await agent.warm(None)


async def test_a_server_that_never_has_a_word_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hermes, "TRIAL", 0.05)
    async with served((MODELS,), (BEGUN,), (STREAM, Act.HANG), (GONE,)) as (agent, upstream):
        with pytest.raises(AgentTimeout, match=r"/v1 had no word to say within 0\.05 s$"):
            async with asyncio.timeout(2):
                await agent.warm(None)
        assert lines(upstream)[-1] == STOP


async def test_a_call_finds_its_connections_ready() -> None:
    async with served((BEGUN,), TALKS, (GONE,)) as (agent, upstream):
        await agent.warm("c1")
        await until(lambda: upstream.connections == 2)
        assert await first(agent) == "Well"
        assert (upstream.connections, len(upstream.requests)) == (2, 3)


async def test_a_turn_may_be_a_chat_instead() -> None:
    chat = (STREAM, chunk(recorded("chat")), chunk(b""))
    async with served(chat, mode="chat", key=KEY, model="slow") as (agent, upstream):
        assert await events(agent) == EVENTS
    assert lines(upstream) == ["POST /v1/chat/completions"]
    assert b"x-hermes-session" not in upstream.requests[0].lower()
    assert body(upstream, 0) == {
        "messages": [
            {"role": "system", "content": "Be kind.\n\n(Call c1)"},
            {"role": "user", "content": "Hi"},
        ],
        "stream": True,
        "model": "slow",
    }


async def test_chats_share_a_connection_and_those_of_no_call_nothing_else() -> None:
    anonymous = replace(TURN, id="t3", call=None)
    async with served(CHAT, CHAT, CHAT, mode="chat") as (agent, upstream):
        for turn in (TURN, NEXT, anonymous):
            assert await events(agent, turn) == ["Well"]
        assert upstream.connections == 1
    systems = [body(upstream, place)["messages"][0]["content"] for place in range(3)]
    assert systems == [f"Be kind.\n\n(Call {name})" for name in ("c1", "c1", "t3")]


async def test_closing_a_chat_hangs_up_and_leaves_its_session() -> None:
    async with served((STREAM, chunk(said("Well")), Act.HANG), CHAT, mode="chat") as (agent, upstream):
        assert await first(agent) == "Well"
        await until(upstream.gone.is_set)
        assert await events(agent, NEXT) == ["Well"]
    assert body(upstream, 1)["messages"][0]["content"] == "Be kind.\n\n(Call c1-t1)"


async def test_a_chat_that_ended_by_its_length_says_so() -> None:
    chat = (STREAM, chunk(said("Well") + said("", "length")), chunk(b""))
    async with served(chat, mode="chat") as (agent, _):
        assert await events(agent) == ["Well", Finish("length")]


async def test_nothing_is_missing_of_a_chat_after_its_finish() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    async with served((STREAM, chunk(said("Well", "stop", usage=usage)), Act.CLOSE), mode="chat") as (
        agent,
        _,
    ):
        assert await events(agent) == ["Well", Usage(1, 2)]


@pytest.mark.parametrize(
    ("reply", "kind", "why"),
    [
        ((answer(b"{}", status="401 No"),), AgentRejected, "/v1/chat/completions answered 401"),
        ((answer(b"{}", status="429 No"),), AgentBusy, "answered 429"),
        ((STREAM, chunk(said("", "error", error={"message": KEY})), chunk(b"")), AgentError, r": \*\*\*$"),
        ((STREAM, chunk(said("", "error")), chunk(b"")), AgentError, r"completions: Hermes failed$"),
        ((STREAM, chunk(b"data: [1]\n\n"), Act.HANG), AgentProtocolError, "no object"),
        (
            (STREAM, chunk(b": keepalive\n\n"), chunk(b"")),
            AgentProtocolError,
            "completions ended in the middle",
        ),
        ((STREAM, chunk(said("")), Act.CLOSE), AgentProtocolError, "in the middle"),
        (
            (answer(b"{}", "content-type: application/json"),),
            AgentProtocolError,
            "answered with 'application/json'",
        ),
    ],
)
async def test_a_chat_that_goes_wrong(reply: Reply, kind: type[AgentError], why: str) -> None:
    async with served(reply, mode="chat", key=KEY) as (agent, upstream):
        with pytest.raises(AgentError, match=why) as raised:
            await events(agent)
        assert type(raised.value) is kind
    assert len(upstream.requests) == 1


async def test_a_chat_warms_up_too() -> None:
    talks = (STREAM, chunk(said("OK")), Act.HANG)
    async with served((MODELS,), talks, mode="chat") as (agent, upstream):
        await agent.warm()
        await until(upstream.gone.is_set)
        assert lines(upstream) == ["GET /v1/models", "POST /v1/chat/completions"]
