"""From the tables of agents to agents."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voicegw.agents.anthropic import settings as models
from voicegw.agents.anthropic.agent import AnthropicAgent
from voicegw.agents.bedrock import settings as bedrock_settings
from voicegw.agents.bedrock.agent import BedrockAgent
from voicegw.agents.bedrock.sigv4 import Credentials
from voicegw.agents.docker import settings as docker_settings
from voicegw.agents.docker.agent import DockerApiAgent
from voicegw.agents.hermes import settings as hermes_settings
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.agents.openai import settings as openai_settings
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.presets import docker_chat, zeroclaw_chat
from voicegw.agents.openhands import settings as openhands_settings
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.agents.prompt_cache import LIMITS, CacheWarmedAgent
from voicegw.agents.python import agent as python
from voicegw.agents.python import settings as python_settings
from voicegw.agents.scripted import agent as scripted
from voicegw.agents.scripted import settings as scripted_settings
from voicegw.agents.zeroclaw import settings as zeroclaw_settings
from voicegw.agents.zeroclaw.agent import ZeroClawAgent
from voicegw.config.agent_kinds import AnyAgent
from voicegw.config.load import Config
from voicegw.events import Agent
from voicegw.settings import agent as settings_agent
from voicegw.settings import agent as tables


def make_agent(table: AnyAgent, settings: Config) -> Agent:
    """The agent that a table of the configuration describes."""
    match table:
        case scripted_settings.ScriptedSettings():
            return scripted.scripted(table.script, **table.options)
        case python_settings.PythonSettings():
            return python.load(table.target, table.options)
        case openai_settings.OpenAISettings():
            return _primed(_openai(table, settings), table, _limit(table.url))
        case models.AnthropicSettings():
            return _primed(_anthropic(table, settings), table)
        case bedrock_settings.BedrockSettings():
            return _primed(_bedrock(table, settings), table)
        case openhands_settings.OpenHandsSettings():
            return _openhands(table, settings)
        case hermes_settings.HermesSettings():
            return HermesAgent(
                **_reached(table, settings),
                mode=table.mode,
                model=table.model,
                warm=table.warm,
                max_sessions=table.max_sessions,
            )
        case zeroclaw_settings.ZeroClawSettings():
            return _zeroclaw(table, settings)
        case docker_settings.DockerAgentSettings():
            return _docker(table, settings)


def _primed(agent: Agent, table: tables.ModelSettings, limit: str = LIMITS[0]) -> Agent:
    """The model with what its table wants of all turns."""
    if table.instructions is None and not table.warm:
        return agent
    return CacheWarmedAgent(agent, instructions=table.instructions, warm=table.warm, limit=limit)


def _limit(url: str) -> str:
    """OpenAI's own models know the newer name only, most other servers the older one."""
    host = urlsplit(url).hostname or ""
    return LIMITS[host.endswith((".openai.com", ".azure.com"))]


def _openai(table: openai_settings.OpenAISettings, settings: Config) -> Agent:
    return OpenAIAgent(
        **_reached(table, settings),
        model=table.model,
        fields=None if table.fields is None else frozenset(table.fields),
        stream=table.stream,
        headers=table.headers,
        totals=table.usage_totals,
    )


def _anthropic(table: models.AnthropicSettings, settings: Config) -> Agent:
    return AnthropicAgent(
        **_reached(table, settings),
        model=table.model,
        max_tokens=table.max_tokens,
        cache=table.cache,
        sampling=table.sampling,
        version=table.version,
        fields=table.fields,
        headers=table.headers,
    )


def _bedrock(table: bedrock_settings.BedrockSettings, settings: Config) -> Agent:
    token = settings.secret(table.session_token_env) if table.session_token_env else None
    credentials = None
    if table.access_key_env and table.secret_key_env:
        access, secret = settings.secret(table.access_key_env), settings.secret(table.secret_key_env)
        credentials = Credentials(access, secret, token)
    return BedrockAgent(
        table.region,
        table.model,
        key=settings.secret(table.key_env) if table.key_env else None,
        credentials=credentials,
        url=table.url,
        latency=table.latency,
        tier=table.tier,
        cache=table.cache,
        sampling=table.sampling,
        ssl=_trusting(table.ca_file),
    )


def _openhands(table: openhands_settings.OpenHandsSettings, settings: Config) -> Agent:
    return OpenHandsAgent(
        **_reached(table, settings),
        profile=table.profile,
        tools=table.tools,
        workspace=table.workspace,
        confirm=table.confirm,
        keep=table.conversations == "keep",
        max_sessions=table.max_sessions,
    )


def _zeroclaw(table: zeroclaw_settings.ZeroClawSettings, settings: Config) -> Agent:
    reached = _reached(table, settings)
    if table.mode == "chat":
        return zeroclaw_chat(**reached, agent=table.agent)
    return ZeroClawAgent(
        **reached, agent=table.agent, approvals=table.approvals, max_sessions=table.max_sessions
    )


def _docker(table: docker_settings.DockerAgentSettings, settings: Config) -> Agent:
    reached = _reached(table, settings)
    if table.mode == "chat":
        return docker_chat(**reached, agent=table.agent, conversations=table.conversations)
    return DockerApiAgent(**reached, team=table.team, agent=table.agent, max_sessions=table.max_sessions)


def _reached(
    table: openai_settings.OpenAISettings | models.AnthropicSettings | settings_agent.SessionSettings,
    settings: Config,
) -> dict[str, Any]:
    """Where a server is, the key to it, and whom to trust."""
    return {
        "url": table.url,
        "key": settings.secret(table.key_env) if table.key_env else None,
        "ssl": _trusting(table.ca_file),
    }


def _trusting(file: Path | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=file) if file else None
