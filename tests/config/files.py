"""Configuration texts and their loading; the tests of the configuration share them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from voicegw.config.agent_kinds import AGENT_SETTINGS
from voicegw.config.load import ConfigError, load
from voicegw.config.root import Config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
SECRET = "a-secret-that-no-message-may-show"
ENVIRON = {
    name: f"{SECRET}-{name}"
    for name in (
        "VOICEGW_ELEVENLABS_KEY",
        "VOICEGW_VAPI_KEY",
        "ELEVENLABS_API_KEY",
        "VOICEGW_INTERN_KEY",
        "VOICEGW_CHAT_KEY",
        "MODEL_API_KEY",
        "OPENAI_API_KEY",
        "TWILIO_AUTH_TOKEN",
        "TELNYX_TOKEN",
        "RETELL_SECRET",
        "RETELL_API_KEY",
        "HERMES_KEY",
        "ZEROCLAW_TOKEN",
        "DOCKER_AGENT_KEY",
        "OPENHANDS_KEY",
        "ANTHROPIC_API_KEY",
        "BEDROCK_KEY",
    )
}
KINDS = ", ".join(f'"{kind}"' for kind in AGENT_SETTINGS)
DESK = '[agents.desk]\nkind = "scripted"\n'
MODEL = '[agents.m]\nkind = "openai"\nurl = "http://127.0.0.1:1/v1"\n'
HASH = "sha256:" + "ab" * 32
URL_PROBLEM = 'must be an address such as "https://voice.example.com", without a path'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "voicegw.toml"


def load_problems(file: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Load an invalid file, and return its error messages without the file name in front."""
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


def load_text(file: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    file.write_text(text, "utf-8")
    return load(file, environ or {})
