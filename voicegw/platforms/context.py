"""The parts from which a platform builds its call endpoint and its webhooks.

`PlatformContext` hands the configuration to the platforms, so that no platform imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from starlette.types import ASGIApp

from voicegw.calls.call_tools import build_call_tools
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.calls.server import CallServer
from voicegw.security.keys import ApiKey
from voicegw.settings.platform import (
    GreetingPlatformSettings,
    PlatformSettings,
    RelayPlatformSettings,
)
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.served_agent import ServedAgent


@dataclass(frozen=True, slots=True)
class PlatformContext:
    """The part of the configuration that all platforms share."""

    agents: Mapping[str, ServedAgent]
    """Every agent by name."""
    default_agent: str
    """The name of the agent that answers where a section names none."""
    read_secret: Callable[[str | None], str]
    """Returns the value of the environment variable that a section names, "" for None."""
    workers: int
    """The number of worker processes."""
    public_url: str
    """The gateway's address as platforms know it, without a path; "" if it is not configured."""
    now: Callable[[], float]
    """Returns Unix time in seconds."""

    def agent_for(self, settings: PlatformSettings) -> ServedAgent:
        """Return the agent that answers the platform's calls.

        Raises `KeyError` for an unknown name; the configuration is checked for that before.
        """
        return self.agents[settings.agent or self.default_agent]

    def build_profile(
        self,
        name: str,
        settings: GreetingPlatformSettings,
        actions: tuple[str, ...],
    ) -> CallProfile:
        """Return the profile of the platform's calls.

        Its API key is "@" and the platform's name; no key of the configuration file can have such a name.
        Raises `KeyError` for an unknown agent or action.
        """
        return CallProfile(
            ApiKey(f"@{name}", b""),
            self.agent_for(settings),
            settings.language,
            settings.greeting,
            build_call_tools(actions),
        )

    def build_relay_profile(
        self,
        name: str,
        settings: RelayPlatformSettings,
        actions: tuple[str, ...],
        languages: tuple[str, ...] = (),
    ) -> CallProfile:
        """Return the profile of a ConversationRelay's calls, which have these languages; () if unknown.

        Raises as `build_profile` does.
        """
        return replace(
            self.build_profile(name, settings, actions),
            speculate=settings.partial == "speculate",
            languages=languages,
            chars_per_second=settings.chars_per_second,
            false_interruption=settings.false_interruption,
            false_interruption_timeout=settings.false_interruption_timeout,
        )

    def worker_share(self, max_calls: int | None) -> int | None:
        """Return this worker's share of a platform's calls, at least 1; None stays None."""
        return None if max_calls is None else max(1, max_calls // self.workers)


Settings = TypeVar("Settings", bound=PlatformSettings)


@dataclass(frozen=True, slots=True)
class PlatformKind(Generic[Settings]):
    """A voice platform whose calls arrive on a websocket: one line in `voicegw.platforms.registry`."""

    name: str
    """The name of its section in the configuration file, and the first segment of its paths."""
    settings: type[Settings]
    """The settings of its section."""
    description: str
    """The description of its section in the schema."""
    build_endpoint: Callable[[Settings, PlatformContext], CallEndpoint]
    """Builds its websocket endpoint."""
    build_webhooks: Callable[[Settings, PlatformContext, CallServer, TurnLog], dict[str, ASGIApp]] | None = (
        None
    )
    """Builds its webhooks by path; None if it has none."""
