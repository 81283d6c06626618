"""Configuration keys that platforms with websocket calls share; each platform adds its own in its folder."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from voicegw.settings.fields import Language, Name, optional
from voicegw.settings.section import Section

Partial: TypeAlias = Literal["ignore", "speculate"]

ACTIONS = "Call actions that the agent may use; they are offered to it as tools."
PARTIAL = (
    'Interim transcripts: wait for the final one (`"ignore"`), or start the agent early (`"speculate"`).'
)


class PlatformSettings(Section):
    """Keys of every platform."""

    proof: ClassVar[tuple[str, ...]] = ()
    """Keys of which one is needed to authenticate the calls."""
    signature: ClassVar[tuple[str, ...]] = ()
    """Keys of which one is needed to authenticate the webhooks."""
    path_secrets: ClassVar[frozenset[str]] = frozenset()
    """Keys whose secret is a segment of an address."""
    needs_public_url: ClassVar[bool] = False
    """Whether the platform signs `server.public_url`."""

    agent: Name | None = optional("Agent that answers; the first one of the file if left out.")
    language: Language = Field(
        default="en-US", description="Language of the call and of the gateway's own phrases."
    )
    concurrent_calls: Annotated[int, Field(ge=1)] | None = optional(
        "Maximum number of its calls at a time, over all workers; `[limits]` bounds all platforms together."
    )

    @property
    def proven(self) -> bool:
        """Whether the calls are authenticated."""
        return any(key in self.proof for key, _ in self.variables)

    @property
    def signed(self) -> bool:
        """Whether the webhooks are authenticated."""
        return any(key in self.signature for key, _ in self.variables)


class GreetingPlatformSettings(PlatformSettings):
    """Keys of platforms whose calls begin with a greeting."""

    greeting: str = Field(
        default="", description='Greeting at the start of the call; with `""` the caller speaks first.'
    )
