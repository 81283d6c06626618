"""Builds the websocket endpoint of ElevenLabs' Speech Engine from its settings."""

from __future__ import annotations

from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.elevenlabs.codec import SpeechEngineCodec
from voicegw.platforms.elevenlabs.handshake import ElevenLabsTokenAuth
from voicegw.platforms.elevenlabs.settings import ElevenLabsSettings
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS


def _build_endpoint(settings: ElevenLabsSettings, context: PlatformContext) -> CallEndpoint:
    return CallEndpoint(
        "elevenlabs",
        CallProfile(
            ApiKey("@elevenlabs", b""),
            context.agent_for(settings),
            settings.language,
            dialect=DIALECTS["elevenlabs"],
        ),
        ElevenLabsTokenAuth(context.read_secret(settings.api_key_env), context.now),
        lambda call_id, profile: SpeechEngineCodec(),
        max_calls=context.worker_share(settings.concurrent_calls),
    )


ELEVENLABS = PlatformKind(
    "elevenlabs",
    ElevenLabsSettings,
    "Calls by ElevenLabs' Speech Engine; none if left out.",
    _build_endpoint,
)
"""ElevenLabs' Speech Engine, for `voicegw.platforms.registry`."""
