"""Every kind of agent that a file can describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from voicegw.agents.anthropic.settings import Anthropic
from voicegw.agents.bedrock.settings import Bedrock
from voicegw.agents.docker.settings import DockerAgent
from voicegw.agents.hermes.settings import Hermes
from voicegw.agents.openai.settings import OpenAI
from voicegw.agents.openhands.settings import OpenHands
from voicegw.agents.python.settings import Python
from voicegw.agents.scripted.settings import Scripted
from voicegw.agents.zeroclaw.settings import ZeroClaw
from voicegw.settings.agent import Agent

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
