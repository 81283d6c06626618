"""Sample files, docs/configuration.md and the JSON schema match the settings."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.config.files import CONFIGS, DESK, ENVIRON, ROOT, load_text
from voicegw.agents.python.settings import PythonSettings
from voicegw.config.agent_kinds import AGENT_SETTINGS
from voicegw.config.load import build_schema, load
from voicegw.config.root import SECTIONS
from voicegw.events import Message, Turn
from voicegw.settings.agent import AgentSettings
from voicegw.settings.fields import Dialect
from voicegw.turns.dialects import DIALECTS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_sample_file_loads(path: Path) -> None:
    config = load(path, ENVIRON)
    assert config.agents
    assert load(path, ENVIRON) == config


async def test_sample_python_agent_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(ROOT / "configs" / "python-agent.toml", {})
    agent = config.agents[config.default_agent]
    assert isinstance(agent, PythonSettings)
    monkeypatch.syspath_prepend(str(config.folder))
    module, _, name = agent.target.partition(":")
    reply = getattr(importlib.import_module(module), name)
    turn = Turn("1", (Message("user", "What is the day?"),))
    assert [event async for event in reply(turn, **agent.options)] == [
        "Thank you for asking. ",
        "Ask me for the time.",
    ]


def test_documentation_names_all_sample_files() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    named = set(re.findall(r"configs/([\w-]+\.toml)", text))
    assert named == {path.name for path in CONFIGS}
    assert len(CONFIGS) >= 12


def test_setting_accepts_exactly_the_existing_dialects() -> None:
    assert set(get_args(Dialect)) == set(DIALECTS)


def section_rows(table: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return default and description of every key of a section in the schema, without subsections."""
    return {
        name: (
            json.dumps(key["default"])
            if "default" in key
            else "required"
            if name in table.get("required", ())
            else "unset",
            key["description"],
        )
        for name, key in table["properties"].items()
        if "$ref" not in key
    }


def schema_rows() -> dict[str, dict[str, tuple[str, str]]]:
    """Return every key of the schema by the heading under which it is documented."""
    tables = {name: section_rows(table) for name, table in build_schema()["$defs"].items()}
    kinds = {name: tables[kind.__name__] for name, kind in AGENT_SETTINGS.items()}
    shared = set(section_rows(AgentSettings.model_json_schema()))
    early, late = tables["EarlyAckSettings"], tables["AckSettings"]
    after = f"{late['after'][0]}; {early['after'][0]} for scripted ones and those with sessions"
    return {
        **{f"[{name}]": tables[table.__name__] for name, table in SECTIONS.items()},
        "[keys.NAME]": tables["KeySettings"],
        "[agents.NAME]": {name: kinds["openai"][name] for name in shared},
        **{
            f'kind = "{kind}"': {
                name: row for name, row in rows.items() if name not in shared or row != kinds["openai"][name]
            }
            for kind, rows in kinds.items()
        },
        "[agents.NAME.ack]": late | {"after": (after, late["after"][1])},
    }


def documented_rows() -> dict[str, dict[str, tuple[str, str]]]:
    """Return default and description of every key in docs/configuration.md, by heading."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    heading = ""
    for line in (ROOT / "docs" / "configuration.md").read_text("utf-8").splitlines():
        if match := re.match(r"##+ `(.+)`$", line):
            heading = match[1]
            found[heading] = {}
        elif match := re.match(r"\| `(\w+)` \| (.+?) \| (.+) \|$", line):
            assert match[1] not in found[heading]
            found[heading][match[1]] = (match[2].replace("`", ""), match[3])
    return found


def test_documentation_lists_exactly_the_keys_of_the_schema() -> None:
    assert documented_rows() == schema_rows()


def test_examples_of_the_documentation_load(file: Path) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.S)
    assert examples
    for example in examples:
        assert load_text(file, example, ENVIRON).agents


def test_schema_describes_every_key_and_uses_no_null() -> None:
    assert "null" not in json.dumps(build_schema())
    for table in (build_schema(), *build_schema()["$defs"].values()):
        assert table["additionalProperties"] is False
        assert all("description" in key or "$ref" in key for key in table["properties"].values())


def test_defaults_of_the_schema_are_those_of_the_settings(file: Path) -> None:
    for name in SECTIONS:
        defaults = {
            key: found["default"]
            for key, found in build_schema()["$defs"][SECTIONS[name].__name__]["properties"].items()
            if "default" in found
        }
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in defaults.items())
        assert tomllib.loads(lines) == defaults
        assert load_text(file, f"[{name}]\n{lines}\n{DESK}") == load_text(file, f"[{name}]\n{DESK}")
