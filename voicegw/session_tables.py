"""The tables of the configuration file that describe agents with sessions, tools and a mind of their own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voicegw.agent_tables import Agent, EarlyAck
from voicegw.fields import File, Names, Url, Variable, Wait, optional


class Session(Agent):
    """What every such agent has."""

    url: Url = Field(description="Address of its server, such as `http://127.0.0.1:8000`.")
    key_env: Variable | None = optional("Environment variable that holds the server's key.")
    ca_file: File | None = optional("Certificates to trust instead of the system's, a PEM file.")
    idle: Wait = Field(
        default=300.0, description='Longest silence of the agent once it was of use, or `"off"`.'
    )
    most_sessions: int = Field(default=1000, ge=1, description="Most sessions that are open at a time.")
    ack: EarlyAck = Field(default_factory=EarlyAck, description="What is said while the agent is silent.")


class OpenHands(Session):
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


class Hermes(Session):
    """The API server of Hermes Agent."""

    kind: Literal["hermes"] = Field(description="The API server of Hermes Agent.")
    mode: Literal["runs", "chat"] = Field(
        default="runs", description="By runs that can be stopped, or by its chat completions."
    )
    model: str | None = optional("Model or route to ask for; the server's own if left out.")
    warm: bool = Field(
        default=True, description="Ask it something small at start: its first answer takes seconds."
    )


class ZeroClaw(Session):
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


class DockerAgent(Session):
    """Docker's agent, served by `docker agent serve`."""

    kind: Literal["docker-agent"] = Field(description="Docker's agent, served by `docker agent serve`.")
    mode: Literal["chat", "api"] = Field(
        default="chat", description="What serves: `serve chat`, or `serve api` with its events."
    )
    team: str | None = optional(
        'With `mode = "api"`, the team that answers; the server\'s only one if left out.'
    )
    agent: str | None = optional("Agent of the team that answers; its first one if left out.")
    conversations: bool = Field(
        default=False,
        description="The server keeps the conversation of a call; else every turn brings all of it.",
    )
