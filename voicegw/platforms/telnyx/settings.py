"""The [telnyx] section of the configuration file."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, Strict

from voicegw.settings.fields import Variable, optional
from voicegw.settings.platform import ACTIONS_DESCRIPTION, RelayPlatformSettings

RelayAction: TypeAlias = Literal["end_call", "send_digits", "switch_language", "play_audio"]


class TelnyxSettings(RelayPlatformSettings):
    """Settings of Telnyx's ConversationRelay, which the operator's own TeXML starts."""

    call_secret_keys: ClassVar[tuple[str, ...]] = ("token_env",)
    path_secret_keys: ClassVar[frozenset[str]] = frozenset({"token_env"})

    token_env: Variable | None = optional(
        "Environment variable that holds the secret part of the address that Telnyx calls."
    )
    actions: Annotated[tuple[RelayAction, ...], Strict(False)] = Field(
        default=(), description=ACTIONS_DESCRIPTION
    )
