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
        description="Use its chat websocket, or the OpenAI-compatible interface that some builds have.",
    )
    agent: str = Field(default="default", description="Alias of the agent that answers.")
    approvals: Literal["deny", "approve"] = Field(
        default="deny", description="Answer to actions that need an approval."
    )
