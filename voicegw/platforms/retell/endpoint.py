"""Builds the websocket endpoint and the webhook of Retell from its settings."""

from __future__ import annotations

from starlette.types import ASGIApp

from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.path_secret import PathSecretAuth
from voicegw.calls.server import CallServer
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.retell.codec import RetellCodec
from voicegw.platforms.retell.settings import RetellSettings
from voicegw.platforms.retell.webhook import build_retell_webhooks
from voicegw.telemetry.turn_log import TurnLog


def _build_endpoint(settings: RetellSettings, context: PlatformContext) -> CallEndpoint:
    transfers = settings.transfer_policy(settings.actions)
    return CallEndpoint(
        "retell",
        context.build_profile("retell", settings, settings.actions),
        PathSecretAuth(True, context.read_secret(settings.secret_env)),
        lambda call_id, profile: RetellCodec(call_id or "", transfers=transfers),
        max_calls=context.worker_share(settings.concurrent_calls),
    )


def _build_webhooks(
    settings: RetellSettings, context: PlatformContext, call_server: CallServer, turn_log: TurnLog
) -> dict[str, ASGIApp]:
    return build_retell_webhooks(
        context.read_secret(settings.api_key_env), call_server, turn_log, context.now
    )


RETELL = PlatformKind(
    "retell",
    RetellSettings,
    "Calls by Retell's custom LLM; none if left out.",
    _build_endpoint,
    _build_webhooks,
)
"""Retell, for `voicegw.platforms.registry`."""
