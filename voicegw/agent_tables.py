"""The tables of the configuration file that describe agents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from voicegw.fields import (
    LINE,
    TARGET,
    Dialect,
    File,
    Header,
    Language,
    Names,
    Phrases,
    Url,
    Variable,
    Wait,
    optional,
)


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @property
    def variables(self) -> Iterator[tuple[str, str]]:
        """The environment variables that hold its secrets, by key."""
        return ((key, value) for key, value in self if key.endswith("_env") and value is not None)


AFTER = 'Seconds of silence before words; 0 puts them into the first chunk, `"off"` says none.'


class Ack(Table):
    """What is said while the agent is silent."""

    after: Wait = Field(default=0.5, description=AFTER)
    with_tools: float = Field(
        default=0.7, ge=0, description="Least wait, in seconds, when the request offers tools."
    )
    every: Wait = Field(
        default=10.0, description='Seconds of silent work after which a line of progress is said, or `"off"`.'
    )
    phrases: dict[Language, Phrases] = Field(
        default={},
        description='Own words by language, such as `phrases.en = ["One moment"]`, instead of ours.',
    )
    progress: dict[Language, Phrases] = Field(
        default={}, description="Own lines of progress by language, instead of ours."
    )


class EarlyAck(Ack):
    """The same for agents that always let the caller wait."""

    after: Wait = Field(default=0.0, description=AFTER)


class Agent(Table):
    """What every agent has."""

    language: Language = Field(default="en", description="Language of what the gateway itself says.")
    dialect: Dialect = Field(
        default="voice", description="How clients are spoken to, unless their key says otherwise."
    )
    speech: Literal["on", "off"] = Field(
        default="on", description='`"off"` passes its text on as it is, Markdown and all.'
    )
    first_token: Wait = Field(
        default=30.0,
        description='Seconds until the agent must be of use (words, a tool call, work), or `"off"`.',
    )
    idle: Wait = Field(default=60.0, description='Longest silence of the agent after that, or `"off"`.')
    total: Wait = Field(default=600.0, description='Seconds after which a turn is ended anyway, or `"off"`.')
    fallback: Names | None = optional("Agents that are asked, in this order, when this one fails at once.")
    repeatable: bool = Field(
        default=False,
        description="Asking twice does no harm: it may be tried again after it was asked.",
    )
    tries: int = Field(default=1, ge=1, le=10, description="How often it is asked; needs `repeatable`.")
    ack: Ack = Field(default_factory=Ack, description="What is said while the agent is silent.")


class Scripted(Agent):
    """An embedded agent for demos and tests."""

    kind: Literal["scripted"] = Field(description="An embedded agent that follows a script.")
    script: str = Field(default="receptionist", description="Name of the script.")
    options: dict[str, Any] = Field(default={}, description="Options of the script.")
    ack: EarlyAck = Field(default_factory=EarlyAck, description="What is said while the agent is silent.")


class Model(Agent):
    """What models have, which keep nothing from turn to turn."""

    instructions: Annotated[str, Field(min_length=1)] | None = optional(
        "Instructions before turns that bring none, as those of calls on websockets do not."
    )
    warm: bool = Field(
        default=False,
        description="Ask for one token at start, and when a call opens after a pause, to have what turns "
        "begin with read.",
    )


class OpenAI(Model):
    """Any server that speaks OpenAI's chat completions."""

    kind: Literal["openai"] = Field(description="Any server that speaks OpenAI's chat completions.")
    url: Url = Field(
        description="Base URL such as `http://127.0.0.1:8000/v1`, or that of its `/chat/completions`."
    )
    key_env: Variable | None = optional("Environment variable that holds the server's API key.")
    model: str | None = optional("Model to ask for; the one of the request if left out.")
    stream: bool = Field(default=True, description="Ask for a stream; false for servers that cannot.")
    fields: Names | None = optional("Request options that are passed on; all if left out.")
    headers: dict[Header, Annotated[str, Field(pattern=LINE)]] = Field(
        default={}, description="Further headers of each request.", repr=False
    )
    usage_totals: bool = Field(
        default=False, description="It counts the tokens of the whole conversation, not those of the turn."
    )
    ca_file: File | None = optional("Certificates to trust instead of the system's, a PEM file.")

    @model_validator(mode="after")
    def _named(self) -> OpenAI:
        if self.warm and self.model is None:
            raise ValueError("warm needs a model: before the first turn nobody names one")
        return self


class Python(Agent):
    """A Python function or object in this process."""

    kind: Literal["python"] = Field(description="A Python function or object in this process.")
    target: Annotated[str, Field(pattern=TARGET)] = Field(
        description='Where it is, as `"package.module:name"`.'
    )
    options: dict[str, Any] = Field(default={}, description="Keyword arguments for it.")
