"""Configuration keys of Hermes agents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voicegw.settings.agent import SessionSettings
from voicegw.settings.fields import optional


class HermesSettings(SessionSettings):
    """The API server of Hermes Agent."""

    kind: Literal["hermes"] = Field(description="The API server of Hermes Agent.")
    mode: Literal["runs", "chat"] = Field(
        default="runs", description="By runs that can be stopped, or by its chat completions."
    )
    model: str | None = optional("Model or route to ask for; the server's own if left out.")
    warm: bool = Field(
        default=True, description="Ask it something small at start: its first answer takes seconds."
    )
