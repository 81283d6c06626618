"""Every kind of agent that a file can describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from voicegw.agent_tables import Agent, OpenAI, Python, Scripted
from voicegw.model_tables import Anthropic, Bedrock
from voicegw.session_tables import DockerAgent, Hermes, OpenHands, ZeroClaw

AnyAgent: TypeAlias = (
    Scripted | OpenAI | Anthropic | Bedrock | OpenHands | Hermes | ZeroClaw | DockerAgent | Python
)

KINDS: Mapping[str, type[Agent]] = {
    "scripted": Scripted,
    "openai": OpenAI,
    "anthropic": Anthropic,
    "bedrock": Bedrock,
    "openhands": OpenHands,
    "hermes": Hermes,
    "zeroclaw": ZeroClaw,
    "docker-agent": DockerAgent,
    "python": Python,
}
