"""Configuration keys of Bedrock agents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from voicegw.settings.agent import ModelSettings
from voicegw.settings.fields import File, Url, Variable, optional

REGION_PATTERN = r"^[a-z]{2,8}(-[a-z0-9]+)+$"


class BedrockSettings(ModelSettings):
    """A model on Amazon Bedrock."""

    kind: Literal["bedrock"] = Field(description="A model on Amazon Bedrock.")
    region: Annotated[str, Field(pattern=REGION_PATTERN)] = Field(description="Region, such as `eu-west-1`.")
    model: Annotated[str, Field(min_length=1)] = Field(
        description="Id of the model or inference profile, or an ARN."
    )
    key_env: Variable | None = optional("Environment variable that holds a key of Bedrock's own.")
    access_key_env: Variable | None = optional(
        "Environment variable that holds an access key, instead of `key_env`."
    )
    secret_key_env: Variable | None = optional(
        "Environment variable that holds the secret of the access key."
    )
    session_token_env: Variable | None = optional(
        "Environment variable that holds the session token of an access key that is valid for a while only."
    )
    url: Url | None = optional("Another endpoint than that of the region, such as one inside a VPC.")
    latency: Literal["standard", "optimized"] | None = optional(
        "Asks for faster answers, of models that can."
    )
    tier: Literal["default", "priority", "flex", "reserved"] | None = optional("Service tier to ask for.")
    cache: Annotated[tuple[Literal["system", "tools"], ...], Strict(False)] = Field(
        default=(), description="Up to where the model may remember what it read, of models that can."
    )
    sampling: bool = Field(
        default=False, description="Pass on `temperature` or `top_p`; newer models refuse them."
    )
    extra_body: dict[str, Any] = Field(
        default={},
        description="Further fields of each request, such as `additionalModelRequestFields = {top_k = 20}`.",
    )
    ca_file: File | None = optional("Certificates to trust instead of the system's, a PEM file.")

    @model_validator(mode="after")
    def _check_credentials(self) -> BedrockSettings:
        if (self.access_key_env is None) != (self.secret_key_env is None):
            raise ValueError("access_key_env and secret_key_env belong together; one of them is missing")
        if (self.key_env is None) == (self.access_key_env is None):
            raise ValueError("needs either key_env, or access_key_env and secret_key_env")
        if self.session_token_env is not None and self.access_key_env is None:
            raise ValueError("session_token_env belongs to an access_key_env")
        return self
