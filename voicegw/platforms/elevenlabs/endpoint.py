"""ElevenLabs' Speech Engine: where its calls arrive."""

from __future__ import annotations

from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.elevenlabs.codec import SpeechEngineCodec
from voicegw.platforms.elevenlabs.handshake import ElevenLabsTokenAuth
from voicegw.platforms.elevenlabs.settings import ElevenLabsSettings
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS


def _endpoint(table: ElevenLabsSettings, context: PlatformContext) -> CallEndpoint:
    return CallEndpoint(
        "elevenlabs",
        CallProfile(
            ApiKey("@elevenlabs", b""),
            context.agent_for(table),
            table.language,
            dialect=DIALECTS["elevenlabs"],
        ),
        ElevenLabsTokenAuth(context.secret(table.api_key_env), context.now),
        lambda call, route: SpeechEngineCodec(),
        max_calls=context.share(table.concurrent_calls),
    )


ELEVENLABS = PlatformKind(
    "elevenlabs", ElevenLabsSettings, "Calls by ElevenLabs' Speech Engine; none if left out.", _endpoint
)
