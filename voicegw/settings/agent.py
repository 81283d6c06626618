"""The tables of the configuration file that describe agents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from voicegw.settings.fields import (
    Dialect,
    File,
    Language,
    Names,
    Phrases,
    SecondsOrOff,
    Url,
    Variable,
    optional,
)
from voicegw.settings.section import Section

AFTER = 'Seconds of silence before words; 0 puts them into the first chunk, `"off"` says none.'


class AckSettings(Section):
    """What is said while the agent is silent."""

    after: SecondsOrOff = Field(default=0.5, description=AFTER)
    with_tools: float = Field(
        default=0.7, ge=0, description="Least wait, in seconds, when the request offers tools."
    )
    every: SecondsOrOff = Field(
        default=10.0, description='Seconds of silent work after which a line of progress is said, or `"off"`.'
    )
    phrases: dict[Language, Phrases] = Field(
        default={},
        description='Own words by language, such as `phrases.en = ["One moment"]`, instead of ours.',
    )
    progress: dict[Language, Phrases] = Field(
        default={}, description="Own lines of progress by language, instead of ours."
    )


class EarlyAckSettings(AckSettings):
    """The same for agents that always let the caller wait."""

    after: SecondsOrOff = Field(default=0.0, description=AFTER)


class AgentSettings(Section):
    """What every agent has."""

    language: Language = Field(default="en", description="Language of what the gateway itself says.")
    dialect: Dialect = Field(
        default="voice", description="How clients are spoken to, unless their key says otherwise."
    )
    speech: Literal["on", "off"] = Field(
        default="on", description='`"off"` passes its text on as it is, Markdown and all.'
    )
    first_token: SecondsOrOff = Field(
        default=30.0,
        description='Seconds until the agent must be of use (words, a tool call, work), or `"off"`.',
    )
    idle: SecondsOrOff = Field(
        default=60.0, description='Longest silence of the agent after that, or `"off"`.'
    )
    total: SecondsOrOff = Field(
        default=600.0, description='Seconds after which a turn is ended anyway, or `"off"`.'
    )
    fallback: Names | None = optional("Agents that are asked, in this order, when this one fails at once.")
    idempotent: bool = Field(
        default=False,
        description="Asking twice does no harm: it may be tried again after it was asked.",
    )
    max_attempts: int = Field(default=1, ge=1, le=10, description="How often it is asked; needs `idempotent`.")
    ack: AckSettings = Field(
        default_factory=AckSettings, description="What is said while the agent is silent."
    )


class ModelSettings(AgentSettings):
    """What models have, which keep nothing from turn to turn."""

    instructions: Annotated[str, Field(min_length=1)] | None = optional(
        "Instructions before turns that bring none, as those of calls on websockets do not."
    )
    warm: bool = Field(
        default=False,
        description="Ask for one token at start, and when a call opens after a pause, to have what turns "
        "begin with read.",
    )


class SessionSettings(AgentSettings):
    """What every such agent has."""

    url: Url = Field(description="Address of its server, such as `http://127.0.0.1:8000`.")
    key_env: Variable | None = optional("Environment variable that holds the server's key.")
    ca_file: File | None = optional("Certificates to trust instead of the system's, a PEM file.")
    idle: SecondsOrOff = Field(
        default=300.0, description='Longest silence of the agent once it was of use, or `"off"`.'
    )
    max_sessions: int = Field(default=1000, ge=1, description="Most sessions that are open at a time.")
    ack: EarlyAckSettings = Field(
        default_factory=EarlyAckSettings, description="What is said while the agent is silent."
    )
