"""The JSON API of an agent against every kind of response."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import Any

import pytest

from tests.agents.client.test_connection import read_piece
from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, http_response
from voicegw.agents.client import json_api as module
from voicegw.agents.client.http import USER_AGENT
from voicegw.agents.client.json_api import JsonApi
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)

pytestmark = pytest.mark.wire

KEY = "k3y-of-the-house"
BEARER = {"Authorization": f"Bearer {KEY}"}


async def request_once(*reply: Piece | Action, **more: Any) -> Any:
    async with Upstream(reply) as upstream:
        api = JsonApi(f"{upstream.url}/base/", BEARER)
        try:
            return await api.request_json("POST", "/x", {}, **more)
        finally:
            await api.client.aclose()


async def failure(*reply: Piece | Action, **more: Any) -> AgentError:
    with pytest.raises(AgentError) as raised:
        await request_once(*reply, **more)
    return raised.value


async def test_request_and_response_are_json() -> None:
    async with Upstream((http_response(b'{"b": [1, "\xc3\xa4"]}'),)) as upstream:
        api = JsonApi(f"{upstream.url}/base/?ignored", BEARER)
        assert await api.request_json("PUT", "/x?y=z", {"a": "ü"}) == {"b": [1, "ä"]}
        head, body = upstream.requests[0].split(b"\r\n\r\n")
        assert head.split(b"\r\n") == [
            b"PUT /base/x?y=z HTTP/1.1",
            f"host: 127.0.0.1:{upstream.port}".encode(),
            f"user-agent: {USER_AGENT}".encode(),
            b"accept-encoding: identity",
            b"content-type: application/json",
            f"authorization: Bearer {KEY}".encode(),
            b"content-length: 10",
        ]
        assert body == '{"a":"ü"}'.encode()
        await api.client.aclose()


async def test_request_headers_replace_those_of_the_api() -> None:
    async with Upstream((http_response(b"ok"),)) as upstream:
        api = JsonApi(upstream.url, {"X-Name": "ours"})
        async with api.request("GET", "/", Accept="text/event-stream", x_name="mine") as response:
            assert (response.status, await response.read(9)) == (200, b"ok")
        assert b"\r\nx-name: mine\r\naccept: text/event-stream\r\n\r\n" in upstream.requests[0]
        assert b"ours" not in upstream.requests[0]
        await api.client.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        (http_response(b""),),
        (http_response(b" \n"),),
        (b"HTTP/1.1 204 No Content\r\n\r\n",),
        (chunked_head(status="201 Created"), chunk(b"")),
    ],
)
async def test_empty_response_is_none(reply: tuple[bytes, ...]) -> None:
    assert await request_once(*reply) is None


async def test_allowed_status_gives_none() -> None:
    refusal = http_response(b"no JSON", status="404 Not Found")
    assert await request_once(refusal, allow_status=(404, 409)) is None
    assert type(await failure(refusal, allow_status=(409,))) is AgentRejected


async def test_response_with_an_allowed_status_can_be_read() -> None:
    async with Upstream((http_response(b"taken", status="409 Conflict"),)) as upstream:
        api = JsonApi(upstream.url, {})
        async with api.request("POST", "/", allow_status=(409,)) as response:
            assert (response.status, await response.read(9)) == (409, b"taken")
        await api.client.aclose()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", AgentProtocolError),
        ("401 Unauthorized", AgentRejected),
        ("403 Forbidden", AgentRejected),
        ("404 Not Found", AgentRejected),
        ("422 Unprocessable", AgentProtocolError),
        ("429 Too Many", AgentBusy),
        ("500 Oops", AgentError),
        ("503 Later", AgentBusy),
        ("504 Slow", AgentTimeout),
    ],
)
async def test_refusal_raises_an_error_with_the_words_of_the_server(
    status: str, kind: type[AgentError]
) -> None:
    error = await failure(http_response(b'{"detail": "because"}', status=status))
    assert type(error) is kind
    assert error.summary.endswith(f"/base/x answered {status[:3]}")
    assert error.summary.startswith("http://127.0.0.1:")
    assert error.quote == "because"


async def test_failure_at_an_idempotent_request_is_unavailable() -> None:
    reply = http_response(b"", status="500 Oops")
    assert type(await failure(reply, idempotent=True)) is AgentUnavailable


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((http_response(b"<html>"),), "/base/x answered with something that is no JSON"),
        ((http_response(b'{"a": '),), "/base/x answered with something that is no JSON"),
        ((http_response(b"[" * 5000 + b"]" * 5000),), "/base/x answered with something that is no JSON"),
        ((http_response(gzip.compress(b"{}"), "content-encoding: gzip"),), "compressed its answer"),
        (
            (http_response(b'{"a": 1}')[:-1], Action.CLOSE),
            "/base/x: connection closed in the middle of an answer",
        ),
        ((chunked_head() + b"zz\r\n", Action.HANG), "/base/x: no HTTP"),
        ((b"SSH-2.0\r\n", Action.HANG), "no HTTP"),
    ],
)
async def test_broken_response_raises_a_protocol_error(reply: tuple[bytes | Action, ...], words: str) -> None:
    error = await failure(*reply)
    assert type(error) is AgentProtocolError
    assert words in str(error)


async def test_too_large_body_raises_a_protocol_error_and_closes_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 100_000)
    assert await request_once(http_response(b'"' + b"x" * 99_998 + b'"')) == "x" * 99_998
    async with Upstream((chunked_head() + chunk(b"x" * 100_001), Action.HANG)) as upstream:
        api = JsonApi(upstream.url, {})
        with pytest.raises(AgentProtocolError, match=r"/x: a body of more than 100000 bytes$"):
            await api.request_json("GET", "/x")
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        await api.client.aclose()


async def test_redirect_raises_unavailable_without_secrets() -> None:
    error = await failure(http_response(b"", f"location: https://b.example/?k={KEY}", status="307 Moved"))
    assert type(error) is AgentUnavailable
    assert str(error).endswith(" redirects: configure the final address: https://b.example/?k=***")


async def test_refused_connection_raises_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AgentUnavailable, match=f"http://127.0.0.1:{port}: "):
        await JsonApi(f"http://127.0.0.1:{port}", {}).request_json("GET", "/")


@pytest.mark.parametrize(
    "said", [f"no key {KEY}", f"no Bearer {KEY}", f"{'x' * 290}{KEY}"], ids=["bare", "whole", "cut"]
)
async def test_secrets_are_redacted(said: str) -> None:
    error = await failure(http_response(said.encode(), status="401 No"))
    assert KEY[:6] not in str(error)
    assert str(error).endswith("***")


async def test_secrets_in_an_error_of_the_reader_are_redacted() -> None:
    async with Upstream((http_response(b"ok"),)) as upstream:
        api = JsonApi(upstream.url, BEARER)
        with pytest.raises(AgentRejected, match=r"/: It said: no key \*\*\*$"):
            async with api.request("GET", "/"):
                raise AgentRejected("It said", f"no key {KEY}")
        await api.client.aclose()


async def test_leaving_early_closes_the_connection() -> None:
    async with Upstream((chunked_head() + chunk(b"a"), Action.HANG)) as upstream:
        api = JsonApi(upstream.url, {})
        async with api.request("POST", "/", {}) as response:
            assert await read_piece(response) == b"a"
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        await api.client.aclose()


@pytest.mark.parametrize("reply", [(Action.HANG,), (http_response(b"{}")[:-1], Action.HANG)])
async def test_cancelled_request_closes_the_connection(reply: tuple[bytes | Action, ...]) -> None:
    async with Upstream(reply) as upstream:
        api = JsonApi(upstream.url, {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await api.request_json("GET", "/")
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        await api.client.aclose()


async def test_connection_is_kept_after_every_complete_response() -> None:
    refusal = http_response(b'{"detail": "no"}', status="404 No")
    async with Upstream(
        (http_response(b"{}"),), (http_response(b"no JSON"),), (refusal,), (http_response(b"1"),)
    ) as upstream:
        api = JsonApi(upstream.url, {})
        assert await api.request_json("GET", "/") == {}
        for kind in (AgentProtocolError, AgentRejected):
            with pytest.raises(kind):
                await api.request_json("GET", "/")
        assert await api.request_json("GET", "/") == 1
        assert upstream.connections == 1
        await api.client.aclose()


@pytest.mark.parametrize("idempotent", [True, False])
async def test_dead_connection_is_replaced_only_for_an_idempotent_request(idempotent: bool) -> None:
    async with Upstream((http_response(b"1"),), (Action.CLOSE,), (http_response(b"2"),)) as upstream:
        api = JsonApi(upstream.url, {})
        assert await api.request_json("POST", "/", {}) == 1
        if idempotent:
            assert await api.request_json("POST", "/", {}, idempotent=True) == 2
        else:
            with pytest.raises(AgentProtocolError, match="connection closed before any answer"):
                await api.request_json("POST", "/", {})
        assert len(upstream.requests) == (3 if idempotent else 2)
        await api.client.aclose()


@pytest.mark.parametrize(("path", "more"), [("/a\r\nx: 1", {}), ("/", {"x_name": "a\r\nb: c"})])
async def test_line_break_in_the_head_is_never_sent(path: str, more: dict[str, str]) -> None:
    async with Upstream() as upstream:
        api = JsonApi(upstream.url, {})
        with pytest.raises(ValueError, match="line break"):
            async with api.request("GET", path, **more):
                pass
        assert upstream.connections == 0


async def test_url_in_messages_has_no_query() -> None:
    assert JsonApi("http://h/v1/", {}).url_for("/x?token=1") == "http://h/v1/x"
