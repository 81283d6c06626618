"""The [twilio] section of the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field, Strict, model_validator

from voicegw.platforms.twilio.ticket import PARAMETER, RESUMED_PARAMETER
from voicegw.settings.fields import ATTRIBUTE_PATTERN, Language, Name, Variable, optional
from voicegw.settings.platform import ACTIONS_DESCRIPTION, RelayPlatformSettings, TransferSettings

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
"""Attributes of ConversationRelay by Twilio's name, and the configuration key of each."""


def _check_extra_attribute(attribute: str) -> str:
    if attribute == "url":
        raise ValueError("is set by the gateway; leave it out")
    if attribute in ATTRIBUTES:
        raise ValueError(f"has its own key; use {ATTRIBUTES[attribute]}")
    return attribute


def _check_parameter_name(parameter: str) -> str:
    if parameter in (PARAMETER, RESUMED_PARAMETER):
        raise ValueError("is reserved by the gateway; use another name")
    return parameter


Attributes: TypeAlias = dict[Annotated[str, Field(pattern=ATTRIBUTE_PATTERN)], str]


class TwilioSettings(TransferSettings, RelayPlatformSettings):
    """Settings of Twilio's ConversationRelay."""

    call_secret_keys: ClassVar[tuple[str, ...]] = ("auth_token_env", "signing_key_env")
    webhook_secret_keys: ClassVar[tuple[str, ...]] = call_secret_keys
    needs_public_url: ClassVar[bool] = True

    auth_token_env: Variable | None = optional(
        "Environment variable that holds the account's auth token, by which Twilio signs."
    )
    signing_key_env: Variable | None = optional(
        "Environment variable that holds the shared key of signatures with SHA-256."
    )
    actions: Annotated[tuple[TwilioAction, ...], Strict(False)] = Field(
        default=(), description=ACTIONS_DESCRIPTION
    )
    languages: Annotated[tuple[Language, ...], Strict(False)] = Field(
        default=(), description="Further languages of the call, to which `switch_language` may switch."
    )
    language_attributes: dict[Language, Attributes] = Field(
        default={},
        description="Attributes of `<Language>` by language, as Twilio names them, such as `voice`.",
    )
    failover: Annotated[tuple[Attributes, ...], Strict(False)] = Field(
        default=(),
        description="Backup providers: the attributes of each `<Failover>`, as Twilio names them.",
    )
    inline_language: bool = Field(
        default=False,
        description="Speak each reply in the language that the caller spoke, if it is one of the call's.",
    )
    voice: str | None = optional(
        "Voice that speaks, by the provider's name for it; Twilio's choice if unset."
    )
    tts_provider: str | None = optional(
        'Text-to-speech provider, such as `"ElevenLabs"`; Twilio\'s choice if unset.'
    )
    transcription_provider: str | None = optional(
        'Speech-to-text provider, such as `"Deepgram"`; Twilio\'s choice if unset.'
    )
    dtmf: bool = Field(default=True, description="Report the keys that the caller presses.")
    interruptible: Interruption = Field(
        default="any",
        description="Which input of the caller interrupts the agent: speech, keys, both or none.",
    )
    welcome_greeting_interruptible: Interruption = Field(
        default="any", description="The same for the greeting."
    )
    reconnect: bool = Field(default=True, description="Twilio reconnects when the connection is lost.")
    attributes: dict[
        Annotated[str, Field(pattern=ATTRIBUTE_PATTERN), AfterValidator(_check_extra_attribute)], str
    ] = Field(default={}, description="Further attributes of ConversationRelay, as Twilio names them.")
    parameters: dict[Annotated[Name, AfterValidator(_check_parameter_name)], str] = Field(
        default={}, description="Custom parameters of each call, which the agent finds in `turn.extra`."
    )
    tickets: bool = Field(
        default=True,
        description="Accept only calls that came through `/twilio/voice`; false for your own TwiML.",
    )

    @model_validator(mode="after")
    def _check_languages(self) -> TwilioSettings:
        if "switch_language" in self.actions and not self.languages:
            raise ValueError("the action switch_language needs languages: Twilio switches to no others")
        for language in self.language_attributes:
            if language not in (self.language, *self.languages):
                raise ValueError(f'language_attributes."{language}" is neither language nor one of languages')
        return self

    def declared_languages(self) -> dict[str, dict[str, str]]:
        """Return the attributes of the session's languages by tag, that of the call only if it has some."""
        attributes = self.language_attributes
        own = (self.language,) if self.language in attributes else ()
        return {language: attributes.get(language, {}) for language in (*own, *self.languages)}

    def relay_attributes(self) -> dict[str, str | bool]:
        """Return the attributes of ConversationRelay by Twilio's names, all but its address."""
        values = {attribute: getattr(self, key) for attribute, key in ATTRIBUTES.items()}
        values["partialPrompts"] = self.partial == "speculate"
        return {name: value for name, value in values.items() if value not in (None, "")} | self.attributes
