"""The Bedrock agent against a scripted endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agents.bedrock.frames import (
    HI_DELTA,
    THROTTLED,
    block_delta,
    block_stop,
    event,
    exception_message,
    message_stop,
    metadata,
    tool_use,
)
from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, http_response, wait_until
from voicegw.agents.bedrock.agent import BedrockAgent, endpoint_url
from voicegw.agents.bedrock.sigv4 import Credentials, Signer
from voicegw.agents.client.http import USER_AGENT
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
    ConfigError,
)
from voicegw.events import REASONING, Event, Finish, Message, Tool, ToolCall, Turn, Usage

pytestmark = pytest.mark.wire

KEY = "bedrock-api-key-very-secret"
ACCESS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a/session+token==")
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
PATH = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream"
NOW = 1767323045.9
STAMP = "20260102T030405Z"
TURN = Turn("t1", (Message("user", "Hi"),), model="asked")
STREAM = chunked_head("content-type: application/vnd.amazon.eventstream")
STREAM_BODY = (
    event("messageStart", role="assistant")
    + HI_DELTA
    + block_stop()
    + tool_use(1, "weather", '{"city":', '"Rome"}')
    + message_stop("tool_use")
    + metadata(5, 7)
)
EVENTS: list[Event] = [
    "Hi",
    ToolCall("tooluse_1", "weather", '{"city":"Rome"}'),
    Usage(5, 7),
    Finish("tool_calls"),
]
Reply = tuple[Piece | Action, ...]
WHOLE_REPLY: Reply = (STREAM, chunk(STREAM_BODY), chunk(b""))


@asynccontextmanager
async def run_agent(
    *replies: Reply, path: str = "", **options: Any
) -> AsyncIterator[tuple[BedrockAgent, Upstream]]:
    if "credentials" not in options:
        options["key"] = KEY
    async with Upstream(*replies) as upstream:
        agent = BedrockAgent("us-east-1", options.pop("model", MODEL), url=upstream.url + path, **options)
        try:
            yield agent, upstream
        finally:
            await agent.aclose()


async def events(agent: BedrockAgent, turn: Turn = TURN) -> list[Event]:
    """Return all events of a reply but `REASONING`."""
    async with aclosing(agent.reply(turn)) as reply:
        return [event async for event in reply if event != REASONING]


async def reply_to(*reply: Piece | Action, **options: Any) -> list[Event]:
    async with run_agent(reply, **options) as (agent, _):
        return await events(agent)


def parse_request(upstream: Upstream) -> tuple[str, dict[str, str], bytes]:
    """Return the request line, the headers and the body of the only request."""
    [request] = upstream.requests
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


async def test_turn_becomes_a_request_with_a_key() -> None:
    turn = Turn("t1", (Message("system", "Be kind."), *TURN.messages), tools=(Tool("end_call"),))
    options = {"latency": "optimized", "tier": "priority", "cache": ("system", "tools")}
    async with run_agent(WHOLE_REPLY, **options) as (agent, upstream):
        assert await events(agent, turn) == EVENTS
        first, headers, body = parse_request(upstream)
    assert first == f"POST {PATH} HTTP/1.1"
    assert headers == {
        "host": f"127.0.0.1:{upstream.port}",
        "user-agent": USER_AGENT,
        "accept": "application/vnd.amazon.eventstream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "authorization": f"Bearer {KEY}",
        "content-length": str(len(body)),
    }
    spec = {"name": "end_call", "inputSchema": {"json": {"type": "object", "properties": {}}}}
    assert orjson.loads(body) == {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "system": [{"text": "Be kind."}, {"cachePoint": {"type": "default"}}],
        "toolConfig": {"tools": [{"toolSpec": spec}, {"cachePoint": {"type": "default"}}]},
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "priority"},
    }


@pytest.mark.parametrize("access", [ACCESS, Credentials(ACCESS.access_key, ACCESS.secret_key)])
async def test_request_is_signed_as_it_arrives(access: Credentials) -> None:
    async with run_agent(WHOLE_REPLY, credentials=access, now=lambda: NOW) as (agent, upstream):
        assert await events(agent) == EVENTS
        _, headers, body = parse_request(upstream)
    signed = {name: headers[name] for name in ("host", "content-type")}
    wanted = Signer(access, "us-east-1", "bedrock").sign(STAMP, "POST", PATH, signed, body)
    assert wanted.items() <= headers.items()
    assert headers["x-amz-date"] == STAMP
    assert headers.get("x-amz-security-token") == access.session_token
    assert "SignedHeaders=content-type;host;x-amz-date" in headers["authorization"]


async def test_each_request_is_signed_with_the_current_time() -> None:
    times = iter((NOW, NOW + 600))
    async with run_agent(WHOLE_REPLY, WHOLE_REPLY, credentials=ACCESS, now=lambda: next(times)) as (
        agent,
        upstream,
    ):
        await events(agent)
        await events(agent)
    stamps = [request.partition(b"x-amz-date: ")[2][:16] for request in upstream.requests]
    assert stamps == [b"20260102T030405Z", b"20260102T031405Z"]


@pytest.mark.parametrize(
    ("path", "model", "asked"),
    [
        ("", "amazon.nova-lite-v1:0", "/model/amazon.nova-lite-v1%3A0/converse-stream"),
        ("/", "us.m", "/model/us.m/converse-stream"),
        ("/proxy/", "m", "/proxy/model/m/converse-stream"),
        (
            "",
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.m",
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.m/converse-stream",
        ),
    ],
)
async def test_model_is_part_of_the_path(path: str, model: str, asked: str) -> None:
    async with run_agent(WHOLE_REPLY, path=path, model=model) as (agent, upstream):
        await events(agent)
        assert parse_request(upstream)[0] == f"POST {asked} HTTP/1.1"


@pytest.mark.parametrize(
    ("region", "address"),
    [
        ("eu-west-1", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "https://bedrock-runtime.eusc-de-east-1.amazonaws.eu"),
        ("us-isob-east-1", "https://bedrock-runtime.us-isob-east-1.sc2s.sgov.gov"),
    ],
)
async def test_endpoint_of_a_region(region: str, address: str) -> None:
    assert endpoint_url(region) == address
    agent = BedrockAgent(region, MODEL, key=KEY)
    assert agent._url == f"{address}{PATH}"
    await agent.aclose()


def test_botocore_knows_the_same_endpoints() -> None:
    loader = pytest.importorskip("botocore.loaders").create_loader()
    from botocore.endpoint_provider import EndpointProvider

    clouds = loader.load_data("partitions")
    rules = EndpointProvider(loader.load_service_model("bedrock-runtime", "endpoint-rule-set-1"), clouds)
    regions = [name for cloud in clouds["partitions"] for name in cloud["regions"] if "global" not in name]
    assert len(regions) > 30
    for region in regions:
        found = rules.resolve_endpoint(Region=region, UseFIPS=False, UseDualStack=False)
        assert found.url == endpoint_url(region)


@pytest.mark.parametrize("known", [{}, {"key": KEY, "credentials": ACCESS}])
async def test_key_and_credentials_exclude_each_other(known: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="either an API key or an access key"):
        BedrockAgent("us-east-1", MODEL, **known)


async def test_every_cut_on_the_wire_gives_the_same_events() -> None:
    whole = STREAM + chunk(STREAM_BODY) + chunk(b"")
    assert await reply_to(*(bytes([byte]) for byte in whole)) == EVENTS


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(STREAM_BODY)), max_size=12))
def test_any_cut_on_the_wire_gives_the_same_events(cuts: list[int]) -> None:
    cuts = sorted(cuts)
    pieces = [
        piece
        for a, b in zip([0, *cuts], [*cuts, len(STREAM_BODY)], strict=True)
        if (piece := STREAM_BODY[a:b])
    ]
    assert asyncio.run(reply_to(STREAM, *map(chunk, pieces), chunk(b""))) == EVENTS


async def test_response_without_a_type_is_a_stream() -> None:
    assert await reply_to(http_response(STREAM_BODY)) == EVENTS


async def test_text_is_yielded_before_the_next_message() -> None:
    talks = (STREAM, chunk(HI_DELTA + block_delta(text="x")[:30]), Action.HANG)
    async with run_agent(talks) as (agent, _), aclosing(agent.reply(TURN)) as reply:
        assert await anext(reply) == "Hi"


async def test_closing_the_reply_closes_the_connection_at_once() -> None:
    async with run_agent((STREAM + chunk(HI_DELTA), Action.HANG)) as (agent, upstream):
        reply = agent.reply(TURN)
        assert await anext(reply) == "Hi"
        assert not upstream.disconnected.is_set()
        await reply.aclose()
        async with asyncio.timeout(1):
            await upstream.disconnected.wait()


async def test_turns_share_a_prewarmed_connection() -> None:
    async with run_agent(WHOLE_REPLY, WHOLE_REPLY, WHOLE_REPLY) as (agent, upstream):
        await agent.warm()
        await wait_until(lambda: upstream.connections)
        for _ in range(3):
            assert await events(agent) == EVENTS
            await asyncio.sleep(0.03)
        await agent.call_ended("c1")
        assert upstream.connections == 1


async def test_dead_kept_connection_is_replaced() -> None:
    async with run_agent((*WHOLE_REPLY, Action.CLOSE), WHOLE_REPLY) as (agent, upstream):
        assert await events(agent) == await events(agent) == EVENTS
        assert upstream.connections == 2


# After the end of the answer


async def test_usage_may_come_a_little_later() -> None:
    pieces = (STREAM, chunk(HI_DELTA + message_stop()), 0.02, chunk(metadata(1, 2)), 0.02, chunk(b""))
    assert await reply_to(*pieces) == ["Hi", Usage(1, 2)]


async def test_reply_does_not_wait_long_for_the_usage() -> None:
    async with asyncio.timeout(1):
        assert await reply_to(STREAM, chunk(HI_DELTA + message_stop("max_tokens")), Action.HANG) == [
            "Hi",
            Finish("length"),
        ]


@pytest.mark.parametrize(
    "rest",
    [
        (chunk(b""),),
        (Action.CLOSE,),
        (Action.RESET,),
        (0.02, chunk(b"garbled"), chunk(b"garbled"), Action.HANG),
        (chunk(THROTTLED), Action.HANG),
        (chunk(metadata(1, 2)[:20]), chunk(b"")),
    ],
)
async def test_error_after_the_answer_loses_nothing(rest: Reply) -> None:
    assert await reply_to(STREAM, chunk(HI_DELTA + message_stop()), 0.02, *rest) == ["Hi"]


@pytest.mark.parametrize("wrong", [THROTTLED, HI_DELTA[:-1] + b"x", b"no frame at all"])
async def test_error_in_the_same_read_as_the_end_loses_nothing(wrong: bytes) -> None:
    assert await reply_to(STREAM, chunk(HI_DELTA + message_stop() + wrong), chunk(b"")) == ["Hi"]


# Errors before the end of the answer


async def failure(*reply: Piece | Action, **options: Any) -> AgentError:
    with pytest.raises(AgentError) as raised:
        await reply_to(*reply, **options)
    return raised.value


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "ValidationException", AgentRejected),
        (400, "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/", AgentRejected),
        (400, "ServiceQuotaExceededException", AgentBusy),
        (400, "ThrottlingException", AgentBusy),
        (400, "", AgentProtocolError),
        (401, "", AgentRejected),
        (403, "AccessDeniedException", AgentRejected),
        (403, "UnrecognizedClientException", AgentRejected),
        (403, "InvalidSignatureException", AgentRejected),
        (404, "ResourceNotFoundException", AgentRejected),
        (408, "ModelTimeoutException", AgentTimeout),
        (424, "ModelErrorException", AgentError),
        (429, "ThrottlingException", AgentBusy),
        (429, "ModelNotReadyException", AgentBusy),
        (500, "InternalServerException", AgentError),
        (503, "ServiceUnavailableException", AgentBusy),
        (204, "", AgentProtocolError),
        (302, "", AgentUnavailable),
    ],
)
async def test_status_and_error_name_decide_the_error(status: int, name: str, kind: type[AgentError]) -> None:
    headers = (f"x-amzn-ErrorType: {name}",) if name else ()
    raised = await failure(http_response(b'{"message":"No."}', *headers, status=f"{status} X"))
    assert type(raised) is kind
    if name:
        assert raised.summary.endswith(f"{PATH} answered {status} ({name.partition(':')[0]})")
        assert raised.quote == "No."


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("date: Fri, 02 Jan 2026 03:14:05 GMT", "; the clock of this machine is 599 s behind"),
        ("date: Fri, 02 Jan 2026 02:58:00 GMT", "; the clock of this machine is 366 s ahead"),
        ("date: Fri, 02 Jan 2026 03:04:00 GMT", ""),
        ("date: yesterday", ""),
        ("server: none", ""),
    ],
)
async def test_refused_signature_names_the_clock_skew(date: str, said: str) -> None:
    name = "x-amzn-ErrorType: InvalidSignatureException"
    refused = http_response(b'{"message":"Signature expired."}', name, date, status="403 Forbidden")
    raised = await failure(refused, credentials=ACCESS, now=lambda: NOW)
    assert raised.summary.endswith(f"answered 403 (InvalidSignatureException){said}")


async def test_refused_key_does_not_name_the_clock_skew() -> None:
    refused = http_response(b"{}", "date: Fri, 02 Jan 2026 03:14:05 GMT", status="403 Forbidden")
    assert (await failure(refused, now=lambda: NOW)).summary.endswith("answered 403")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (THROTTLED, AgentBusy),
        (exception_message("validationException", "no"), AgentRejected),
        (exception_message("internalServerException", "no"), AgentError),
        (HI_DELTA[:-1] + b"x", AgentProtocolError),
        (b"data: {}\n\n" * 10, AgentProtocolError),
        (b"\x7f\xff\xff\xff" * 10, AgentProtocolError),
    ],
)
async def test_error_in_the_stream_is_raised_after_the_text(data: bytes, kind: type[AgentError]) -> None:
    async with run_agent((STREAM, chunk(HI_DELTA + block_stop()), 0.02, chunk(data), Action.HANG)) as (
        agent,
        upstream,
    ):
        reply = agent.reply(TURN)
        assert await anext(reply) == "Hi"
        with pytest.raises(AgentError) as raised:
            await anext(reply)
        assert type(raised.value) is kind
        await asyncio.wait_for(upstream.disconnected.wait(), 1)


@pytest.mark.parametrize(
    "end",
    [
        (chunk(b""),),
        (chunk(HI_DELTA[:30]), chunk(b"")),
        (chunk(HI_DELTA[:30]), Action.CLOSE),
        (Action.CLOSE,),
        (Action.RESET,),
        (b"zz\r\n", Action.CLOSE),
    ],
)
async def test_cut_answer_raises_a_protocol_error(end: Reply) -> None:
    assert type(await failure(STREAM, chunk(HI_DELTA), *end)) is AgentProtocolError


@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8"])
async def test_other_content_type_raises_a_protocol_error(kind: str) -> None:
    raised = await failure(http_response(b"{}", f"content-type: {kind}"))
    assert type(raised) is AgentProtocolError
    assert raised.summary.endswith("answered with a wrong content type")
    assert raised.quote == f"{kind.partition(';')[0]}: {{}}"


async def test_compressed_response_raises_a_protocol_error() -> None:
    head = chunked_head("content-type: application/vnd.amazon.eventstream", "content-encoding: gzip")
    assert type(await failure(head, chunk(b"\x1f\x8b"), chunk(b""))) is AgentProtocolError


async def test_endless_head_raises_a_protocol_error() -> None:
    assert (
        type(await failure(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 20_000, Action.HANG))
        is AgentProtocolError
    )


async def test_refused_connection_raises_unavailable_for_turns_and_warming() -> None:
    async with Upstream() as upstream:
        pass
    agent = BedrockAgent("us-east-1", MODEL, key=KEY, url=upstream.url)
    with pytest.raises(AgentUnavailable):
        await events(agent)
    with pytest.raises(AgentUnavailable):
        await agent.warm("call")
    await agent.aclose()


async def test_refusal_has_no_secrets() -> None:
    """AWS repeats what should have been signed, with the session token in it."""
    words = f"signed: x-amz-security-token:{ACCESS.session_token} by {ACCESS.secret_key}"
    refused = http_response(orjson.dumps({"message": words}), status="403 Forbidden")
    raised = await failure(refused, credentials=ACCESS)
    assert raised.quote == "signed: x-amz-security-token:*** by ***"
    body = orjson.dumps({"message": f"no such key {KEY}"})
    assert str(await failure(http_response(body, status="403 No"))).endswith("answered 403: no such key ***")


async def test_error_in_the_stream_has_no_secrets() -> None:
    raised = await failure(STREAM, chunk(exception_message("validationException", f"bad {KEY}")))
    assert raised.quote == "bad ***"
    assert KEY not in str(raised)


# Compared with botocore


class RawBody:
    """The body of a response as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield STREAM_BODY

    def close(self) -> None: ...


