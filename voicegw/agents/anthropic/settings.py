"""Configuration keys of Anthropic agents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from voicegw.settings.agent import ModelSettings
from voicegw.settings.fields import ASCII_LINE_PATTERN, File, Header, Url, Variable, optional


class AnthropicSettings(ModelSettings):
    """Any server that speaks Anthropic's Messages."""

    kind: Literal["anthropic"] = Field(description="Any server that speaks Anthropic's Messages.")
    url: Url = Field(
        default="https://api.anthropic.com", description="Base URL, or that of its `/v1/messages`."
    )
    key_env: Variable | None = optional("Environment variable that holds the API key.")
    model: str = Field(min_length=1, description="Model to ask for.")
    max_tokens: int = Field(
        default=4096, ge=1, description="Most tokens of an answer, unless the request says."
    )
    cache: bool = Field(
        default=True, description="Let the server remember tools and instructions between turns."
    )
    sampling: bool = Field(
        default=False, description="Pass on `temperature` or `top_p`; current models refuse them."
    )
    version: Annotated[str, Field(pattern=ASCII_LINE_PATTERN)] | None = optional(
        "Version of the protocol; the one that fits if left out."
    )
    extra_body: dict[str, Any] = Field(
        default={}, description='Further fields of each request, such as `thinking = {type = "disabled"}`.'
    )
    headers: dict[Header, Annotated[str, Field(pattern=ASCII_LINE_PATTERN)]] = Field(
        default={}, description="Further headers of each request.", repr=False
    )
    ca_file: File | None = optional("Certificates to trust instead of the system's, a PEM file.")
