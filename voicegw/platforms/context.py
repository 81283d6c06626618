"""What a platform's call endpoint and webhooks are built from.

It hands the integrations what they need of the configuration, so that none of them imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from starlette.types import ASGIApp

from voicegw.calls.call_tools import call_tools
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.calls.server import CallServer
from voicegw.security.keys import ApiKey
from voicegw.settings.platform import GreetingPlatformSettings, PlatformSettings
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.served_agent import ServedAgent


@dataclass(frozen=True, slots=True)
class PlatformContext:
    """What all platforms share of the configuration.

    `lines` are the agents by name; `default_agent` answers where a section names none. `secret` reads the
    environment variable that a section names, "" for None. `public_url` is the gateway's address as platforms
    know it, "" if it is not configured. `now` is the time of day in seconds since 1970.
    """

    agents: Mapping[str, ServedAgent]
    default_agent: str
    secret: Callable[[str | None], str]
    workers: int
    public_url: str
    now: Callable[[], float]

    def agent_for(self, table: PlatformSettings) -> ServedAgent:
        """Return the agent that answers the platform's calls."""
        return self.agents[table.agent or self.default_agent]

    def profile(
        self, name: str, table: GreetingPlatformSettings, actions: tuple[str, ...], *, speculate: bool = False
    ) -> CallProfile:
        """Return how the platform's calls are served.

        The platform's own key opens its agent; no key of the file can have such a name.
        """
        return CallProfile(
            ApiKey(f"@{name}", b""),
            self.agent_for(table),
            table.language,
            table.greeting,
            call_tools(actions),
            speculate,
        )

    def share(self, calls: int | None) -> int | None:
        """Return this worker's share of a platform's calls, at least 1; None stays None."""
        return None if calls is None else max(1, calls // self.workers)


Settings = TypeVar("Settings", bound=PlatformSettings)


@dataclass(frozen=True, slots=True)
class PlatformKind(Generic[Settings]):
    """One voice platform whose calls come on a websocket: one line in `voicegw.platforms.registry`.

    `name` is that of its section in the configuration file, and the first part of its paths. `description` is
    the section's, for the schema. `webhooks` builds its webhooks by path; None where it has none.
    """

    name: str
    settings: type[Settings]
    description: str
    endpoint: Callable[[Settings, PlatformContext], CallEndpoint]
    webhooks: Callable[[Settings, PlatformContext, CallServer, TurnLog], dict[str, ASGIApp]] | None = None
