"""The [elevenlabs] section of the configuration file."""

from __future__ import annotations

from typing import ClassVar

from voicegw.settings.fields import Variable, optional
from voicegw.settings.platform import PlatformSettings


class ElevenLabsSettings(PlatformSettings):
    """Settings of ElevenLabs' Speech Engine."""

    call_secret_keys: ClassVar[tuple[str, ...]] = ("api_key_env",)

    api_key_env: Variable | None = optional(
        "Environment variable that holds the account's API key, by which ElevenLabs signs."
    )
