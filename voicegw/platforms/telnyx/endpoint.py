"""Telnyx's ConversationRelay: where its calls arrive."""

from __future__ import annotations

from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.path_secret import PathSecretAuth
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.telnyx.settings import TelnyxSettings


def _endpoint(table: TelnyxSettings, context: PlatformContext) -> CallEndpoint:
    return CallEndpoint(
        "telnyx",
        context.profile("telnyx", table, table.actions, speculate=table.partial == "speculate"),
        PathSecretAuth(False, context.secret(table.token_env)),
        lambda call, route: RelayCodec("telnyx"),
        max_calls=context.share(table.concurrent_calls),
    )


TELNYX = PlatformKind(
    "telnyx", TelnyxSettings, "Calls by Telnyx's ConversationRelay; none if left out.", _endpoint
)
