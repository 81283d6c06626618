"""Each section of the configuration becomes its agent, with secrets from the environment, never displayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voicegw.agents.anthropic.agent import AnthropicAgent
from voicegw.agents.bedrock.agent import BedrockAgent
from voicegw.agents.docker.agent import DockerApiAgent
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.agents.prompt_cache import CacheWarmedAgent
from voicegw.agents.scripted.agent import ScriptedAgent
from voicegw.agents.zeroclaw.agent import ZeroClawAgent
from voicegw.app.agents import make_agent
from voicegw.config.agent_kinds import AGENT_SETTINGS
from voicegw.config.load import load

URL = 'url = "http://127.0.0.1:1"\nkey_env = "KEY"\n'
SECRET = "s3cret-of-this-test"
CASES: dict[str, list[tuple[str, type[Any]]]] = {
    "scripted": [("", ScriptedAgent)],
    "openai": [(URL, OpenAIAgent), (URL + 'model = "m"\nwarm = true\n', CacheWarmedAgent)],
    "anthropic": [
        ('model = "m"\nkey_env = "KEY"\n', AnthropicAgent),
        ('model = "m"\nkey_env = "KEY"\ninstructions = "Be brief."\n', CacheWarmedAgent),
    ],
    "bedrock": [
        ('region = "eu-west-1"\nmodel = "m"\nkey_env = "KEY"\n', BedrockAgent),
        (
            'region = "eu-west-1"\nmodel = "m"\naccess_key_env = "KEY"\nsecret_key_env = "KEY"\n'
            'session_token_env = "KEY"\nlatency = "optimized"\ntier = "priority"\ncache = ["system"]\n',
            BedrockAgent,
        ),
        ('region = "eu-west-1"\nmodel = "m"\nkey_env = "KEY"\nwarm = true\n', CacheWarmedAgent),
    ],
    "openhands": [
        (URL, OpenHandsAgent),
        (
            URL + 'profile = "voice"\ntools = ["terminal"]\nworkspace = "/tmp"\nconfirm = "deny"\n',
            OpenHandsAgent,
        ),
    ],
    "hermes": [(URL, HermesAgent), (URL + 'mode = "chat"\nmodel = "m"\nwarm = false\n', HermesAgent)],
    "zeroclaw": [(URL, ZeroClawAgent), (URL + 'mode = "chat"\n', OpenAIAgent)],
    "docker-agent": [(URL, OpenAIAgent), (URL + 'mode = "api"\nteam = "t"\nagent = "a"\n', DockerApiAgent)],
    "python": [('target = "tests.app.test_agents:reply"\n', object)],
}


async def reply(turn: Any) -> Any:
    yield "Hi."


def test_all_kinds_have_a_case() -> None:
    assert set(CASES) == set(AGENT_SETTINGS)


@pytest.mark.parametrize(
    ("kind", "keys", "agent_class"), [(kind, *case) for kind in CASES for case in CASES[kind]]
)
async def test_section_becomes_its_agent(
    kind: str, keys: str, agent_class: type[Any], tmp_path: Path
) -> None:
    file = tmp_path / "voicegw.toml"
    file.write_text(f'[agents.desk]\nkind = "{kind}"\n{keys}', "utf-8")
    config = load(file, {"KEY": SECRET})
    agent = make_agent(config.agents["desk"], config)
    assert isinstance(agent, agent_class)
    assert SECRET not in repr(config)
    for method in ("reply", "warm", "call_ended", "aclose"):
        assert callable(getattr(agent, method))
    await agent.aclose()


@pytest.mark.parametrize("kind", ["openai", "anthropic", "openhands", "hermes", "zeroclaw", "docker-agent"])
async def test_invalid_ca_file_fails_at_start(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    (tmp_path / "ca.pem").write_text("no certificate", "utf-8")
    keys = 'url = "https://127.0.0.1:1"\nca_file = "ca.pem"\n' + (
        'model = "m"\n' if kind == "anthropic" else ""
    )
    file.write_text(f'[agents.desk]\nkind = "{kind}"\n{keys}', "utf-8")
    config = load(file, {})
    with pytest.raises(OSError, match=r"certificate|SSL"):
        make_agent(config.agents["desk"], config)
