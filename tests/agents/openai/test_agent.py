"""The OpenAI agent against a scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agents.upstream import Action, Upstream, chunk, chunked_head, http_response, wait_until
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.errors import (
    AgentError,
    AgentProtocolError,
    AgentUnavailable,
)
from voicegw.events import REASONING, Activity, Event, Finish, Message, ToolCall, Turn, Usage

pytestmark = pytest.mark.wire

KEY = "sk-very-secret"
TURN = Turn("t1", (Message("user", "Hi"),), model="asked", options={"temperature": 0.5})
STREAM = chunked_head("content-type: text/event-stream; charset=utf-8")


def sse_chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: %b\n\n" % orjson.dumps({"choices": choices, **more})


STREAM_BODY = (
    sse_chunk({"role": "assistant", "content": ""})
    + sse_chunk({"content": "Hé"})
    + b": keep\n\n"
    + sse_chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}]})
    + sse_chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})
    + sse_chunk({}, "tool_calls")
    + sse_chunk(usage={"prompt_tokens": 5, "completion_tokens": 7})
    + b"data: [DONE]\n\n"
)
EVENTS: list[Event] = ["Hé", ToolCall("a", "f", '{"x":1}'), Usage(5, 7), Finish("tool_calls")]


async def events(agent: OpenAIAgent, turn: Turn = TURN) -> list[Event]:
    """Return all events of a reply but `REASONING`."""
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply if event != REASONING]


async def reply_to(*reply: bytes | float | Action, **options: Any) -> list[Event]:
    async with Upstream(reply) as upstream:
        agent = OpenAIAgent(f"{upstream.url}/v1", **options)
        try:
            return await events(agent)
        finally:
            await agent.aclose()


async def test_turn_becomes_a_request() -> None:
    async with Upstream((STREAM + chunk(STREAM_BODY) + chunk(b""),)) as upstream:
        agent = OpenAIAgent(f"{upstream.url}/v1/", key=KEY, model="own", headers={"X-Mine": "1"})
        assert await events(agent) == EVENTS
        await agent.aclose()
    head, _, body = upstream.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert {f"authorization: Bearer {KEY}", "accept-encoding: identity", "x-mine: 1"} < set(lines)
    assert "content-type: application/json" in lines
    assert orjson.loads(body) == {
        "model": "own",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
    }


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/a/chat/completions", "/a/chat/completions"),
        ("/a/chat/completions/?v=1", "/a/chat/completions?v=1"),
        ("/v1?v=1", "/v1/chat/completions?v=1"),
    ],
)
async def test_url_may_be_the_base_or_the_full_one(path: str, asked: str) -> None:
    async with Upstream((http_response(b"", status="500 No"),)) as upstream:
        agent = OpenAIAgent(upstream.url + path, fields=frozenset())
        with pytest.raises(AgentError, match="answered 500"):
            await events(agent)
        await agent.aclose()
    head, _, body = upstream.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST {asked} HTTP/1.1\r\n".encode())
    assert b"authorization" not in head
    assert orjson.loads(body).keys() == {"model", "messages", "stream"}


async def test_every_cut_on_the_wire_gives_the_same_events() -> None:
    whole = STREAM + chunk(STREAM_BODY) + chunk(b"")
    assert await reply_to(*(bytes([byte]) for byte in whole)) == EVENTS


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(STREAM_BODY)), max_size=12), st.booleans())
def test_any_cut_on_the_wire_gives_the_same_events(cuts: list[int], framed: bool) -> None:
    cuts = sorted(cuts)
    pieces = [
        piece
        for a, b in zip([0, *cuts], [*cuts, len(STREAM_BODY)], strict=True)
        if (piece := STREAM_BODY[a:b])
    ]
    if framed:
        reply: list[bytes | Action] = [STREAM, *map(chunk, pieces), chunk(b"")]
    else:
        reply = [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", *pieces, Action.CLOSE]
    assert asyncio.run(reply_to(*reply)) == EVENTS


async def test_text_is_yielded_before_the_next_chunk() -> None:
    async with Upstream((STREAM + chunk(sse_chunk({"content": "a"})), Action.HANG)) as upstream:
        agent = OpenAIAgent(upstream.url)
        async with aclosing(agent.reply(TURN)) as reply:
            assert await anext(reply) == "a"
        await agent.aclose()


async def test_closing_the_reply_closes_the_connection_at_once() -> None:
    async with Upstream((STREAM + chunk(sse_chunk({"content": "a"})), Action.HANG)) as upstream:
        agent = OpenAIAgent(upstream.url)
        reply = agent.reply(TURN)
        assert await anext(reply) == "a"
        started = asyncio.get_running_loop().time()
        await reply.aclose()
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        assert asyncio.get_running_loop().time() - started < 1
        await agent.aclose()


async def test_turns_share_a_connection_if_the_body_ends_after_done() -> None:
    slow = (STREAM + chunk(STREAM_BODY), 0.01, chunk(b""))
    async with Upstream(slow, slow, slow) as upstream:
        agent = OpenAIAgent(upstream.url)
        await agent.warm()
        for _ in range(3):
            assert await events(agent) == EVENTS
            await wait_until(lambda: agent._endpoint.client._idle)
        assert upstream.connections == 1
        await agent.aclose()


async def test_reply_ends_at_done_although_the_body_goes_on() -> None:
    async with Upstream((STREAM + chunk(STREAM_BODY), Action.HANG)) as upstream:
        agent = OpenAIAgent(upstream.url)
        assert await events(agent) == EVENTS
        assert not upstream.disconnected.is_set()
        await agent.aclose()


COMPLETION = orjson.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_response_is_decoded_with_and_without_stream(stream: bool, kind: str) -> None:
    assert await reply_to(http_response(COMPLETION, f"content-type: {kind}"), stream=stream) == [
        "Hi",
        Finish(),
    ]


async def test_event_stream_is_decoded_without_stream() -> None:
    assert await reply_to(STREAM + chunk(STREAM_BODY) + chunk(b""), stream=False) == EVENTS


@pytest.mark.parametrize("stream", [True, False])
async def test_response_without_a_type_is_decoded_as_what_it_is(stream: bool) -> None:
    assert await reply_to(http_response(COMPLETION), stream=stream) == ["Hi", Finish()]
    assert await reply_to(http_response(STREAM_BODY), stream=stream) == EVENTS


async def test_error_in_the_stream_has_no_secrets() -> None:
    error = b'data: {"error": "wrong key %b"}\n\n' % KEY.encode()
    with pytest.raises(AgentError, match=r": wrong key \*\*\*$"):
        await reply_to(STREAM + chunk(error) + chunk(b""), key=KEY)


async def test_endless_refusal_is_not_read_to_its_end() -> None:
    with pytest.raises(AgentProtocolError, match=r"400: x+$"):
        await reply_to(chunked_head(status="400 No") + chunk(b"x" * 20_000), Action.HANG)


@pytest.mark.parametrize(
    ("end", "events"),
    [(sse_chunk({"content": "b"}, "stop"), ["ab", Finish()]), (b"data: [DONE]\n\n", ["a"])],
)
async def test_cut_after_the_end_of_the_answer_loses_nothing(end: bytes, events: list[Event]) -> None:
    assert await reply_to(STREAM + chunk(sse_chunk({"content": "a"}) + end), Action.CLOSE) == events


async def test_cut_in_the_middle_raises_after_the_text() -> None:
    async with Upstream((STREAM + chunk(sse_chunk({"content": "a"})), Action.CLOSE)) as upstream:
        agent = OpenAIAgent(upstream.url)
        async with aclosing(agent.reply(TURN)) as reply:
            assert await anext(reply) == "a"
            with pytest.raises(AgentProtocolError, match="in the middle of an answer"):
                await anext(reply)
        await agent.aclose()


async def test_body_without_done_ends_the_answer() -> None:
    assert await reply_to(STREAM + chunk(sse_chunk({"content": "a"})) + chunk(b"")) == ["a"]


async def test_refused_connection_raises_unavailable_for_turns_and_warming() -> None:
    async with Upstream() as upstream:
        pass
    agent = OpenAIAgent(upstream.url)
    with pytest.raises(AgentUnavailable):
        await events(agent)
    with pytest.raises(AgentUnavailable):
        await agent.warm("call")
    await agent.aclose()


def completion_with_usage(prompt: int, completion: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
    return http_response(orjson.dumps(body), "content-type: application/json")


async def test_usage_totals_become_the_usage_of_the_turn() -> None:
    replies = tuple((completion_with_usage(*tokens),) for tokens in ((10, 5), (25, 9), (7, 2)))
    async with Upstream(*replies) as upstream:
        agent = OpenAIAgent(upstream.url, usage_totals=True)
        turns = [replace(TURN, call="c1"), replace(TURN, call="c1"), TURN]
        usages = [[e for e in await events(agent, turn) if isinstance(e, Usage)] for turn in turns]
        await agent.aclose()
    assert usages == [[Usage(10, 5)], [Usage(15, 4)], [Usage(7, 2)]]


async def test_totals_are_forgotten_when_the_call_ends() -> None:
    async with Upstream(*((completion_with_usage(10, 5),) for _ in range(2))) as upstream:
        agent = OpenAIAgent(upstream.url, usage_totals=True)
        turn = replace(TURN, call="c1")
        await events(agent, turn)
        await agent.call_ended("c1")
        await agent.call_ended("c2")
        assert Usage(10, 5) in await events(agent, turn)
        await agent.aclose()


async def test_totals_are_remembered_for_the_newest_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicegw.agents.openai.call_memory.MAX_REMEMBERED_CALLS", 1)
    async with Upstream(*((completion_with_usage(10, 5),) for _ in range(3))) as upstream:
        agent = OpenAIAgent(upstream.url, usage_totals=True)
        usages = [(await events(agent, replace(TURN, call=call)))[-2:] for call in ("a", "b", "a")]
        await agent.aclose()
    assert all(Usage(10, 5) in events for events in usages)


# Servers that are agents themselves


def stream_of(text: str) -> tuple[bytes, ...]:
    return (
        STREAM
        + chunk(sse_chunk({"content": text}) + sse_chunk({}, "stop") + b"data: [DONE]\n\n")
        + chunk(b""),
    )


def sent_contents(upstream: Upstream) -> list[list[str]]:
    """The contents of the messages of each request."""
    bodies = [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in upstream.requests]
    return [[message["content"] for message in body["messages"]] for body in bodies]


async def test_tools_run_by_the_server_become_activities() -> None:
    assert await reply_to(STREAM + chunk(STREAM_BODY) + chunk(b""), tools_run_by="server") == [
        "Hé",
        Activity("f"),
        Usage(5, 7),
        Finish(),
    ]
    body = {"choices": [{"message": {"tool_calls": [{"function": {"name": "f"}}]}}]}
    assert await reply_to(http_response(orjson.dumps(body)), stream=False, tools_run_by="server") == [
        Activity("f")
    ]


FIRST_TURN = replace(TURN, call="c1")
SECOND_TURN = replace(
    FIRST_TURN,
    messages=(
        Message("system", "Be kind"),
        Message("user", "Hi"),
        Message("assistant", "a"),
        Message("user", "When?"),
    ),
)


@pytest.mark.parametrize(
    ("history", "words"),
    [("whole", ["Be kind", "Hi", "a", "When?"]), ("last", ["Be kind", "When?"])],
)
async def test_server_that_keeps_conversations_gets_the_call_id(history: Any, words: list[str]) -> None:
    async with Upstream(stream_of("a"), stream_of("b"), stream_of("c"), stream_of("d")) as upstream:
        agent = OpenAIAgent(upstream.url, conversation_header="x-conversation-id", history=history)
        assert await events(agent, FIRST_TURN) == ["a", Finish()]
        assert await events(agent, SECOND_TURN) == ["b", Finish()]
        await events(agent, replace(SECOND_TURN, background=True))
        await events(agent, replace(SECOND_TURN, call=None))
        await agent.aclose()
    named = [b"x-conversation-id: c1\r\n" in request for request in upstream.requests]
    assert named == [True, True, False, False]
    everything = ["Be kind", "Hi", "a", "When?"]
    assert sent_contents(upstream) == [["Hi"], words, everything, everything]


async def test_turn_after_an_interruption_repeats_the_interrupted_one() -> None:
    cut = (STREAM + chunk(sse_chunk({"content": "It is"})), Action.HANG)
    async with Upstream(stream_of("a"), cut, stream_of("b")) as upstream:
        agent = OpenAIAgent(upstream.url, conversation_header="x-conversation-id", history="last")
        await events(agent, FIRST_TURN)
        reply = agent.reply(SECOND_TURN)
        assert await anext(reply) == "It is"
        await reply.aclose()
        now = (*SECOND_TURN.messages, Message("assistant", "It"), Message("user", "Never mind"))
        await events(agent, replace(SECOND_TURN, messages=now, heard="It"))
        await agent.aclose()
    note = '(The caller interrupted you: of your last answer they heard only "It".)'
    assert sent_contents(upstream)[2] == ["Be kind", f"When?\n\n{note}\n\nNever mind"]


async def test_call_that_ended_sends_the_whole_conversation_again() -> None:
    async with Upstream(stream_of("a"), stream_of("b")) as upstream:
        agent = OpenAIAgent(upstream.url, conversation_header="x-conversation-id", history="last")
        await events(agent, FIRST_TURN)
        await agent.call_ended("c1")
        await events(agent, SECOND_TURN)
        await agent.aclose()
    assert sent_contents(upstream)[1] == ["Be kind", "Hi", "a", "When?"]


async def test_error_as_plain_text_in_the_stream_is_raised() -> None:
    error = sse_chunk({"content": "a"}) + b'data: {"error": "provider is down"}\n\n'
    with pytest.raises(AgentError, match="the server reported an error: provider is down"):
        await reply_to(STREAM + chunk(error) + chunk(b""))
