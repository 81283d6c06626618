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
from voicegw.errors import ConfigError
from voicegw.events import Message, Turn

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


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize(
    ("kind", "keys"), [(kind, keys) for kind in CASES for keys, _ in CASES[kind] if "warm = true" not in keys]
)
async def test_agent_that_sends_turns_by_http_knows_whether_it_is_idempotent(
    kind: str, keys: str, idempotent: bool, tmp_path: Path
) -> None:
    if kind in ("scripted", "python") or "instructions" in keys or (kind, keys) == ("zeroclaw", URL):
        return
    file = tmp_path / "voicegw.toml"
    file.write_text(
        f'[agents.desk]\nkind = "{kind}"\n{keys}idempotent = {str(idempotent).lower()}\n', "utf-8"
    )
    config = load(file, {"KEY": SECRET})
    agent: Any = make_agent(config.agents["desk"], config)
    if kind == "openhands":
        assert agent._server.idempotent is idempotent
    else:
        owner = agent._endpoint if isinstance(agent, OpenAIAgent) else agent
        assert owner._idempotent is idempotent
    await agent.aclose()


async def test_options_of_a_server_reach_its_requests(tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    file.write_text(
        f'[agents.desk]\nkind = "openai"\n{URL}developer_role = "developer"\n'
        'max_tokens_field = "max_completion_tokens"\nextra_body = { top_k = 20 }\n',
        "utf-8",
    )
    config = load(file, {"KEY": SECRET})
    agent: Any = make_agent(config.agents["desk"], config)
    turn = Turn("t1", (Message("developer", "Be kind"), Message("user", "Hi")), options={"max_tokens": 5})
    body = agent._request_body(turn, None)
    assert (body["top_k"], body["max_completion_tokens"], body["messages"][0]["role"]) == (20, 5, "developer")
    await agent.aclose()


@pytest.mark.parametrize("name", ["messages", "model", "stream", "tools", "tool_choice", "n"])
def test_extra_body_does_not_replace_fields_of_the_gateway(name: str, tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    file.write_text(f'[agents.desk]\nkind = "openai"\n{URL}extra_body = {{ {name} = 1 }}\n', "utf-8")
    with pytest.raises(ConfigError, match=rf'agents.desk.extra_body: must not hold "{name}"'):
        load(file, {"KEY": SECRET})


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
