"""The [retell] section of the configuration file."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, Strict

from voicegw.settings.fields import Variable, optional
from voicegw.settings.platform import ACTIONS_DESCRIPTION, GreetingPlatformSettings, TransferSettings

RetellAction: TypeAlias = Literal["end_call", "transfer_call", "send_digits"]


class RetellSettings(TransferSettings, GreetingPlatformSettings):
    """Settings of Retell's custom LLM websocket."""

    call_secret_keys: ClassVar[tuple[str, ...]] = ("secret_env",)
    webhook_secret_keys: ClassVar[tuple[str, ...]] = ("api_key_env",)
    path_secret_keys: ClassVar[frozenset[str]] = frozenset({"secret_env"})

    secret_env: Variable | None = optional(
        "Environment variable that holds the secret part of the address that Retell calls."
    )
    api_key_env: Variable | None = optional(
        "Environment variable that holds the API key by which Retell signs its webhooks."
    )
    actions: Annotated[tuple[RetellAction, ...], Strict(False)] = Field(
        default=(), description=ACTIONS_DESCRIPTION
    )
