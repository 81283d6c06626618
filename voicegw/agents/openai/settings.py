"""Configuration keys of OpenAI-compatible agents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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
    headers: dict[Header, Annotated[str, Field(pattern=ASCII_LINE_PATTERN)]] = Field(
        default={}, description="Further headers of each request.", repr=False
    )
    usage_totals: bool = Field(
        default=False, description="It counts the tokens of the whole conversation, not those of the turn."
    )
    ca_file: File | None = optional("Certificates to trust instead of the system's, a PEM file.")

    @model_validator(mode="after")
    def _check_warm_has_model(self) -> OpenAISettings:
        if self.warm and self.model is None:
            raise ValueError("warm needs a model: no request names one before the first turn")
        return self
