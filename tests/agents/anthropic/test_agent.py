"""The Anthropic agent against a scripted server, and compared with Anthropic's SDK."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agents.upstream import Action, Upstream, chunk, chunked_head, http_response
from voicegw.agents.anthropic.agent import AnthropicAgent
from voicegw.agents.anthropic.decoder import ERRORS_BY_TYPE
from voicegw.agents.finish_reasons import parse_finish_reason
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)
from voicegw.events import REASONING, Event, Finish, Message, Tool, ToolCall, Turn, Usage

pytestmark = pytest.mark.wire

KEY = "sk-ant-very-secret"
TURN = Turn(
    "t1",
    (Message("system", "Be kind"), Message("user", "Hi")),
    model="asked",
    tools=(Tool("f"),),
    options={"temperature": 0.5},
)
STREAM = chunked_head("content-type: text/event-stream; charset=utf-8")


def sse_event(kind: str, **more: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **more}))


def text_delta(words: str) -> bytes:
    return sse_event("content_block_delta", index=1, delta={"type": "text_delta", "text": words})


def arguments_delta(json: str) -> bytes:
    return sse_event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": json})


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "own", "content": []}
STARTED = sse_event(
    "message_start",
    message=MESSAGE | {"usage": {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 1}},
)
STOPPED = sse_event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 7})
STREAM_BODY = (
    STARTED
    + sse_event(
        "content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}
    )
    + sse_event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
    + sse_event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "x"})
    + sse_event("content_block_stop", index=0)
    + sse_event("content_block_start", index=1, content_block={"type": "text", "text": ""})
    + sse_event("ping")
    + text_delta("Hé")
    + text_delta("llo")
    + sse_event("content_block_stop", index=1)
    + sse_event(
        "content_block_start",
        index=2,
        content_block={"type": "tool_use", "id": "a", "name": "f", "input": {}},
    )
    + arguments_delta('{"x"')
    + arguments_delta(": 1}")
    + sse_event("content_block_stop", index=2)
    + STOPPED
    + sse_event("message_stop")
)
EVENTS: list[Event] = ["Hé", "llo", ToolCall("a", "f", '{"x": 1}'), Usage(25, 7, 20), Finish("tool_calls")]


async def events(agent: AnthropicAgent, turn: Turn = TURN) -> list[Event]:
    """Return all events of a reply but `REASONING`."""
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply if event != REASONING]


async def reply_to(*reply: bytes | float | Action, **options: Any) -> list[Event]:
    async with Upstream(reply) as upstream:
        agent = AnthropicAgent(upstream.url, model="own", **options)
        try:
            return await events(agent)
        finally:
            await agent.aclose()


def parse_request(request: bytes) -> tuple[list[str], dict[str, Any]]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), orjson.loads(body)


async def test_turn_becomes_a_request() -> None:
    async with Upstream((STREAM + chunk(STREAM_BODY) + chunk(b""),)) as upstream:
        agent = AnthropicAgent(upstream.url, key=KEY, model="own", headers={"X-Mine": "1"})
        assert await events(agent) == EVENTS
        await agent.aclose()
    lines, body = parse_request(upstream.requests[0])
    assert lines[0] == "POST /v1/messages HTTP/1.1"
    assert {
        f"x-api-key: {KEY}",
        "anthropic-version: 2026-10-21",
        "accept: text/event-stream",
        "accept-encoding: identity",
        "content-type: application/json",
        "x-mine: 1",
    } < set(lines)
    assert body == {
        "model": "own",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "Be kind", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "stream": True,
    }


@pytest.mark.parametrize(
    ("options", "version", "sent"),
    [
        ({"sampling": True}, "2023-06-01", {"temperature": 0.5}),
        ({"sampling": True, "version": "v9"}, "v9", {"temperature": 0.5}),
        ({"version": "v9"}, "v9", {}),
        ({"cache": False, "max_tokens": 9}, "2026-10-21", {"system": "Be kind", "max_tokens": 9}),
        (
            {"extra_body": {"thinking": {"type": "disabled"}, "model": "no"}},
            "2026-10-21",
            {"thinking": {"type": "disabled"}, "model": "own"},
        ),
    ],
)
async def test_constructor_options_are_sent(options: Any, version: str, sent: dict[str, Any]) -> None:
    async with Upstream((STREAM + chunk(STREAM_BODY) + chunk(b""),)) as upstream:
        agent = AnthropicAgent(upstream.url, model="own", **options)
        await events(agent)
        await agent.aclose()
    lines, body = parse_request(upstream.requests[0])
    assert f"anthropic-version: {version}" in lines
    assert not any(line.startswith("x-api-key") for line in lines)
    assert sent.items() <= body.items()
    assert ("temperature" in body) is ("sampling" in options)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("", "/v1/messages"),
        ("/v1/", "/v1/messages"),
        ("/v1/messages", "/v1/messages"),
        ("/anthropic", "/anthropic/v1/messages"),
    ],
)
async def test_url_may_be_the_base_or_the_full_one(path: str, wanted: str) -> None:
    async with Upstream((http_response(b"", status="500 No"),)) as upstream:
        agent = AnthropicAgent(upstream.url + path, model="own")
        with pytest.raises(AgentError, match=f"{wanted} answered 500$"):
            await events(agent)
        await agent.aclose()
    assert upstream.requests[0].startswith(f"POST {wanted} HTTP/1.1\r\n".encode())


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
        reply = [b"HTTP/1.1 200 OK\r\n\r\n", *pieces, Action.CLOSE]
    assert asyncio.run(reply_to(*reply)) == EVENTS


async def test_closing_the_reply_closes_the_connection_at_once() -> None:
    async with Upstream((STREAM + chunk(STARTED + text_delta("a")), Action.HANG)) as upstream:
        agent = AnthropicAgent(upstream.url, model="own")
        reply = agent.reply(TURN)
        assert await anext(reply) == "a"
        started = asyncio.get_running_loop().time()
        await reply.aclose()
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        assert asyncio.get_running_loop().time() - started < 1
        await agent.aclose()


async def test_turns_share_a_connection_if_the_body_ends_after_the_message() -> None:
    slow = (STREAM + chunk(STREAM_BODY), 0.01, chunk(b""))
    async with Upstream(slow, slow, slow) as upstream:
        agent = AnthropicAgent(upstream.url, model="own")
        await agent.warm()
        for _ in range(3):
            assert await events(agent) == EVENTS
            await asyncio.sleep(0.03)
        assert upstream.connections == 1
        await agent.aclose()


async def test_reply_ends_with_the_message_although_the_body_goes_on() -> None:
    async with Upstream((STREAM + chunk(STREAM_BODY), Action.HANG)) as upstream:
        agent = AnthropicAgent(upstream.url, model="own")
        assert await events(agent) == EVENTS
        assert not upstream.disconnected.is_set()
        await agent.aclose()


@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8"])
async def test_other_content_type_raises_a_protocol_error(kind: str) -> None:
    with pytest.raises(
        AgentProtocolError, match=f"/v1/messages answered with a wrong content type: {kind.partition(';')[0]}"
    ):
        await reply_to(http_response(b"{}", f"content-type: {kind}"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (204, AgentProtocolError),
        (302, AgentUnavailable),
        (400, AgentProtocolError),
        (401, AgentRejected),
        (402, AgentRejected),
        (403, AgentRejected),
        (404, AgentRejected),
        (408, AgentTimeout),
        (413, AgentProtocolError),
        (429, AgentBusy),
        (500, AgentError),
        (503, AgentBusy),
        (504, AgentTimeout),
        (529, AgentBusy),
    ],
)
async def test_status_decides_the_error(status: int, kind: type[AgentError]) -> None:
    with pytest.raises(AgentError) as raised:
        await reply_to(http_response(b"", status=f"{status} X"))
    assert type(raised.value) is kind


@pytest.mark.parametrize("status", [401, 529])
async def test_refusal_has_the_words_of_the_server_without_secrets(status: int) -> None:
    error = {"type": "authentication_error", "message": f"wrong {KEY} or token-123"}
    body = orjson.dumps({"type": "error", "error": error, "request_id": "req_1"})
    async with Upstream((http_response(body, status=f"{status} No"),)) as upstream:
        agent = AnthropicAgent(upstream.url, model="own", key=KEY, headers={"x-token": "token-123"})
        with pytest.raises(AgentError) as raised:
            await events(agent)
        await agent.aclose()
    assert raised.value.summary == f"{upstream.url}/v1/messages answered {status}"
    assert raised.value.quote == "wrong *** or ***"


async def test_error_in_the_stream_is_raised_after_the_text_without_secrets() -> None:
    error = sse_event("error", error={"type": "overloaded_error", "message": f"busy {KEY}"})
    async with Upstream((STREAM + chunk(STARTED + text_delta("a") + error) + chunk(b""),)) as upstream:
        agent = AnthropicAgent(upstream.url, model="own", key=KEY)
        async with aclosing(agent.reply(TURN)) as reply:
            assert await anext(reply) == "a"
            with pytest.raises(AgentBusy, match=r"the server reported an error: busy \*\*\*$"):
                await anext(reply)
        await agent.aclose()


@pytest.mark.parametrize(
    "end",
    [
        (Action.CLOSE,),
        (Action.RESET,),
        (chunk(b""),),
        (chunk(b"event: message_st"), chunk(b"")),
        (b"zz\r\n",),
    ],
)
async def test_cut_in_the_middle_raises_after_the_text(end: tuple[bytes | Action, ...]) -> None:
    async with Upstream((STREAM + chunk(STARTED + text_delta("a")), 0.01, *end)) as upstream:
        agent = AnthropicAgent(upstream.url, model="own")
        async with aclosing(agent.reply(TURN)) as reply:
            assert await anext(reply) == "a"
            with pytest.raises(AgentProtocolError):
                await anext(reply)
        await agent.aclose()


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET, chunk(b"")])
async def test_cut_after_the_stop_reason_loses_nothing(end: bytes | Action) -> None:
    length = sse_event("message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 7})
    found = await reply_to(STREAM + chunk(STARTED + text_delta("a") + length), 0.01, end)
    assert found == ["a", Usage(25, 7, 20), Finish("length")]


async def test_endless_event_raises_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="a server-sent event of more than"):
        await reply_to(STREAM + chunk(b"data: " + b"x" * (10 * 1024 * 1024)) + chunk(b""))


async def test_compressed_response_raises_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="compressed its answer"):
        await reply_to(STREAM.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n") + chunk(b"x"))


async def test_endless_head_raises_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError):
        await reply_to(b"HTTP/1.1 200 OK\r\n", *(b"x: " + b"y" * 9000 + b"\r\n" for _ in range(12)))


async def test_refused_connection_raises_unavailable_for_turns_and_warming() -> None:
    async with Upstream() as upstream:
        pass
    agent = AnthropicAgent(upstream.url, model="own")
    with pytest.raises(AgentUnavailable):
        await events(agent)
    with pytest.raises(AgentUnavailable):
        await agent.warm("call")
    await agent.call_ended("call")
    await agent.aclose()


# Compared with Anthropic's SDK


async def test_sdk_sends_the_same_request_and_decodes_the_same_events() -> None:
    sdk = pytest.importorskip("anthropic")
    reply = (STREAM + chunk(STREAM_BODY) + chunk(b""),)
    async with Upstream(reply, reply) as upstream:
        agent = AnthropicAgent(upstream.url, model="own", key=KEY)
        heard = await events(agent)
        await agent.aclose()
        lines, body = parse_request(upstream.requests[0])
        more = {name: value for name, value in body.items() if name != "stream"}
        client = sdk.AsyncAnthropic(base_url=upstream.url, api_key=KEY, max_retries=0)
        async with client, client.messages.stream(**more) as stream:
            words = [part async for part in stream.text_stream]
            message = await stream.get_final_message()
            sdk_request = stream.response.request
    assert orjson.loads(sdk_request.content) == body
    assert f"{sdk_request.method} {sdk_request.url.path} HTTP/1.1" == lines[0]
    for name in ("content-type", "anthropic-version"):
        assert f"{name}: {sdk_request.headers[name]}" in lines
    calls = [(part.id, part.name, part.input) for part in message.content if part.type == "tool_use"]
    used = message.usage
    read = used.cache_read_input_tokens
    assert [event for event in heard if isinstance(event, str)] == words
    assert [
        (event.id, event.name, orjson.loads(event.arguments))
        for event in heard
        if isinstance(event, ToolCall)
    ] == calls
    assert heard[-2] == Usage(used.input_tokens + read, used.output_tokens, read)
    assert heard[-1] == Finish("tool_calls" if message.stop_reason == "tool_use" else "stop")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("authentication_error", AgentRejected),
        ("permission_error", AgentRejected),
        ("billing_error", AgentRejected),
        ("not_found_error", AgentRejected),
        ("rate_limit_error", AgentBusy),
        ("overloaded_error", AgentBusy),
        ("timeout_error", AgentTimeout),
        ("invalid_request_error", AgentProtocolError),
        ("api_error", AgentError),
    ],
)
async def test_sdk_raises_the_same_errors(kind: str, error: type[AgentError]) -> None:
    sdk = pytest.importorskip("anthropic")
    reply = (STREAM + chunk(sse_event("error", error={"type": kind, "message": "why"})) + chunk(b""),)
    async with Upstream(reply, reply) as upstream:
        agent = AnthropicAgent(upstream.url, model="own")
        with pytest.raises(AgentError) as raised:
            await events(agent)
        await agent.aclose()
        client = sdk.AsyncAnthropic(base_url=upstream.url, api_key=KEY, max_retries=0)
        async with client, client.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
            with pytest.raises(sdk.APIStatusError) as sdk_raised:
                await stream.get_final_message()
    assert (type(raised.value), raised.value.quote) == (error, "why")
    assert (sdk_raised.value.type, sdk_raised.value.api_message) == (kind, "why")


def test_error_types_and_stop_reasons_are_those_of_the_sdk() -> None:
    types = pytest.importorskip("anthropic.types")
    errors = pytest.importorskip("anthropic.types.shared.error_object")
    known = {
        get_args(kind.model_fields["type"].annotation)[0]
        for kind in get_args(get_args(errors.ErrorObject)[0])
    }
    assert known - {"api_error"} == ERRORS_BY_TYPE.keys()
    assert all(parse_finish_reason(reason) for reason in get_args(types.StopReason))