@pytest.mark.parametrize("model", [MODEL, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.m:0"])
async def test_botocore_sends_and_decodes_the_same(model: str) -> None:
    session: Any = pytest.importorskip("botocore.session").Session()
    from botocore.awsrequest import AWSResponse

    sent: list[Any] = []

    def answered(request: Any, **_: Any) -> Any:
        sent.append(request)
        return AWSResponse(
            request.url, 200, {"content-type": "application/vnd.amazon.eventstream"}, RawBody()
        )

    async with run_agent(WHOLE_REPLY, model=model, credentials=ACCESS, now=lambda: NOW) as (agent, upstream):
        assert await events(agent) == EVENTS
        first, _, body = parse_request(upstream)
    session.set_credentials(ACCESS.access_key, ACCESS.secret_key, ACCESS.session_token)
    client = session.create_client("bedrock-runtime", "us-east-1", endpoint_url=upstream.url)
    client.meta.events.register("before-send.bedrock-runtime", answered)
    heard = [*client.converse_stream(modelId=model, **orjson.loads(body))["stream"]]
    client.close()
    [theirs] = sent
    assert f"POST {theirs.url.removeprefix(upstream.url)} HTTP/1.1" == first
    assert orjson.loads(theirs.body) == orjson.loads(body)
    values = ((name.lower(), value) for name, value in theirs.headers.items())
    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in values}
    known = {"host": upstream.url.removeprefix("http://"), "content-type": "application/json"}
    path, stamp = first.split()[1], headers["x-amz-date"]
    again = Signer(ACCESS, "us-east-1", "bedrock").sign(stamp, "POST", path, known, theirs.body)
    assert again["authorization"] == headers["authorization"]
    assert heard[1]["contentBlockDelta"]["delta"] == {"text": "Hi"}
    assert heard[-1]["metadata"]["usage"]["outputTokens"] == 7
