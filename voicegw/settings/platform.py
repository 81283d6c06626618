"""Configuration keys that platforms with websocket calls share; each platform adds its own in its folder."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, Strict, model_validator

from voicegw.security.transfer_policy import TransferPolicy, region_of
from voicegw.settings.fields import Language, Name, Region, optional, require_nonempty
from voicegw.settings.section import Section

PartialHandling: TypeAlias = Literal["ignore", "speculate"]

TransferEntries: TypeAlias = Annotated[tuple[str, ...], Strict(False), AfterValidator(require_nonempty)]

ACTIONS_DESCRIPTION = "Call actions that the agent may use; they are offered to it as tools."
PARTIAL_DESCRIPTION = (
    'Interim transcripts: wait for the final one (`"ignore"`), or start the agent early (`"speculate"`).'
)


class PlatformSettings(Section):
    """Keys of every platform."""

    call_secret_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of the secrets by which calls are authenticated; one of them is enough."""
    webhook_secret_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of the secrets by which webhooks are authenticated; one of them is enough."""
    path_secret_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys of the secrets that are a segment of an address."""
    needs_public_url: ClassVar[bool] = False
    """True if the platform signs the address `server.public_url`."""

    agent: Name | None = optional("Agent that answers; the first one of the file if left out.")
    language: Language = Field(
        default="en-US", description="Language of the call and of the gateway's own phrases."
    )
    concurrent_calls: Annotated[int, Field(ge=1)] | None = optional(
        "Maximum number of its calls at a time, over all workers; `[limits]` bounds all platforms together."
    )

    @property
    def authenticates_calls(self) -> bool:
        """True if a secret authenticates the calls."""
        return any(key in self.call_secret_keys for key, _ in self.variables)

    @property
    def authenticates_webhooks(self) -> bool:
        """True if a secret authenticates the webhooks."""
        return any(key in self.webhook_secret_keys for key, _ in self.variables)


class GreetingPlatformSettings(PlatformSettings):
    """Keys of platforms whose calls begin with a greeting."""

    greeting: str = Field(
        default="", description='Greeting at the start of the call; with `""` the caller speaks first.'
    )


class TransferSettings(PlatformSettings):
    """Keys of platforms whose agents may transfer calls."""

    phone_region: Region | None = optional(
        'Country of telephone numbers without a country code, such as `"DE"`; that of `language` if unset.'
    )
    transfer_to: TransferEntries | None = optional(
        'Numbers to which the agent may transfer calls, and prefixes such as `"+4930*"`; if unset, any that '
        "are not premium-rate."
    )

    def transfer_policy(self, actions: tuple[str, ...]) -> TransferPolicy | None:
        """Return the numbers to which calls may be transferred; None if `actions` has no `transfer_call`."""
        region = self.phone_region or region_of(self.language)
        return TransferPolicy(region, self.transfer_to) if "transfer_call" in actions else None

    @model_validator(mode="after")
    def _check_transfers(self) -> Self:
        if self.phone_region or self.transfer_to:
            policy = TransferPolicy(self.phone_region or region_of(self.language), self.transfer_to)
            if self.phone_region and not policy.knows_region:
                raise ValueError(f'phone_region "{self.phone_region}" is not the code of a country')
        return self


class RelayPlatformSettings(GreetingPlatformSettings):
    """Keys of Twilio's and Telnyx's ConversationRelay."""

    partial: PartialHandling = Field(default="ignore", description=PARTIAL_DESCRIPTION)
    false_interruption: Literal["resume", "reminder", "ignore"] = Field(
        default="resume",
        description=(
            'After an interruption without words: the agent goes on with its answer (`"resume"`), says '
            'something short (`"reminder"`), or waits (`"ignore"`).'
        ),
    )
    false_interruption_timeout: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="Seconds without words of the caller after which an interruption counts as such a one.",
    )
    chars_per_second: float = Field(
        default=15.0,
        ge=0,
        le=100,
        description=(
            "Characters of speech per second: `end_call` and `transfer_call` wait until the words before "
            "them can have been spoken; `0` does not wait."
        ),
    )
