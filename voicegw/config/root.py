"""The whole configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args, get_origin

from pydantic import Field, PrivateAttr, create_model

from voicegw.config.agent_kinds import AnyAgent
from voicegw.config.sections import (
    CallSettings,
    KeySettings,
    LimitSettings,
    ServerSettings,
    SpeechSettings,
    TraceSettings,
    TurnSettings,
)
from voicegw.platforms.realtime.settings import RealtimeSettings
from voicegw.platforms.registry import PLATFORMS
from voicegw.security import keys as guard
from voicegw.settings.fields import (
    Name,
    optional,
)
from voicegw.settings.platform import PlatformSettings
from voicegw.settings.section import Section

DEMO: Mapping[str, Mapping[str, object]] = {
    "agents": {"receptionist": {"kind": "scripted"}},
    **{platform: {} for platform in PLATFORMS},
}
"""What runs without a file."""

if TYPE_CHECKING:
    PlatformSections = Section
else:
    PlatformSections = create_model(
        "PlatformSections",
        __base__=Section,
        **{name: (kind.settings | None, optional(kind.description)) for name, kind in PLATFORMS.items()},
    )


class Config(PlatformSections):
    """The whole file. The first agent is the default one."""

    server: ServerSettings = Field(default_factory=ServerSettings, description="Where the gateway listens.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What is too much.")
    keys: dict[Name, KeySettings] = Field(
        default={}, description="Keys by name. Without any, only this machine may call."
    )
    turns: TurnSettings = Field(default_factory=TurnSettings, description="How a turn goes.")
    calls: CallSettings = Field(
        default_factory=CallSettings, description="Which requests belong to one call."
    )
    agents: dict[Name, Annotated[AnyAgent, Field(discriminator="kind")]] = Field(
        default={}, description="Agents by name, the model names of clients. The first is the default."
    )
    speech: SpeechSettings = Field(
        default_factory=SpeechSettings, description="How the agents' text is made speakable."
    )
    trace: TraceSettings = Field(default_factory=TraceSettings, description="What is told about each turn.")
    realtime: RealtimeSettings = Field(
        default_factory=RealtimeSettings, description="Calls by OpenAI's Realtime protocol."
    )

    _secrets: dict[str, str] = PrivateAttr(default_factory=dict)
    _folder: Path = PrivateAttr(default_factory=Path)
    _source: str = PrivateAttr(default="voicegw")
    _demo: bool = PrivateAttr(default=False)

    @classmethod
    def demo(cls) -> Config:
        """What runs without a file: the receptionist, without keys, for this machine only."""
        config = cls.model_validate(DEMO)
        config._demo = True
        return config

    @property
    def is_demo(self) -> bool:
        """Is this what runs without a file, for this machine only?"""
        return self._demo

    @property
    def default_agent(self) -> str:
        """Name of the agent that answers for models that nobody knows."""
        return next(iter(self.agents))

    @property
    def platforms(self) -> dict[str, PlatformSettings]:
        """The platforms whose calls are taken on websockets, by the names of their tables."""
        sections = ((name, getattr(self, name)) for name in PLATFORMS)
        return {name: section for name, section in sections if section is not None}

    @property
    def folder(self) -> Path:
        """Where the file lies: relative paths in it begin there, and so do the modules of Python agents."""
        return self._folder

    @property
    def source(self) -> str:
        """What the file is called in messages."""
        return self._source

    def secret(self, variable: str) -> str:
        """The value of an environment variable that the file names, as it was when the file was loaded."""
        return self._secrets[variable]

    def api_keys(self) -> tuple[guard.ApiKey, ...]:
        """The keys as the guard wants them."""
        return tuple(
            guard.ApiKey(
                name,
                self.digest(key) or b"",
                None if key.models is None else frozenset(key.models),
                key.dialect,
                key.requests_per_minute,
            )
            for name, key in self.keys.items()
        )

    def digest(self, key: KeySettings) -> bytes | None:
        """The digest of a key's secret, None when its variable is not set."""
        if key.hash is not None:
            return bytes.fromhex(key.hash.removeprefix("sha256:"))
        secret = self._secrets.get(key.env or "")
        return None if secret is None else guard.digest(secret)


def _sections() -> dict[str, type[Section]]:
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        kinds = () if get_origin(field.annotation) is dict else get_args(field.annotation)
        for kind in kinds or (field.annotation,):
            if isinstance(kind, type) and issubclass(kind, Section):
                found[name] = kind
    return found


SECTIONS: Mapping[str, type[Section]] = _sections()
"""The class of every section that is one table, by its name in the file."""
