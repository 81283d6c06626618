"""Configuration keys of docker agents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voicegw.settings.agent import SessionSettings
from voicegw.settings.fields import optional


class DockerAgentSettings(SessionSettings):
    """Docker's agent, served by `docker agent serve`."""

    kind: Literal["docker-agent"] = Field(description="Docker's agent, served by `docker agent serve`.")
    mode: Literal["chat", "api"] = Field(
        default="chat",
        description="Command that serves the team: `serve chat`, or `serve api` with its events.",
    )
    team: str | None = optional(
        'With `mode = "api"`, the team that answers; the server\'s only one if left out.'
    )
    agent: str | None = optional("Agent of the team that answers; its first one if left out.")
    conversations: bool = Field(
        default=False,
        description="The server keeps the conversation of a call; else every turn sends all of it.",
    )
