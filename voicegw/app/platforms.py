"""Builds the call endpoints and webhooks of the configured platforms."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp

from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.server import CallServer
from voicegw.config.root import Config
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.platforms.context import PlatformContext
from voicegw.platforms.realtime.endpoint import build_realtime_endpoint
from voicegw.platforms.registry import PLATFORMS
from voicegw.security.authenticator import Authenticator
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.served_agent import ServedAgent

log = logging.getLogger("voicegw.error")

UNAUTHENTICATED = "%s is not configured: calls of [%s] are accepted from this machine only"
UNSIGNED = "%s is not configured: webhooks of [%s] are accepted from this machine only"


def build_platform_context(
    settings: Config, agents: Mapping[str, ServedAgent], now: Callable[[], float] = time.time
) -> PlatformContext:
    """Return the context from which the platforms build their endpoints and webhooks.

    `now` returns the time of day in seconds since 1970.
    """
    return PlatformContext(
        agents,
        settings.default_agent,
        lambda variable: settings.get_secret(variable) if variable else "",
        settings.server.workers,
        settings.server.public_url or "",
        now,
    )


def build_call_endpoints(settings: Config, context: PlatformContext) -> dict[str, CallEndpoint]:
    """Return the call endpoint of each platform in the file, by name."""
    for name, platform in settings.platforms.items():
        if not (platform.authenticates_calls or settings.is_demo):
            log.warning(UNAUTHENTICATED, platform.call_secret_keys[0], name)
    return {
        name: PLATFORMS[name].build_endpoint(table, context) for name, table in settings.platforms.items()
    }


def build_realtime_call_endpoint(
    settings: Config, agents: AgentRegistry, authenticator: Authenticator, context: PlatformContext
) -> CallEndpoint:
    """Return the endpoint of the Realtime protocol, for programs that hold an API key."""
    calls = settings.realtime.concurrent_calls or max(1, settings.limits.concurrent_calls // 2)
    return build_realtime_endpoint(
        settings.realtime,
        agents.by_name[settings.default_agent],
        agents.resolve,
        authenticator,
        call_headers=[name.lower() for name in settings.calls.headers],
        max_calls=context.worker_share(calls),
    )


def build_webhooks(
    settings: Config, context: PlatformContext, call_server: CallServer, turn_log: TurnLog
) -> dict[str, ASGIApp]:
    """Return the webhooks of the platforms in the file, by path."""
    hooks: dict[str, ASGIApp] = {}
    for name, table in settings.platforms.items():
        build = PLATFORMS[name].build_webhooks
        if build is None:
            continue
        if not (table.authenticates_webhooks or settings.is_demo):
            log.warning(UNSIGNED, table.webhook_secret_keys[0], name)
        hooks |= build(table, context, call_server, turn_log)
    return hooks
