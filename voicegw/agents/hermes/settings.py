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
        default="runs", description="Use runs, which can be stopped, or chat completions."
    )
    model: str | None = optional("Model or route of the turns; the server's own if left out.")
    warm: bool = Field(
        default=True,
        description="Run a small turn at start, because the first answer of a server takes seconds.",
    )
