"""Configuration keys of ZeroClaw agents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voicegw.settings.agent import SessionSettings


class ZeroClawSettings(SessionSettings):
    """The gateway of ZeroClaw."""

    kind: Literal["zeroclaw"] = Field(description="The gateway of ZeroClaw.")
    mode: Literal["ws", "chat"] = Field(
        default="ws",
        description="By its chat socket, or by the OpenAI-compatible surface that some builds have.",
    )
    agent: str = Field(default="default", description="Alias of the agent that answers.")
    approvals: Literal["deny", "approve"] = Field(
        default="deny", description="What becomes of actions that want to be approved."
    )
