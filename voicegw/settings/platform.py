"""The tables of the configuration file that describe the platforms whose calls come on a websocket."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from voicegw.settings.fields import Language, Name, optional
from voicegw.settings.section import Section

Partial: TypeAlias = Literal["ignore", "speculate"]

ACTIONS = "What the agent may do on a call besides speaking: offered to it as tools."
PARTIAL = (
    'Words that may still change: wait for the final ones (`"ignore"`), or let the agent begin with them '
    '(`"speculate"`).'
)


class PlatformSettings(Section):
    """What every platform has."""

    proof: ClassVar[tuple[str, ...]] = ()
    """Keys of which one makes its calls prove where they come from."""
    signature: ClassVar[tuple[str, ...]] = ()
    """Keys of which one makes its webhooks prove where they come from."""
    path_secrets: ClassVar[frozenset[str]] = frozenset()
    """Keys whose secret is a part of an address."""
    needs_public_url: ClassVar[bool] = False
    """Is the proof made for `server.public_url`?"""

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

    @property
    def signed(self) -> bool:
        """Do its webhooks prove where they come from?"""
        return any(key in self.signature for key, _ in self.variables)


class GreetingPlatformSettings(PlatformSettings):
    """A platform whose calls begin with words of ours."""

    greeting: str = Field(
        default="", description='What is said when the call begins; `""` lets the caller speak first.'
    )
