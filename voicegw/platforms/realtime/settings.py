"""The [realtime] section of the configuration file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from voicegw.settings.fields import Language, optional
from voicegw.settings.section import Section


class RealtimeSettings(Section):
    """Settings of OpenAI's Realtime protocol, which is served with every configuration."""

    language: Language | None = optional("Language of the calls; that of the agent if left out.")
    concurrent_calls: Annotated[int, Field(ge=1)] | None = optional(
        "Maximum number of these calls at a time, over all workers; half of `[limits]` if left out."
    )
    chars_per_second: float = Field(
        default=15.0,
        ge=1,
        le=100,
        description="Characters of speech per second, to convert `audio_end_ms` into heard text.",
    )
