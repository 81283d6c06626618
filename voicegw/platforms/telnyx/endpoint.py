"""Telnyx's ConversationRelay: where its calls arrive."""

from __future__ import annotations

from voicegw.calls.endpoint import Desk
from voicegw.calls.path_secret import SecretGate
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.conversation_relay.codec import Relay
from voicegw.platforms.telnyx.settings import Telnyx


def _endpoint(table: Telnyx, context: PlatformContext) -> Desk:
    return Desk(
        "telnyx",
        context.route("telnyx", table, table.actions, speculate=table.partial == "speculate"),
        SecretGate(False, context.secret(table.token_env)),
        lambda call, route: Relay("telnyx"),
        most=context.most(table.concurrent_calls),
    )


TELNYX = PlatformKind("telnyx", Telnyx, "Calls by Telnyx's ConversationRelay; none if left out.", _endpoint)
