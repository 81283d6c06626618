"""ElevenLabs' Speech Engine: where its calls arrive."""

from __future__ import annotations

from voicegw.calls.endpoint import Desk
from voicegw.calls.profile import Route
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.elevenlabs.codec import SpeechEngine
from voicegw.platforms.elevenlabs.handshake import TokenGate
from voicegw.platforms.elevenlabs.settings import ElevenLabs
from voicegw.security.keys import Key
from voicegw.turns.dialects import DIALECTS


def _endpoint(table: ElevenLabs, context: PlatformContext) -> Desk:
    return Desk(
        "elevenlabs",
        Route(Key("@elevenlabs", b""), context.line(table), table.language, dialect=DIALECTS["elevenlabs"]),
        TokenGate(context.secret(table.api_key_env), context.now),
        lambda call, route: SpeechEngine(),
        most=context.most(table.concurrent_calls),
    )


ELEVENLABS = PlatformKind(
    "elevenlabs", ElevenLabs, "Calls by ElevenLabs' Speech Engine; none if left out.", _endpoint
)
