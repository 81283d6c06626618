"""Every table becomes the agent that it describes, with its secrets from the environment, and none shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voicegw.agents.anthropic.agent import Anthropic
from voicegw.agents.bedrock.agent import Bedrock
from voicegw.agents.docker.agent import DockerApi
from voicegw.agents.hermes.agent import Hermes
from voicegw.agents.openai.agent import OpenAI
from voicegw.agents.openhands.agent import OpenHands
from voicegw.agents.prompt_cache import Primed
from voicegw.agents.scripted.agent import Scripted
from voicegw.agents.zeroclaw.agent import ZeroClaw
from voicegw.app.agents import make_agent
from voicegw.config.agent_kinds import KINDS
from voicegw.config.load import load

URL = 'url = "http://127.0.0.1:1"\nkey_env = "KEY"\n'
SECRET = "s3cret-of-this-test"
MADE: dict[str, list[tuple[str, type[Any]]]] = {
    "scripted": [("", Scripted)],
    "openai": [(URL, OpenAI), (URL + 'model = "m"\nwarm = true\n', Primed)],
    "anthropic": [
        ('model = "m"\nkey_env = "KEY"\n', Anthropic),
        ('model = "m"\nkey_env = "KEY"\ninstructions = "Be brief."\n', Primed),
    ],
    "bedrock": [
        ('region = "eu-west-1"\nmodel = "m"\nkey_env = "KEY"\n', Bedrock),
        (
            'region = "eu-west-1"\nmodel = "m"\naccess_key_env = "KEY"\nsecret_key_env = "KEY"\n'
            'session_token_env = "KEY"\nlatency = "optimized"\ntier = "priority"\ncache = ["system"]\n',
            Bedrock,
        ),
        ('region = "eu-west-1"\nmodel = "m"\nkey_env = "KEY"\nwarm = true\n', Primed),
    ],
    "openhands": [
        (URL, OpenHands),
        (URL + 'profile = "voice"\ntools = ["terminal"]\nworkspace = "/tmp"\nconfirm = "deny"\n', OpenHands),
    ],
    "hermes": [(URL, Hermes), (URL + 'mode = "chat"\nmodel = "m"\nwarm = false\n', Hermes)],
    "zeroclaw": [(URL, ZeroClaw), (URL + 'mode = "chat"\n', OpenAI)],
    "docker-agent": [(URL, OpenAI), (URL + 'mode = "api"\nteam = "t"\nagent = "a"\n', DockerApi)],
    "python": [('target = "tests.app.test_agents:reply"\n', object)],
}


async def reply(turn: Any) -> Any:
    yield "Hi."


def test_every_kind_is_tried() -> None:
    assert set(MADE) == set(KINDS)


@pytest.mark.parametrize(("kind", "rest", "made"), [(kind, *case) for kind in MADE for case in MADE[kind]])
async def test_a_table_becomes_its_agent(kind: str, rest: str, made: type[Any], tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    file.write_text(f'[agents.desk]\nkind = "{kind}"\n{rest}', "utf-8")
    config = load(file, {"KEY": SECRET})
    agent = make_agent(config.agents["desk"], config)
    assert isinstance(agent, made)
    assert SECRET not in repr(config)
    for method in ("reply", "warm", "leave", "aclose"):
        assert callable(getattr(agent, method))
    await agent.aclose()


@pytest.mark.parametrize("kind", ["openai", "anthropic", "openhands", "hermes", "zeroclaw", "docker-agent"])
async def test_own_certificates_are_trusted_or_missed_at_start(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    (tmp_path / "ca.pem").write_text("no certificate", "utf-8")
    table = 'url = "https://127.0.0.1:1"\nca_file = "ca.pem"\n' + (
        'model = "m"\n' if kind == "anthropic" else ""
    )
    file.write_text(f'[agents.desk]\nkind = "{kind}"\n{table}', "utf-8")
    config = load(file, {})
    with pytest.raises(OSError, match=r"certificate|SSL"):
        make_agent(config.agents["desk"], config)
