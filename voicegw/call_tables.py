"""The tables of the configuration file that describe the platforms whose calls come on a websocket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field, Strict, model_validator

from voicegw.agent_tables import Table
from voicegw.fields import ATTRIBUTE, Language, Name, Variable, optional
from voicegw.wire.ticket import PARAMETER

Interruption: TypeAlias = Literal["any", "speech", "dtmf", "none"]
RelayAction: TypeAlias = Literal["end_call", "send_digits", "switch_language", "play_audio"]
TwilioAction: TypeAlias = Literal["end_call", "transfer_call", "send_digits", "switch_language", "play_audio"]
RetellAction: TypeAlias = Literal["end_call", "transfer_call", "send_digits"]
Partial: TypeAlias = Literal["ignore", "speculate"]

ACTIONS = "What the agent may do on a call besides speaking: offered to it as tools."
PARTIAL = (
    'Words that may still change: wait for the final ones (`"ignore"`), or let the agent begin with them '
    '(`"speculate"`).'
)
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


class Platform(Table):
    """What every platform has. `proof` are the keys of which one keeps strangers out."""

    proof: ClassVar[tuple[str, ...]] = ()

    agent: Name | None = optional("Agent that answers; the first one if left out.")
    language: Language = Field(
        default="en-US", description="Language of the call; what the gateway itself says goes by it too."
    )
    concurrent_calls: Annotated[int, Field(ge=1)] | None = optional(
        "Most of its calls at the same time, all workers together, within those of `[limits]`."
    )

    @property
    def proven(self) -> bool:
        """Do its calls prove where they come from?"""
        return any(key in self.proof for key, _ in self.variables)


class Greeting(Platform):
    """A platform whose calls begin with words of ours."""

    greeting: str = Field(
        default="", description='What is said when the call begins; `""` lets the caller speak first.'
    )


class Twilio(Greeting):
    """Twilio's ConversationRelay."""

    proof: ClassVar[tuple[str, ...]] = ("auth_token_env", "signing_key_env")

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
    def _declared(self) -> Twilio:
        if "switch_language" in self.actions and not self.languages:
            raise ValueError("the action switch_language needs languages: Twilio takes no others")
        return self

    def relay(self) -> dict[str, str | bool]:
        """The attributes of ConversationRelay, all but its address."""
        own = {attribute: getattr(self, key) for attribute, key in ATTRIBUTES.items()}
        own["partialPrompts"] = self.partial == "speculate"
        return {name: value for name, value in own.items() if value not in (None, "")} | self.attributes


class Telnyx(Greeting):
    """Telnyx's ConversationRelay, started by the operator's own TeXML."""

    proof: ClassVar[tuple[str, ...]] = ("token_env",)

    token_env: Variable | None = optional(
        "Environment variable that holds the secret part of the address that Telnyx calls."
    )
    actions: Annotated[tuple[RelayAction, ...], Strict(False)] = Field(default=(), description=ACTIONS)
    partial: Partial = Field(default="ignore", description=PARTIAL)


class Retell(Greeting):
    """Retell's custom LLM."""

    proof: ClassVar[tuple[str, ...]] = ("secret_env",)

    secret_env: Variable | None = optional(
        "Environment variable that holds the secret part of the address that Retell calls."
    )
    api_key_env: Variable | None = optional(
        "Environment variable that holds the API key by which Retell signs its web hooks."
    )
    actions: Annotated[tuple[RetellAction, ...], Strict(False)] = Field(default=(), description=ACTIONS)


class ElevenLabs(Platform):
    """ElevenLabs' Speech Engine."""

    proof: ClassVar[tuple[str, ...]] = ("api_key_env",)

    api_key_env: Variable | None = optional(
        "Environment variable that holds the account's API key, by which ElevenLabs signs."
    )


class Realtime(Table):
    """OpenAI's Realtime protocol, for programs with a key; always there."""

    language: Language | None = optional("Language of the calls; that of the agent if left out.")
    concurrent_calls: Annotated[int, Field(ge=1)] | None = optional(
        "Most of these calls at the same time, all workers together; half of those of `[limits]` if left out."
    )
    pace: float = Field(
        default=15.0,
        ge=1,
        le=100,
        description="Characters of speech per second, by which `audio_end_ms` tells what was heard.",
    )
