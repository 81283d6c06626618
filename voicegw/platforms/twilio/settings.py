"""The [twilio] section of the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field, Strict, model_validator

from voicegw.platforms.twilio.ticket import PARAMETER
from voicegw.settings.fields import ATTRIBUTE, Language, Name, Variable, optional
from voicegw.settings.platform import ACTIONS, PARTIAL, GreetingPlatformSettings, Partial

Interruption: TypeAlias = Literal["any", "speech", "dtmf", "none"]


TwilioAction: TypeAlias = Literal["end_call", "transfer_call", "send_digits", "switch_language", "play_audio"]


ATTRIBUTES: Mapping[str, str] = {
    "language": "language",
    "welcomeGreeting": "greeting",
    "voice": "voice",
    "ttsProvider": "tts_provider",
    "transcriptionProvider": "transcription_provider",
    "dtmfDetection": "dtmf",
    "interruptible": "interruptible",
    "welcomeGreetingInterruptible": "welcome_greeting_interruptible",
    "applicationReconnect": "reconnect",
    "partialPrompts": "partial",
}
"""The attributes of ConversationRelay that have keys of their own."""


def _further(attribute: str) -> str:
    if attribute == "url":
        raise ValueError("is the gateway's business")
    if attribute in ATTRIBUTES:
        raise ValueError(f"has a key of its own: {ATTRIBUTES[attribute]}")
    return attribute


def _free(parameter: str) -> str:
    if parameter == PARAMETER:
        raise ValueError("is a name that the gateway needs itself")
    return parameter


class TwilioSettings(GreetingPlatformSettings):
    """Twilio's ConversationRelay."""

    proof: ClassVar[tuple[str, ...]] = ("auth_token_env", "signing_key_env")
    signature: ClassVar[tuple[str, ...]] = proof
    needs_public_url: ClassVar[bool] = True

    auth_token_env: Variable | None = optional(
        "Environment variable that holds the account's auth token, by which Twilio signs."
    )
    signing_key_env: Variable | None = optional(
        "Environment variable that holds the shared key of signatures with SHA-256."
    )
    actions: Annotated[tuple[TwilioAction, ...], Strict(False)] = Field(default=(), description=ACTIONS)
    languages: Annotated[tuple[Language, ...], Strict(False)] = Field(
        default=(), description="Further languages of the call; `switch_language` knows these."
    )
    voice: str | None = optional(
        "Voice that speaks, by the provider's name for it; Twilio's choice if unset."
    )
    tts_provider: str | None = optional('Who speaks, such as `"ElevenLabs"`; Twilio\'s choice if unset.')
    transcription_provider: str | None = optional(
        'Who listens, such as `"Deepgram"`; Twilio\'s choice if unset.'
    )
    dtmf: bool = Field(default=True, description="Tell of keys that the caller presses.")
    interruptible: Interruption = Field(
        default="any", description="What of the caller's cuts the agent short: speech, keys, both or nothing."
    )
    welcome_greeting_interruptible: Interruption = Field(
        default="any", description="The same for the greeting."
    )
    reconnect: bool = Field(default=True, description="Twilio comes back when the connection is lost.")
    partial: Partial = Field(default="ignore", description=PARTIAL)
    attributes: dict[Annotated[str, Field(pattern=ATTRIBUTE), AfterValidator(_further)], str] = Field(
        default={}, description="Further attributes of ConversationRelay, as Twilio names them."
    )
    parameters: dict[Annotated[Name, AfterValidator(_free)], str] = Field(
        default={}, description="Parameters of each call that the agent is told."
    )
    tickets: bool = Field(
        default=True,
        description="Only calls that came through `/twilio/voice`; false lets your own TwiML connect them.",
    )

    @model_validator(mode="after")
    def _declared(self) -> TwilioSettings:
        if "switch_language" in self.actions and not self.languages:
            raise ValueError("the action switch_language needs languages: Twilio takes no others")
        return self

    def relay(self) -> dict[str, str | bool]:
        """The attributes of ConversationRelay, all but its address."""
        own = {attribute: getattr(self, key) for attribute, key in ATTRIBUTES.items()}
        own["partialPrompts"] = self.partial == "speculate"
        return {name: value for name, value in own.items() if value not in (None, "")} | self.attributes
