"""Retell's webhook: signatures, events, and refused requests without an effect."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp

from tests.platforms.webhooks import (
    LOCAL_HOST,
    REMOTE_CLIENTS,
    REMOTE_HEADERS,
    REMOTE_HOST,
    RecordingCallServer,
    behind_middleware,
    with_scope,
)
from tests.support.asgi import RecordedResponse, send_request
from voicegw.asgi.middleware import GatewayMiddleware
from voicegw.errors import BadRequest
from voicegw.platforms.retell.webhook import build_retell_webhooks, parse_ended_call
from voicegw.telemetry.turn_log import TurnLog

API_KEY = "key_1"
NOW = 1_790_000_000.0
ENDED = {"event": "call_ended", "call": {"call_id": "c1"}}


def retell(call_server: RecordingCallServer, key: str = API_KEY) -> GatewayMiddleware:
    return behind_middleware(build_retell_webhooks(key, call_server, TurnLog(), lambda: NOW))


async def post_event(
    app: ASGIApp, event: Any, *, at: float = NOW, key: str = API_KEY, sign: str | None = None, **headers: str
) -> RecordedResponse:
    """Post an event as Retell does; `sign` replaces the signature, "" for none."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    timestamp = int(at * 1000)
    digest = hmac.new(key.encode(), body + str(timestamp).encode(), hashlib.sha256).hexdigest()
    signature = f"v={timestamp},d={digest}" if sign is None else sign
    fields = {
        **REMOTE_HOST,
        **({"x-retell-signature": signature} if signature else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await send_request(app, body, path="/retell/webhook", headers=fields)


@pytest.mark.parametrize("event", ["call_ended", "call_analyzed"])
async def test_event_ends_its_call(event: str) -> None:
    call_server = RecordingCallServer()
    response = await post_event(retell(call_server), {"event": event, "call": {"call_id": "c1"}})
    assert (response.status, response.body, call_server.ended_calls) == (204, b"", [("retell", "c1")])


async def test_other_event_has_no_effect() -> None:
    call_server = RecordingCallServer()
    response = await post_event(retell(call_server), {"event": "call_started", "call": {"call_id": "c1"}})
    assert (response.status, call_server.is_unused) == (204, True)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"at": NOW - 299}, 204),
        ({"at": NOW - 301}, 403),
        ({"at": NOW + 301}, 403),
        ({"key": "another"}, 403),
        ({"sign": ""}, 403),
        ({"sign": "v=1,d=00"}, 403),
        ({"sign": "é"}, 403),
    ],
)
async def test_signature_must_be_valid_and_fresh(
    options: dict[str, Any], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    call_server = RecordingCallServer()
    response = await post_event(retell(call_server), ENDED, **options)
    assert (response.status, call_server.is_unused) == (status, status == 403)
    assert API_KEY not in caplog.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"event":"call_ended"}'])
async def test_invalid_body_is_refused(body: bytes) -> None:
    call_server = RecordingCallServer()
    assert ((await post_event(retell(call_server), body)).status, call_server.is_unused) == (400, True)
    assert (await post_event(retell(call_server), ENDED, content_type="text/plain")).status == 400
    assert call_server.is_unused


async def test_body_larger_than_64_kib_is_refused() -> None:
    call_server = RecordingCallServer()
    assert (await post_event(retell(call_server), {**ENDED, "x": "x" * 65_536})).status == 413
    assert call_server.is_unused


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_webhook_takes_posts_only(method: str) -> None:
    call_server = RecordingCallServer()
    app = retell(call_server)
    status = (await send_request(app, path="/retell/webhook", method=method)).status
    assert (status, call_server.is_unused) == (405, True)


async def test_without_a_key_this_machine_may_post() -> None:
    call_server = RecordingCallServer()
    assert (await post_event(retell(call_server, ""), ENDED, sign="", **LOCAL_HOST)).status == 204
    assert call_server.ended_calls == [("retell", "c1")]


@pytest.mark.parametrize("headers", REMOTE_HEADERS)
async def test_without_a_key_remote_requests_are_refused(headers: dict[str, str]) -> None:
    call_server = RecordingCallServer()
    assert (await post_event(retell(call_server, ""), ENDED, sign="", **headers)).status == 403
    assert (await post_event(retell(call_server, ""), ENDED, key="", **headers)).status == 403
    assert call_server.is_unused


@pytest.mark.parametrize("client", REMOTE_CLIENTS)
async def test_without_a_key_a_local_host_header_does_not_admit_a_remote_client(
    client: tuple[str, int] | None,
) -> None:
    call_server = RecordingCallServer()
    app = with_scope(retell(call_server, ""), client=client)
    assert (await post_event(app, ENDED, sign="", **LOCAL_HOST)).status == 403
    assert call_server.is_unused


@pytest.mark.parametrize("event", ["call_ended", "call_analyzed"])
@pytest.mark.parametrize("key", ["call", "data"])
def test_ended_call_is_parsed(event: str, key: str) -> None:
    body = json.dumps({"event": event, key: {"call_id": "c1", "transcript": "x"}}).encode()
    assert parse_ended_call(body) == "c1"


@pytest.mark.parametrize("event", ["call_started", "transcript_updated", "anything"])
def test_other_events_end_no_call(event: str) -> None:
    assert parse_ended_call(json.dumps({"event": event, "call": {"call_id": "c1"}}).encode()) is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "names no event"),
        (b"{}", "names no event"),
        (b'{"event":1}', "names no event"),
        (b'{"event":"call_ended"}', "names no call"),
        (b'{"event":"call_ended","call":"c1"}', "names no call"),
        (b'{"event":"call_ended","call":{}}', "names no call"),
        (b'{"event":"call_ended","call":{"call_id":7}}', "names no call"),
    ],
)
def test_invalid_event_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        parse_ended_call(body)


@given(st.binary() | st.text().map(str.encode))
def test_any_body_is_parsed_or_refused(body: bytes) -> None:
    with suppress(BadRequest):
        parse_ended_call(body)
