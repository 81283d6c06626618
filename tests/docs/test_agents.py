"""docs/agents.md: its configurations load, and it has every kind of agent that belongs there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.test_pages import blocks, page
from voicegw.app.agents import make_agent
from voicegw.config.agent_kinds import AGENT_SETTINGS
from voicegw.config.load import load

SECTIONS = set(AGENT_SETTINGS) - {"scripted", "python"}


def test_every_kind_has_a_section() -> None:
    kinds = {
        kind for block in blocks("agents", "toml") for kind in re.findall(r'^kind = "(.+)"', block, re.M)
    }
    assert kinds == SECTIONS
    linked = set(re.findall(r"agents\.md#([\w-]+)", page("configuration")))
    anchors = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", page("agents"), re.M)
    }
    assert linked <= anchors | {"agentsname"}


@pytest.mark.parametrize("block", blocks("agents", "toml"))
async def test_every_configuration_on_the_page_makes_an_agent(block: str, tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    file.write_text(block, "utf-8")
    config = load(file, dict.fromkeys(re.findall(r'"([A-Z_]+_(?:KEY|TOKEN))"', block), "s3cret"))
    for table in config.agents.values():
        await make_agent(table, config).aclose()
