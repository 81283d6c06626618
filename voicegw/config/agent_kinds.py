"""Every kind of agent that a file can describe: a new kind is one line in each table here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from voicegw.agents.anthropic.settings import AnthropicSettings
from voicegw.agents.bedrock.settings import BedrockSettings
from voicegw.agents.docker.settings import DockerAgentSettings
from voicegw.agents.hermes.settings import HermesSettings
from voicegw.agents.openai.settings import OpenAISettings
from voicegw.agents.openhands.settings import OpenHandsSettings
from voicegw.agents.python.settings import PythonSettings
from voicegw.agents.scripted.settings import ScriptedSettings
from voicegw.agents.zeroclaw.settings import ZeroClawSettings
from voicegw.settings.agent import AgentSettings

AnyAgent: TypeAlias = (
    ScriptedSettings
    | OpenAISettings
    | AnthropicSettings
    | BedrockSettings
    | OpenHandsSettings
    | HermesSettings
    | ZeroClawSettings
    | DockerAgentSettings
    | PythonSettings
)
"""The section of an agent of any kind."""

AGENT_SETTINGS: Mapping[str, type[AgentSettings]] = {
    "scripted": ScriptedSettings,
    "openai": OpenAISettings,
    "anthropic": AnthropicSettings,
    "bedrock": BedrockSettings,
    "openhands": OpenHandsSettings,
    "hermes": HermesSettings,
    "zeroclaw": ZeroClawSettings,
    "docker-agent": DockerAgentSettings,
    "python": PythonSettings,
}
"""The settings of every kind, by the `kind` in the file."""
