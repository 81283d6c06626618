"""Configuration keys of OpenHands agents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voicegw.settings.agent import SessionSettings
from voicegw.settings.fields import Names, optional


class OpenHandsSettings(SessionSettings):
    """The agent server of OpenHands."""

    kind: Literal["openhands"] = Field(description="The agent server of OpenHands.")
    profile: str | None = optional("LLM profile that speaks; the server's active one if left out.")
    tools: Names | None = optional(
        "Tools of a lean agent, such as `terminal`; if left out, the server's agent profile with its own."
    )
    workspace: str | None = optional(
        "Folder on its machine that it works in; one of the server's if left out."
    )
    confirm: Literal["ask", "deny", "never"] = Field(
        default="ask",
        description="What becomes of actions that want to be confirmed: the caller is asked aloud, they are "
        'denied, or (`"never"`) nothing is ever asked.',
    )
    conversations: Literal["delete", "keep"] = Field(
        default="delete", description="What becomes of a conversation on the server when its call is over."
    )
