"""The [retell] section of the configuration file."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, Strict

from voicegw.settings.fields import Variable, optional
from voicegw.settings.platform import ACTIONS, GreetingPlatformSettings

RetellAction: TypeAlias = Literal["end_call", "transfer_call", "send_digits"]


class RetellSettings(GreetingPlatformSettings):
    """Settings of Retell's custom LLM websocket."""

    proof: ClassVar[tuple[str, ...]] = ("secret_env",)
    signature: ClassVar[tuple[str, ...]] = ("api_key_env",)
    path_secrets: ClassVar[frozenset[str]] = frozenset({"secret_env"})

    secret_env: Variable | None = optional(
        "Environment variable that holds the secret part of the address that Retell calls."
    )
    api_key_env: Variable | None = optional(
        "Environment variable that holds the API key by which Retell signs its webhooks."
    )
    actions: Annotated[tuple[RetellAction, ...], Strict(False)] = Field(default=(), description=ACTIONS)
