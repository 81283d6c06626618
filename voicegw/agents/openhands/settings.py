"""Configuration keys of OpenHands agents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voicegw.settings.agent import SessionSettings
from voicegw.settings.fields import Names, optional


class OpenHandsSettings(SessionSettings):
    """The agent server of OpenHands."""

    kind: Literal["openhands"] = Field(description="The agent server of OpenHands.")
    profile: str | None = optional("LLM profile that answers; the server's active one if left out.")
    tools: Names | None = optional(
        "Tools of a lean agent, such as `terminal`; if left out, the server's agent profile answers."
    )
    workspace: str | None = optional(
        "Working folder on the server's machine; the server's default if left out."
    )
    confirm: Literal["ask", "deny", "never"] = Field(
        default="ask",
        description="Answer to risky actions: ask the caller aloud, deny them, or "
        'run them without confirmation (`"never"`).',
    )
    conversations: Literal["delete", "keep"] = Field(
        default="delete", description="Delete or keep the conversation on the server when its call ends."
    )
