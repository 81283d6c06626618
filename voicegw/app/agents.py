"""Makes agents from their sections of the configuration. It serves none: see `voicegw.app.served_agents`."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from voicegw.agents.anthropic.agent import AnthropicAgent
from voicegw.agents.anthropic.settings import AnthropicSettings
from voicegw.agents.bedrock.agent import BedrockAgent
from voicegw.agents.bedrock.settings import BedrockSettings
from voicegw.agents.bedrock.sigv4 import Credentials
from voicegw.agents.docker.agent import DockerApiAgent
from voicegw.agents.docker.settings import DockerAgentSettings
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.agents.hermes.settings import HermesSettings
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.presets import make_docker_chat, make_zeroclaw_chat
from voicegw.agents.openai.settings import OpenAISettings
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.agents.openhands.settings import OpenHandsSettings
from voicegw.agents.prompt_cache import CacheWarmedAgent
from voicegw.agents.python import agent as python
from voicegw.agents.python.settings import PythonSettings
from voicegw.agents.scripted import agent as scripted
from voicegw.agents.scripted.settings import ScriptedSettings
from voicegw.agents.zeroclaw.agent import ZeroClawAgent
from voicegw.agents.zeroclaw.settings import ZeroClawSettings
from voicegw.config.agent_kinds import AnyAgent
from voicegw.config.load import Config
from voicegw.events import Agent
from voicegw.settings.agent import ModelSettings, SessionSettings


def make_agent(table: AnyAgent, settings: Config) -> Agent:
    """Return the agent that a section describes.

    Raises `ConfigError` for a target or script that does not exist, and `OSError` for an unreadable file.
    """
    match table:
        case ScriptedSettings():
            return scripted.make_scripted_agent(table.script, **table.options)
        case PythonSettings():
            return python.load(table.target, table.options)
        case OpenAISettings():
            return _wrap_cache_warmed(_make_openai(table, settings), table)
        case AnthropicSettings():
            return _wrap_cache_warmed(_make_anthropic(table, settings), table)
        case BedrockSettings():
            return _wrap_cache_warmed(_make_bedrock(table, settings), table)
        case OpenHandsSettings():
            return _make_openhands(table, settings)
        case HermesSettings():
            return HermesAgent(
                **_connection_options(table, settings),
                mode=table.mode,
                model=table.model,
                warm_up=table.warm,
                max_sessions=table.max_sessions,
                idempotent=table.idempotent,
            )
        case ZeroClawSettings():
            return _make_zeroclaw(table, settings)
        case DockerAgentSettings():
            return _make_docker(table, settings)


def _wrap_cache_warmed(agent: Agent, table: ModelSettings) -> Agent:
    """Return the model, wrapped if its section has instructions or `warm`."""
    if table.instructions is None and not table.warm:
        return agent
    return CacheWarmedAgent(agent, instructions=table.instructions, warm=table.warm)


def _make_openai(table: OpenAISettings, settings: Config) -> Agent:
    return OpenAIAgent(
        **_connection_options(table, settings),
        model=table.model,
        fields=None if table.fields is None else frozenset(table.fields),
        extra_body=table.extra_body,
        max_tokens_field=table.max_tokens_field,
        developer_role=table.developer_role,
        stream=table.stream,
        headers=table.headers,
        usage_totals=table.usage_totals,
        idempotent=table.idempotent,
    )


def _make_anthropic(table: AnthropicSettings, settings: Config) -> Agent:
    return AnthropicAgent(
        **_connection_options(table, settings),
        model=table.model,
        max_tokens=table.max_tokens,
        cache=table.cache,
        sampling=table.sampling,
        version=table.version,
        extra_body=table.extra_body,
        headers=table.headers,
        idempotent=table.idempotent,
    )


def _make_bedrock(table: BedrockSettings, settings: Config) -> Agent:
    token = settings.get_secret(table.session_token_env) if table.session_token_env else None
    credentials = None
    if table.access_key_env and table.secret_key_env:
        access, secret = settings.get_secret(table.access_key_env), settings.get_secret(table.secret_key_env)
        credentials = Credentials(access, secret, token)
    return BedrockAgent(
        table.region,
        table.model,
        key=settings.get_secret(table.key_env) if table.key_env else None,
        credentials=credentials,
        url=table.url,
        latency=table.latency,
        tier=table.tier,
        cache=table.cache,
        sampling=table.sampling,
        extra_body=table.extra_body,
        idempotent=table.idempotent,
        ssl=_tls_context(table.ca_file),
    )


def _make_openhands(table: OpenHandsSettings, settings: Config) -> Agent:
    return OpenHandsAgent(
        **_connection_options(table, settings),
        profile=table.profile,
        tools=table.tools,
        workspace=table.workspace,
        confirm=table.confirm,
        keep_conversations=table.conversations == "keep",
        max_sessions=table.max_sessions,
        idempotent=table.idempotent,
    )


def _make_zeroclaw(table: ZeroClawSettings, settings: Config) -> Agent:
    connection = _connection_options(table, settings)
    if table.mode == "chat":
        return make_zeroclaw_chat(**connection, agent=table.agent, idempotent=table.idempotent)
    return ZeroClawAgent(
        **connection, agent=table.agent, approvals=table.approvals, max_sessions=table.max_sessions
    )


def _make_docker(table: DockerAgentSettings, settings: Config) -> Agent:
    options = {**_connection_options(table, settings), "agent": table.agent, "idempotent": table.idempotent}
    if table.mode == "chat":
        return make_docker_chat(**options, keep_conversations=table.conversations)
    return DockerApiAgent(**options, team=table.team, max_sessions=table.max_sessions)


def _connection_options(
    table: OpenAISettings | AnthropicSettings | SessionSettings,
    settings: Config,
) -> dict[str, Any]:
    """Return the address of a server, its key and its TLS context."""
    return {
        "url": table.url,
        "key": settings.get_secret(table.key_env) if table.key_env else None,
        "ssl": _tls_context(table.ca_file),
    }


def _tls_context(file: Path | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=file) if file else None
