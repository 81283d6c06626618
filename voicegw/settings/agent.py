"""Configuration keys that agents of several kinds share; each kind adds its own in its folder."""

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
    Spellings,
    Url,
    Variable,
    optional,
)
from voicegw.settings.section import Section

ACK_AFTER_DESCRIPTION = (
    'Seconds of silence before the acknowledgement; 0 puts it into the first chunk, `"off"` leaves it out.'
)


class AckSettings(Section):
    """The section `[agents.NAME.ack]`: the acknowledgement and the progress lines of an agent."""

    after: SecondsOrOff = Field(default=0.5, description=ACK_AFTER_DESCRIPTION)
    with_tools: float = Field(
        default=0.7, ge=0, description="Minimum wait in seconds when the request offers tools."
    )
    every: SecondsOrOff = Field(
        default=10.0, description='Seconds of silent work between two progress lines, or `"off"`.'
    )
    phrases: dict[Language, Phrases] = Field(
        default={},
        description='Acknowledgements by language, such as `phrases.en = ["One moment"]`, instead of the '
        "built-in ones.",
    )
    progress: dict[Language, Phrases] = Field(
        default={}, description="Progress lines by language, instead of the built-in ones."
    )


class EarlyAckSettings(AckSettings):
    """The same section for agents that always need seconds: the acknowledgement is sent at once."""

    after: SecondsOrOff = Field(default=0.0, description=ACK_AFTER_DESCRIPTION)


class AgentSettings(Section):
    """Keys of every agent."""

    language: Language = Field(default="en", description="Language of the gateway's own phrases.")
    dialect: Dialect = Field(
        default="voice", description="Style of the stream for clients whose API key names no other dialect."
    )
    speech: Literal["on", "off"] = Field(
        default="on", description='`"off"` passes the agent\'s text on unchanged, with its Markdown.'
    )
    spell: Spellings | None = optional("Kinds of written forms that become words, instead of `speech.spell`.")
    first_token: SecondsOrOff = Field(
        default=30.0,
        description="Seconds until the first text, tool call, activity or reasoning of the agent, or "
        '`"off"`.',
    )
    idle: SecondsOrOff = Field(
        default=60.0, description='Maximum silence of the agent after that, in seconds, or `"off"`.'
    )
    max_reasoning: SecondsOrOff = Field(
        default=120.0,
        description="Maximum seconds for which the agent streams only reasoning or arguments of a tool call, "
        'or `"off"`.',
    )
    total: SecondsOrOff = Field(default=600.0, description='Maximum length of a turn in seconds, or `"off"`.')
    fallback: Names | None = optional(
        "Agents that the gateway tries, in this order, when this one fails before its first word."
    )
    idempotent: bool = Field(
        default=False,
        description="The agent may get the same turn twice: the gateway repeats an attempt that fails after "
        "the request.",
    )
    max_attempts: int = Field(
        default=1,
        ge=1,
        le=10,
        description="Maximum number of attempts for one turn; more than 1 needs `idempotent`.",
    )
    concurrent_turns: Annotated[int, Field(ge=1)] | None = optional(
        "Maximum number of this agent's turns at a time, over all workers; if left out, three quarters of "
        "those of `[limits]`, or all for the only agent. Stopped turns that have not ended yet have as many "
        "places again."
    )
    ack: AckSettings = Field(default_factory=AckSettings, description="Acknowledgement and progress lines.")


class ModelSettings(AgentSettings):
    """Keys of models, which keep no state between turns."""

    instructions: Annotated[str, Field(min_length=1)] | None = optional(
        "Instructions for turns that bring none, such as those of websocket calls."
    )
    warm: bool = Field(
        default=False,
        description="Request one token at start, and when a call begins after a pause, so that the common "
        "prefix of all turns is in the prompt cache.",
    )


class SessionSettings(AgentSettings):
    """Keys of agents that keep a session for each call."""

    url: Url = Field(description="Address of the agent's server, such as `http://127.0.0.1:8000`.")
    key_env: Variable | None = optional("Environment variable that holds the server's key.")
    ca_file: File | None = optional("Certificates to trust instead of the system's, a PEM file.")
    idle: SecondsOrOff = Field(
        default=300.0,
        description='Maximum silence of the agent after its first output, in seconds, or `"off"`.',
    )
    max_sessions: int = Field(
        default=1000,
        ge=1,
        description="Maximum number of open sessions; beyond it, the one idle longest is closed.",
    )
    ack: EarlyAckSettings = Field(
        default_factory=EarlyAckSettings, description="Acknowledgement and progress lines."
    )
