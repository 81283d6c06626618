"""Configuration keys of OpenAI-compatible agents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from voicegw.agents.openai.request import RESERVED_OPTIONS
from voicegw.settings.agent import ModelSettings
from voicegw.settings.fields import (
    ASCII_LINE_PATTERN,
    File,
    Header,
    Names,
    Url,
    Variable,
    optional,
)


class OpenAISettings(ModelSettings):
    """Any server that speaks OpenAI's chat completions."""

    kind: Literal["openai"] = Field(description="Any server that speaks OpenAI's chat completions.")
    url: Url = Field(
        description="Base URL such as `http://127.0.0.1:8000/v1`, or that of its `/chat/completions`."
    )
    key_env: Variable | None = optional("Environment variable that holds the server's API key.")
    model: str | None = optional("Model to ask for; the one of the request if left out.")
    stream: bool = Field(default=True, description="Ask for a stream; false for servers that cannot.")
    fields: Names | None = optional("Request options that are passed on; all if left out.")
    extra_body: dict[str, Any] = Field(
        default={},
        description="Further fields of each request, such as `top_k = 20`; they replace its options.",
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = optional(
        "Name of the token limit: `max_completion_tokens` for OpenAI and Azure, else `max_tokens`, if left "
        "out."
    )
    developer_role: Literal["developer", "system"] | None = optional(
        "Role of the developer's messages: `developer` for OpenAI and Azure, else `system`, if left out."
    )
    headers: dict[Header, Annotated[str, Field(pattern=ASCII_LINE_PATTERN)]] = Field(
        default={}, description="Further headers of each request.", repr=False
    )
    usage_totals: bool = Field(
        default=False, description="It counts the tokens of the whole conversation, not those of the turn."
    )
    ca_file: File | None = optional("Certificates to trust instead of the system's, a PEM file.")

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, value: dict[str, Any]) -> dict[str, Any]:
        if reserved := sorted(RESERVED_OPTIONS.difference({"stream_options"}).intersection(value)):
            raise ValueError(f'must not hold "{reserved[0]}": the gateway sets it')
        return value

    @model_validator(mode="after")
    def _check_warm_has_model(self) -> OpenAISettings:
        if self.warm and self.model is None:
            raise ValueError("warm needs a model: no request names one before the first turn")
        return self
