"""The whole configuration file as one class: its sections, and the secrets from the environment.

Loading a file is in `voicegw.config.load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args, get_origin

from pydantic import Field, PrivateAttr, create_model

from voicegw.config.agent_kinds import AnyAgent
from voicegw.platforms.realtime.settings import RealtimeSettings
from voicegw.platforms.registry import PLATFORMS
from voicegw.security.keys import ApiKey, hash_secret
from voicegw.settings.fields import Name, optional
from voicegw.settings.gateway import (
    CallSettings,
    KeySettings,
    LimitSettings,
    ServerSettings,
    SpeechSettings,
    TraceSettings,
    TurnSettings,
)
from voicegw.settings.platform import PlatformSettings
from voicegw.settings.section import Section

DEMO: Mapping[str, Mapping[str, object]] = {
    "agents": {"receptionist": {"kind": "scripted"}},
    **{platform: {} for platform in PLATFORMS},
}
"""The configuration of `voicegw serve` without a file."""

if TYPE_CHECKING:
    PlatformSections = Section
else:
    PlatformSections = create_model(
        "PlatformSections",
        __base__=Section,
        **{name: (kind.settings | None, optional(kind.description)) for name, kind in PLATFORMS.items()},
    )


class Config(PlatformSections):
    """The whole file. The first agent is the default one.

    The sections of the platforms come from `voicegw.platforms.registry`.
    """

    server: ServerSettings = Field(
        default_factory=ServerSettings, description="Address, workers, TLS and proxies."
    )
    limits: LimitSettings = Field(
        default_factory=LimitSettings, description="Limits of requests, turns and calls."
    )
    keys: dict[Name, KeySettings] = Field(
        default={}, description="API keys by name. Without any, only this machine may call."
    )
    turns: TurnSettings = Field(
        default_factory=TurnSettings, description="Retries, failures and ends of turns."
    )
    calls: CallSettings = Field(default_factory=CallSettings, description="How requests name their call.")
    agents: dict[Name, Annotated[AnyAgent, Field(discriminator="kind")]] = Field(
        default={},
        description="Agents by name, which is their model name for clients. The first is the default.",
    )
    speech: SpeechSettings = Field(
        default_factory=SpeechSettings, description="How the agents' text becomes speech."
    )
    trace: TraceSettings = Field(default_factory=TraceSettings, description="Log lines and timings of turns.")
    realtime: RealtimeSettings = Field(
        default_factory=RealtimeSettings, description="Calls by OpenAI's Realtime protocol."
    )

    _secrets: dict[str, str] = PrivateAttr(default_factory=dict)  # by environment variable
    _folder: Path = PrivateAttr(default_factory=Path)  # see `folder`
    _source: str = PrivateAttr(default="voicegw")  # see `source`
    _demo: bool = PrivateAttr(default=False)  # see `is_demo`

    @classmethod
    def demo(cls) -> Config:
        """Return the configuration without a file: the receptionist, without keys, for this machine only."""
        config = cls.model_validate(DEMO)
        config._demo = True
        return config

    @property
    def is_demo(self) -> bool:
        """True for the configuration without a file."""
        return self._demo

    @property
    def default_agent(self) -> str:
        """The name of the agent that answers for unknown models."""
        return next(iter(self.agents))

    @property
    def platforms(self) -> dict[str, PlatformSettings]:
        """The configured platforms, by the names of their sections."""
        sections = ((name, getattr(self, name)) for name in PLATFORMS)
        return {name: section for name, section in sections if section is not None}

    @property
    def folder(self) -> Path:
        """The folder of the file, where relative paths and modules of Python agents are looked up."""
        return self._folder

    @property
    def source(self) -> str:
        """The name of the file in messages."""
        return self._source

    def get_secret(self, variable: str) -> str:
        """Return the value that an environment variable had when the file was loaded.

        Raises `KeyError` for a variable that the file does not name.
        """
        return self._secrets[variable]

    def api_keys(self) -> tuple[ApiKey, ...]:
        """Return the API keys for `voicegw.security`."""
        return tuple(
            ApiKey(
                name,
                self.hash_of(key) or b"",
                None if key.models is None else frozenset(key.models),
                key.dialect,
                key.requests_per_minute,
                key.concurrent_turns,
            )
            for name, key in self.keys.items()
        )

    def agent_turns(self, name: str) -> int:
        """Return the maximum number of turns of an agent at a time, over all workers.

        By default one agent among several leaves a quarter of the places to the others.
        """
        turns, total = self.agents[name].concurrent_turns, self.limits.concurrent_turns
        if turns is None:
            return total if len(self.agents) == 1 else max(1, total * 3 // 4)
        return turns

    def hash_of(self, key: KeySettings) -> bytes | None:
        """Return the digest of an API key's secret, or None when its variable is not set."""
        if key.hash is not None:
            return bytes.fromhex(key.hash.removeprefix("sha256:"))
        secret = self._secrets.get(key.env or "")
        return None if secret is None else hash_secret(secret)


def _collect_sections() -> dict[str, type[Section]]:
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        kinds = () if get_origin(field.annotation) is dict else get_args(field.annotation)
        for kind in kinds or (field.annotation,):
            if isinstance(kind, type) and issubclass(kind, Section):
                found[name] = kind
    return found


SECTIONS: Mapping[str, type[Section]] = _collect_sections()
"""The class of every section that is one table, by its name in the file."""
