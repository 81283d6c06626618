"""The Hermes agent against a scripted server: runs, chats, stops, approvals and failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import orjson
import pytest

from tests.agents.hermes.recordings import EVENTS, read_recording
from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, http_response, wait_until
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
from voicegw.events import REASONING, Activity, Event, Finish, Message, Turn, Usage

pytestmark = pytest.mark.wire

KEY = "a-key-for-hermes"
TURN = Turn("t1", (Message("system", "Be kind."), Message("user", "Hi")), model="desk", call="c1")
NEXT = replace(TURN, id="t2")
STREAM = chunked_head("content-type: text/event-stream")
STARTED = http_response(b'{"run_id": "run_1", "status": "started"}', status="202 Accepted")
STOPPING = http_response(b'{"run_id": "run_1", "status": "stopping"}')
UNKNOWN_RUN = http_response(b'{"error": {"message": "Run not found: run_1"}}', status="404 Not Found")
MODELS = http_response(b'{"data": [{"id": "hermes-agent"}, {"id": "fast", "parent": "hermes-agent"}]}')
Reply = tuple[Piece | Action, ...]


def run_event(event: str, **more: Any) -> bytes:
    return b"data: %b\n\n" % orjson.dumps({"event": event, "run_id": "run_1", **more})


def chat_chunk(text: str, reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason}
    return b"data: %b\n\n" % orjson.dumps({"choices": [choice], **more})


WORD = run_event("message.delta", delta="Well")
END = run_event("run.completed", output="Well", usage={"input_tokens": 1, "output_tokens": 2})
RUN = (STREAM, chunk(WORD + END + b": stream closed\n\n"), chunk(b""))
UNFINISHED_RUN = (STREAM, chunk(WORD), Action.HANG)
CHAT = (STREAM, chunk(chat_chunk("Well") + chat_chunk("", "stop") + b"data: [DONE]\n\n"), chunk(b""))


@asynccontextmanager
async def served_agent(*replies: Reply, **options: Any) -> AsyncIterator[tuple[HermesAgent, Upstream]]:
    async with Upstream(*replies) as upstream:
        agent = HermesAgent(upstream.url, **options)
        try:
            yield agent, upstream
        finally:
            await agent.aclose()


async def collect_events(agent: HermesAgent, turn: Turn = TURN) -> list[Event]:
    """Return all events of a reply but `REASONING`."""
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply if event != REASONING]


async def first_event(agent: HermesAgent, turn: Turn = TURN) -> Event:
    """Return the first event of a reply, and close the reply."""
    async with aclosing(agent.reply(turn)) as reply:
        return await anext(reply)


def request_lines(upstream: Upstream) -> list[str]:
    """Return the methods and paths of the requests."""
    return [request.partition(b" HTTP/")[0].decode() for request in upstream.requests]


def request_body(upstream: Upstream, place: int) -> dict[str, Any]:
    return dict(orjson.loads(upstream.requests[place].partition(b"\r\n\r\n")[2]))


BEGIN, FOLLOW, STOP = "POST /v1/runs", "GET /v1/runs/run_1/events", "POST /v1/runs/run_1/stop"
DENY = "POST /v1/runs/run_1/approval"


async def test_a_turn_is_a_run_and_its_events() -> None:
    async with served_agent((STARTED,), (STREAM, chunk(read_recording("run")), chunk(b"")), key=KEY) as (
        agent,
        upstream,
    ):
        assert await collect_events(agent) == EVENTS
    assert request_lines(upstream) == [BEGIN, FOLLOW]
    assert request_body(upstream, 0) == {"input": "Hi", "instructions": "Be kind.", "session_id": "c1"}
    for request in upstream.requests:
        assert f"authorization: Bearer {KEY}\r\n".encode() in request


async def test_turns_of_a_call_share_a_session_and_other_turns_have_none() -> None:
    async with served_agent(*((STARTED,), RUN) * 3) as (agent, upstream):
        for turn in (TURN, NEXT, replace(TURN, call=None)):
            assert await collect_events(agent, turn) == ["Well", Usage(1, 2)]
        assert upstream.connections == 1
    assert [request_body(upstream, place).get("session_id") for place in (0, 2, 4)] == ["c1", "c1", None]
    assert b"authorization" not in upstream.requests[0]


@pytest.mark.parametrize(
    ("path", "base_path"),
    [("/", ""), ("/v1", ""), ("/v1/", ""), ("/p/home", "/p/home"), ("/p/home/v1", "/p/home")],
)
async def test_the_url_may_have_a_path(path: str, base_path: str) -> None:
    async with Upstream((STARTED,), RUN) as upstream:
        agent = HermesAgent(upstream.url + path)
        assert await collect_events(agent) == ["Well", Usage(1, 2)]
        await agent.aclose()
    assert request_lines(upstream) == [f"POST {base_path}/v1/runs", f"GET {base_path}/v1/runs/run_1/events"]


async def test_any_split_of_the_bytes_gives_the_same_events() -> None:
    response = STREAM + chunk(run_event("tool.started", tool="clock") + WORD + END) + chunk(b"")
    async with served_agent((STARTED,), tuple(bytes([byte]) for byte in response)) as (agent, _):
        assert await collect_events(agent) == [Activity("clock"), "Well", Usage(1, 2)]


async def test_a_connection_is_reused_if_its_body_ends_shortly_after_the_run() -> None:
    slow = (STREAM, chunk(WORD + END), 0.01, chunk(b""))
    async with served_agent(*((STARTED,), slow) * 2) as (agent, upstream):
        for turn in (TURN, NEXT):
            assert await collect_events(agent, turn) == ["Well", Usage(1, 2)]
            await asyncio.sleep(0.03)
        assert upstream.connections == 1


async def test_text_is_yielded_at_once_and_closing_stops_the_run() -> None:
    async with served_agent((STARTED,), UNFINISHED_RUN, (STOPPING,), (UNKNOWN_RUN,), (STARTED,), RUN) as (
        agent,
        upstream,
    ):
        assert await first_event(agent) == "Well"
        assert request_lines(upstream) == [BEGIN, FOLLOW, STOP, STOP]
        await wait_until(upstream.disconnected.is_set)
        assert await collect_events(agent, NEXT) == ["Well", Usage(1, 2)]
    assert request_body(upstream, 4)["session_id"] == "c1"


async def cancel_turn(agent: HermesAgent, upstream: Upstream, requests: int) -> None:
    """Cancel a turn after the server got `requests` requests."""
    turn = asyncio.create_task(collect_events(agent))
    await wait_until(lambda: len(upstream.requests) == requests)
    await asyncio.sleep(0.01)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn


async def test_a_cancelled_turn_stops_its_run() -> None:
    async with served_agent((STARTED,), UNFINISHED_RUN, (UNKNOWN_RUN,)) as (agent, upstream):
        await cancel_turn(agent, upstream, 2)
        assert request_lines(upstream) == [BEGIN, FOLLOW, STOP]


async def test_a_run_that_starts_after_the_cancellation_is_stopped() -> None:
    async with served_agent((0.05, STARTED), (STOPPING,), (UNKNOWN_RUN,)) as (agent, upstream):
        await cancel_turn(agent, upstream, 1)
        assert request_lines(upstream) == [BEGIN, STOP, STOP]


async def test_a_server_that_never_starts_the_run_does_not_delay_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hermes, "STOP_TIMEOUT", 0.02)
    async with served_agent() as (agent, upstream):
        async with asyncio.timeout(2):
            await cancel_turn(agent, upstream, 1)
        await wait_until(upstream.disconnected.is_set)
        assert request_lines(upstream) == [BEGIN]


@pytest.mark.parametrize(
    "stops", [((STOPPING,),) * 4, ((Action.HANG,),), ((http_response(b"", status="500 No"),),) * 4]
)
async def test_after_a_run_that_does_not_stop_the_call_uses_a_new_session(
    stops: tuple[Reply, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hermes, "STOP_INTERVAL", 0.001)
    monkeypatch.setattr(hermes, "STOP_TIMEOUT", 0.1)
    async with served_agent((STARTED,), UNFINISHED_RUN, *stops, (STARTED,), RUN) as (agent, upstream):
        async with asyncio.timeout(2):
            assert await first_event(agent) == "Well"
        assert request_lines(upstream) == [BEGIN, FOLLOW, *(STOP for _ in stops)]
        assert await collect_events(agent, NEXT) == ["Well", Usage(1, 2)]
    assert request_body(upstream, -2)["session_id"] == "c1-t1"


async def test_a_background_turn_does_not_use_a_session_in_use() -> None:
    replies: tuple[Reply, ...] = ((STARTED,), UNFINISHED_RUN, (STARTED,), RUN, (UNKNOWN_RUN,))
    async with served_agent(*replies) as (agent, upstream), aclosing(agent.reply(TURN)) as reply:
        assert await anext(reply) == "Well"
        assert await collect_events(agent, replace(NEXT, background=True)) == ["Well", Usage(1, 2)]
    assert "session_id" not in request_body(upstream, 2)


async def test_sessions_in_use_are_limited_and_an_idle_one_gives_way() -> None:
    replies: tuple[Reply, ...] = ((STARTED,), RUN, (STARTED,), UNFINISHED_RUN, (UNKNOWN_RUN,))
    async with served_agent(*replies, max_sessions=1) as (agent, _):
        await collect_events(agent)
        async with aclosing(agent.reply(replace(TURN, call="c2"))) as reply:
            assert await anext(reply) == "Well"
            with pytest.raises(AgentBusy):
                await collect_events(agent)


@pytest.mark.parametrize(
    "denied", [http_response(b"{}"), UNKNOWN_RUN, http_response(b"{}", status="409 Conflict")]
)
async def test_approval_requests_are_denied(denied: bytes) -> None:
    approval = run_event(
        "approval.request", command="rm -rf /", choices=["once", "session", "always", "deny"]
    )
    follow = (STREAM, chunk(approval), chunk(WORD + END), chunk(b""))
    async with served_agent((STARTED,), follow, (denied,)) as (agent, upstream):
        assert await collect_events(agent) == ["Well", Usage(1, 2)]
    assert request_lines(upstream) == [BEGIN, FOLLOW, DENY]
    assert request_body(upstream, 2) == {"choice": "deny"}


async def test_a_run_whose_denial_fails_is_stopped() -> None:
    follow = (STREAM, chunk(run_event("approval.request")), Action.HANG)
    refused = http_response(b'{"error": {"message": "No such choice"}}', status="400 Bad Request")
    async with served_agent((STARTED,), follow, (refused,), (UNKNOWN_RUN,)) as (agent, upstream):
        with pytest.raises(
            AgentProtocolError, match=r"/v1/runs/run_1/approval answered 400: No such choice$"
        ):
            await collect_events(agent)
    assert request_lines(upstream) == [BEGIN, FOLLOW, DENY, STOP]


async def test_a_failed_run_raises_its_reason_without_the_key_and_is_not_stopped() -> None:
    failed = run_event("run.failed", error=f"HTTP 401: wrong key {KEY}")
    follow = (STREAM, chunk(WORD + failed), chunk(b""))
    async with (
        served_agent((STARTED,), follow, key=KEY) as (agent, upstream),
        aclosing(agent.reply(TURN)) as reply,
    ):
        assert await anext(reply) == "Well"
        with pytest.raises(AgentError) as raised:
            await anext(reply)
    assert str(raised.value).endswith("/v1/runs/run_1/events: Hermes failed: HTTP 401: wrong key ***")
    assert request_lines(upstream) == [BEGIN, FOLLOW]


async def test_a_run_stopped_by_another_client_is_an_error() -> None:
    async with served_agent((STARTED,), (STREAM, chunk(run_event("run.cancelled")), chunk(b""))) as (
        agent,
        upstream,
    ):
        with pytest.raises(AgentError, match=r"/events: another client stopped Hermes$"):
            await collect_events(agent)
    assert request_lines(upstream) == [BEGIN, FOLLOW]


@pytest.mark.parametrize(
    ("reply", "error_class", "message"),
    [
        ((http_response(b"{}", status="400 No"),), AgentProtocolError, "/v1/runs answered 400"),
        ((http_response(b"{}", status="401 No"),), AgentRejected, "/v1/runs answered 401"),
        ((http_response(b"{}", "retry-after: 1", status="429 No"),), AgentBusy, "/v1/runs answered 429"),
        ((http_response(b"{}", "retry-after: 1", status="503 No"),), AgentBusy, "/v1/runs answered 503"),
        ((http_response(b"{}", status="500 No"),), AgentError, "/v1/runs answered 500"),
        (
            (http_response(b"", "location: /x", status="302 No"),),
            AgentUnavailable,
            "redirects: configure the final address: /x",
        ),
        ((http_response(b"{", status="202 OK"),), AgentProtocolError, "no JSON"),
        ((http_response(b'{"run_id": "/"}', status="202 OK"),), AgentProtocolError, "without a valid id"),
        ((http_response(b"", status="204 OK"),), AgentProtocolError, "without a valid id"),
        ((http_response(b"x", "content-encoding: gzip"),), AgentProtocolError, "compressed"),
        (
            (b"HTTP/1.1 202 OK\r\ncontent-length: 99\r\n\r\n{", Action.CLOSE),
            AgentProtocolError,
            "in the middle",
        ),
        (
            (b"HTTP/1.1 202 OK\r\n", *(b"x: y\r\n" * 1000,) * 20, Action.HANG),
            AgentProtocolError,
            "a head of more",
        ),
        ((b"SSH-2.0-x\r\n", Action.HANG), AgentProtocolError, "no HTTP"),
    ],
)
async def test_a_run_that_does_not_start_raises_the_error(
    reply: Reply, error_class: type[AgentError], message: str
) -> None:
    async with served_agent(reply) as (agent, upstream):
        with pytest.raises(AgentError, match=message) as raised:
            await collect_events(agent)
        assert type(raised.value) is error_class
    assert request_lines(upstream) == [BEGIN]


@pytest.mark.parametrize(
    ("reply", "error_class", "message"),
    [
        ((http_response(b"{}", status="404 No"),), AgentRejected, "/v1/runs/run_1/events answered 404"),
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
        ((STREAM, chunk(END[:20]), Action.CLOSE), AgentProtocolError, "in the middle"),
        ((STREAM, Action.RESET), AgentProtocolError, "in the middle"),
        ((STREAM, chunk(b"data: {\n\n"), Action.HANG), AgentProtocolError, "no JSON"),
        (
            (STREAM, *(chunk(b"data: " + b"x" * 1024**2),) * 10, Action.HANG),
            AgentProtocolError,
            "event of more",
        ),
        ((http_response(b"x", "content-encoding: gzip"),), AgentProtocolError, "compressed"),
        (
            (http_response(b"<html>", "content-type: text/html"),),
            AgentProtocolError,
            "answered with a wrong content type: text/html",
        ),
    ],
)
async def test_a_run_whose_events_cannot_be_read_is_stopped(
    reply: Reply, error_class: type[AgentError], message: str
) -> None:
    async with served_agent((STARTED,), reply, (UNKNOWN_RUN,)) as (agent, upstream):
        with pytest.raises(AgentError, match=message) as raised:
            await collect_events(agent)
        assert type(raised.value) is error_class
    assert request_lines(upstream) == [BEGIN, FOLLOW, STOP]


@pytest.mark.parametrize(("mode", "replies"), [("runs", ((STARTED,), RUN)), ("chat", (CHAT,))])
async def test_a_turn_is_never_sent_twice(mode: Literal["runs", "chat"], replies: tuple[Reply, ...]) -> None:
    async with served_agent(*replies, (Action.RESET,), *replies, mode=mode) as (agent, upstream):
        await collect_events(agent)
        with pytest.raises(AgentProtocolError, match=r"connection (closed|reset) before any answer"):
            await collect_events(agent, NEXT)
        assert len(upstream.requests) == len(replies) + 1


async def test_events_are_requested_again_if_the_reused_connection_was_dead() -> None:
    async with served_agent((STARTED,), (Action.CLOSE,), RUN) as (agent, upstream):
        assert await collect_events(agent) == ["Well", Usage(1, 2)]
        assert request_lines(upstream) == [BEGIN, FOLLOW, FOLLOW]


async def test_a_failed_stop_request_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hermes, "STOP_INTERVAL", 0.001)
    trouble: tuple[Reply, ...] = ((http_response(b"", status="503 No"),), (Action.CLOSE,))
    async with served_agent((STARTED,), UNFINISHED_RUN, *trouble, (UNKNOWN_RUN,), (STARTED,), RUN) as (
        agent,
        upstream,
    ):
        assert await first_event(agent) == "Well"
        assert request_lines(upstream) == [BEGIN, FOLLOW, STOP, STOP, STOP]
        assert await collect_events(agent, NEXT) == ["Well", Usage(1, 2)]
    assert request_body(upstream, -2)["session_id"] == "c1"


async def test_an_unreachable_server_is_unavailable_for_turns_and_warm_ups() -> None:
    async with Upstream() as upstream:
        pass
    agent = HermesAgent(upstream.url)
    for call in (None, "c1"):
        with pytest.raises(AgentUnavailable):
            await agent.warm(call)
    with pytest.raises(AgentUnavailable):
        await collect_events(agent)
    await agent.aclose()


async def test_models_are_loaded_and_selected_by_name() -> None:
    async with served_agent((MODELS,), *((STARTED,), RUN) * 2, warm_up=False, model="slow") as (
        agent,
        upstream,
    ):
        assert agent.models == []
        await agent.warm()
        assert agent.models == ["fast"]
        await collect_events(agent)
        await collect_events(agent, replace(TURN, model="fast"))
    assert request_lines(upstream)[0] == "GET /v1/models"
    assert [request_body(upstream, place)["model"] for place in (1, 3)] == ["slow", "fast"]


async def test_warming_runs_a_turn_that_is_stopped_at_its_first_text() -> None:
    unfinished = (STREAM, chunk(run_event("tool.started", tool="x") + WORD), Action.HANG)
    async with served_agent((MODELS,), (STARTED,), unfinished, (STOPPING,), (UNKNOWN_RUN,)) as (
        agent,
        upstream,
    ):
        await agent.warm(None)
        assert request_lines(upstream) == ["GET /v1/models", BEGIN, FOLLOW, STOP, STOP]
    assert request_body(upstream, 1) == {"input": "Say OK.", "session_id": "voicegw-warm-up"}


async def test_a_server_that_refuses_the_key_is_not_ready() -> None:
    async with served_agent((http_response(b"{}", status="401 No"),)) as (agent, _):
        with pytest.raises(AgentRejected, match="/v1/models answered 401"):
            await agent.warm(None)


async def test_a_warm_up_turn_without_text_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hermes, "WARM_UP_TIMEOUT", 0.05)
    async with served_agent((MODELS,), (STARTED,), (STREAM, Action.HANG), (UNKNOWN_RUN,)) as (
        agent,
        upstream,
    ):
        with pytest.raises(AgentTimeout, match=r"/v1 sent no text within 0\.05 s$"):
            async with asyncio.timeout(2):
                await agent.warm(None)
        assert request_lines(upstream)[-1] == STOP


async def test_warming_a_call_opens_its_connections() -> None:
    async with served_agent((STARTED,), UNFINISHED_RUN, (UNKNOWN_RUN,)) as (agent, upstream):
        await agent.warm("c1")
        await wait_until(lambda: upstream.connections == 2)
        assert await first_event(agent) == "Well"
        assert (upstream.connections, len(upstream.requests)) == (2, 3)


async def test_a_turn_can_be_a_chat_completion() -> None:
    chat = (STREAM, chunk(read_recording("chat")), chunk(b""))
    async with served_agent(chat, mode="chat", key=KEY, model="slow") as (agent, upstream):
        assert await collect_events(agent) == EVENTS
    assert request_lines(upstream) == ["POST /v1/chat/completions"]
    assert b"x-hermes-session" not in upstream.requests[0].lower()
    assert request_body(upstream, 0) == {
        "messages": [
            {"role": "system", "content": "Be kind.\n\n(Call c1)"},
            {"role": "user", "content": "Hi"},
        ],
        "stream": True,
        "model": "slow",
    }


async def test_chats_share_a_connection_and_only_those_of_a_call_a_session() -> None:
    anonymous = replace(TURN, id="t3", call=None)
    async with served_agent(CHAT, CHAT, CHAT, mode="chat") as (agent, upstream):
        for turn in (TURN, NEXT, anonymous):
            assert await collect_events(agent, turn) == ["Well"]
        assert upstream.connections == 1
    systems = [request_body(upstream, place)["messages"][0]["content"] for place in range(3)]
    assert systems == [f"Be kind.\n\n(Call {name})" for name in ("c1", "c1", "t3")]


async def test_closing_a_chat_closes_its_connection_and_renames_its_session() -> None:
    async with served_agent((STREAM, chunk(chat_chunk("Well")), Action.HANG), CHAT, mode="chat") as (
        agent,
        upstream,
    ):
        assert await first_event(agent) == "Well"
        await wait_until(upstream.disconnected.is_set)
        assert await collect_events(agent, NEXT) == ["Well"]
    assert request_body(upstream, 1)["messages"][0]["content"] == "Be kind.\n\n(Call c1-t1)"


async def test_a_chat_that_ends_at_its_length_yields_a_finish() -> None:
    chat = (STREAM, chunk(chat_chunk("Well") + chat_chunk("", "length")), chunk(b""))
    async with served_agent(chat, mode="chat") as (agent, _):
        assert await collect_events(agent) == ["Well", Finish("length")]


async def test_a_chat_is_complete_after_its_finish_reason() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    async with served_agent(
        (STREAM, chunk(chat_chunk("Well") + chat_chunk("", "stop", usage=usage)), Action.CLOSE), mode="chat"
    ) as (
        agent,
        _,
    ):
        assert await collect_events(agent) == ["Well", Usage(1, 2)]


@pytest.mark.parametrize(
    ("reply", "error_class", "message"),
    [
        ((http_response(b"{}", status="401 No"),), AgentRejected, "/v1/chat/completions answered 401"),
        ((http_response(b"{}", status="429 No"),), AgentBusy, "answered 429"),
        (
            (STREAM, chunk(chat_chunk("", "error", error={"message": KEY})), chunk(b"")),
            AgentError,
            r": \*\*\*$",
        ),
        (
            (STREAM, chunk(chat_chunk("", "error")), chunk(b"")),
            AgentError,
            r"completions: the server reported an error$",
        ),
        ((STREAM, chunk(b"data: [1]\n\n"), Action.HANG), AgentProtocolError, "no object"),
        (
            (STREAM, chunk(b": keepalive\n\n"), chunk(b"")),
            AgentProtocolError,
            "completions ended in the middle",
        ),
        ((STREAM, chunk(chat_chunk("")), Action.CLOSE), AgentProtocolError, "in the middle"),
        (
            (http_response(b"{}", "content-type: application/json"),),
            AgentProtocolError,
            "answered with a wrong content type: application/json",
        ),
    ],
)
async def test_a_failed_chat_raises_the_error(
    reply: Reply, error_class: type[AgentError], message: str
) -> None:
    async with served_agent(reply, mode="chat", key=KEY) as (agent, upstream):
        with pytest.raises(AgentError, match=message) as raised:
            await collect_events(agent)
        assert type(raised.value) is error_class
    assert len(upstream.requests) == 1


async def test_warming_runs_a_chat_too() -> None:
    unfinished = (STREAM, chunk(chat_chunk("OK")), Action.HANG)
    async with served_agent((MODELS,), unfinished, mode="chat") as (agent, upstream):
        await agent.warm()
        await wait_until(upstream.disconnected.is_set)
        assert request_lines(upstream) == ["GET /v1/models", "POST /v1/chat/completions"]
