"""Configuration keys of scripted agents."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from voicegw.settings.agent import AgentSettings, EarlyAckSettings


class ScriptedSettings(AgentSettings):
    """An embedded agent for demos and tests."""

    kind: Literal["scripted"] = Field(description="An embedded agent that follows a script.")
    script: str = Field(default="receptionist", description="Name of the script.")
    options: dict[str, Any] = Field(default={}, description="Options of the script.")
    ack: EarlyAckSettings = Field(
        default_factory=EarlyAckSettings, description="What is said while the agent is silent."
    )
