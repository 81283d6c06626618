"""Builds the websocket endpoint of Telnyx from its settings."""

from __future__ import annotations

from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.path_secret import PathSecretAuth
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.telnyx.settings import TelnyxSettings


def _build_endpoint(settings: TelnyxSettings, context: PlatformContext) -> CallEndpoint:
    return CallEndpoint(
        "telnyx",
        context.build_relay_profile("telnyx", settings, settings.actions),
        PathSecretAuth(False, context.read_secret(settings.token_env)),
        lambda call_id, profile: RelayCodec("telnyx"),
        max_calls=context.worker_share(settings.concurrent_calls),
    )


TELNYX = PlatformKind(
    "telnyx", TelnyxSettings, "Calls by Telnyx's ConversationRelay; none if left out.", _build_endpoint
)
"""Telnyx, for `voicegw.platforms.registry`."""
