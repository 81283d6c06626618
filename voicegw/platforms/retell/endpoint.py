"""Retell's custom LLM: where its calls arrive, and its webhook."""

from __future__ import annotations

from starlette.types import ASGIApp

from voicegw.calls.endpoint import Desk
from voicegw.calls.path_secret import SecretGate
from voicegw.calls.server import Floor
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.retell.codec import Retell as RetellCodec
from voicegw.platforms.retell.settings import Retell
from voicegw.platforms.retell.webhook import retell_hooks
from voicegw.telemetry.turn_log import Journal


def _endpoint(table: Retell, context: PlatformContext) -> Desk:
    return Desk(
        "retell",
        context.route("retell", table, table.actions),
        SecretGate(True, context.secret(table.secret_env)),
        lambda call, route: RetellCodec(call or ""),
        most=context.most(table.concurrent_calls),
    )


def _webhooks(table: Retell, context: PlatformContext, floor: Floor, journal: Journal) -> dict[str, ASGIApp]:
    return retell_hooks(context.secret(table.api_key_env), floor, journal, context.now)


RETELL = PlatformKind(
    "retell", Retell, "Calls by Retell's custom LLM; none if left out.", _endpoint, _webhooks
)
