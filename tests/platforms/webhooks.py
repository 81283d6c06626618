"""Webhooks behind the middleware of a gateway with API keys, and a call server that records its calls."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from voicegw.asgi.middleware import GatewayMiddleware
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ApiKey, ApiKeys, hash_secret
from voicegw.telemetry.turn_log import TurnLog

GATEWAY_KEY = "vgw_secret"
REMOTE_HOST = {"host": "voice.example.com"}
LOCAL_HOST = {"host": "127.0.0.1:8080"}
REMOTE_HEADERS: list[dict[str, str]] = [
    {"host": "voice.example.com"},
    {"host": "localhost.evil.example"},
    {**LOCAL_HOST, "x_forwarded_for": "192.0.2.1"},
    {**LOCAL_HOST, "forwarded": "for=192.0.2.1"},
    {**LOCAL_HOST, "origin": "https://evil.example"},
]
"""Headers of requests that do not come from this machine."""
REMOTE_CLIENTS = [("192.0.2.1", 5), ("::ffff:192.0.2.1", 5), ("", 0), None]
"""Addresses of clients that are not on this machine, and of unknown ones."""


class RecordingCallServer:
    """A call server without calls that records how webhooks use it."""

    def __init__(self, *, is_full: bool = False) -> None:
        self.is_full = is_full
        self.capacity_requests: list[str] = []
        self.ended_calls: list[tuple[str, str]] = []

    def has_capacity(self, platform: str) -> bool:
        self.capacity_requests.append(platform)
        return not self.is_full

    def call_ended(self, platform: str, call: str) -> None:
        self.ended_calls.append((platform, call))

    @property
    def is_unused(self) -> bool:
        return not self.capacity_requests and not self.ended_calls


def behind_middleware(webhooks: dict[str, ASGIApp]) -> GatewayMiddleware:
    """Return an application that serves these webhooks as the gateway does."""
    authenticator = Authenticator(ApiKeys([ApiKey("shop", hash_secret(GATEWAY_KEY))]))
    return GatewayMiddleware(FastAPI(), authenticator, TurnLog(), (), {}, webhooks)


def with_scope(app: ASGIApp, **fields: Any) -> ASGIApp:
    """Return the application for requests with these fields in their scope."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, **fields}, receive, send)

    return wrapped
