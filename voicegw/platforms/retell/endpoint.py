"""Retell's custom LLM: where its calls arrive, and its webhook."""

from __future__ import annotations

from starlette.types import ASGIApp

from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.path_secret import PathSecretAuth
from voicegw.calls.server import CallServer
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.retell.codec import RetellCodec as RetellCodec
from voicegw.platforms.retell.settings import RetellSettings
from voicegw.platforms.retell.webhook import retell_webhooks
from voicegw.telemetry.turn_log import TurnLog


def _endpoint(table: RetellSettings, context: PlatformContext) -> CallEndpoint:
    return CallEndpoint(
        "retell",
        context.profile("retell", table, table.actions),
        PathSecretAuth(True, context.secret(table.secret_env)),
        lambda call, route: RetellCodec(call or ""),
        max_calls=context.share(table.concurrent_calls),
    )


def _webhooks(
    table: RetellSettings, context: PlatformContext, floor: CallServer, journal: TurnLog
) -> dict[str, ASGIApp]:
    return retell_webhooks(context.secret(table.api_key_env), floor, journal, context.now)


RETELL = PlatformKind(
    "retell", RetellSettings, "Calls by Retell's custom LLM; none if left out.", _endpoint, _webhooks
)
