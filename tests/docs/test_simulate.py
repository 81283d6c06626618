"""docs/simulate.md documents every key, option, check and platform, and its script loads."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from tests.docs.test_pages import blocks, page
from voicegw.cli import _parser
from voicegw.settings.section import Section
from voicegw.simulate.checks import Check
from voicegw.simulate.platform import WebSocketEntry
from voicegw.simulate.platforms.registry import PLATFORMS
from voicegw.simulate.run import DEFAULT_SETUP
from voicegw.simulate.script import (
    DEFAULT_SCRIPT,
    CallScript,
    CallStep,
    ScriptTimeouts,
    ScriptTool,
    load_script,
)

SECTIONS: dict[str, type[Section]] = {
    "Scripts": CallScript,
    "`[[turns]]`": CallStep,
    "`[[tools]]`": ScriptTool,
    "`[patience]`": ScriptTimeouts,
}
NESTED_SECTIONS = {"patience", "tools", "turns"}


def table_rows(heading: str) -> list[list[str]]:
    """Return the rows of the tables below a heading, without their heads."""
    section = re.split(r"^#+ ", page("simulate"), flags=re.M)
    [found] = [part for part in section if part.split("\n", 1)[0] == heading]
    lines = [line for line in found.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def show_default(field: FieldInfo) -> str:
    """Return the default of a key, as the page shows it."""
    if field.is_required():
        return "needed"
    if field.default is None:
        return "unset"
    if isinstance(field.default, dict):
        return "no arguments"
    return f"`{json.dumps(field.default)}`"


@pytest.mark.parametrize("heading", SECTIONS)
def test_script_keys_are_documented_with_their_defaults(heading: str) -> None:
    fields = {
        name: field for name, field in SECTIONS[heading].model_fields.items() if name not in NESTED_SECTIONS
    }
    expected = [[f"`{name}`", show_default(field), field.description] for name, field in fields.items()]
    assert table_rows(heading) == expected


def checks_of(name: str) -> Sequence[Check]:
    entry = PLATFORMS[name]
    if isinstance(entry, WebSocketEntry):
        return entry.make(DEFAULT_SCRIPT, DEFAULT_SETUP, 0.0).checks
    return entry.make(DEFAULT_SCRIPT, "http://127.0.0.1", DEFAULT_SETUP).checks


def test_checks_are_documented_with_their_platforms() -> None:
    expected: dict[tuple[str, str], list[str]] = {}
    for name in PLATFORMS:
        for check in checks_of(name):
            expected.setdefault((f"`{check.item}`", check.description), []).append(name)
    documented = {(item, about): platforms for item, platforms, about in table_rows("The checklists")}
    assert {
        key: "all" if len(names) == len(PLATFORMS) else ", ".join(names) for key, names in expected.items()
    } == documented


def test_every_option_is_documented() -> None:
    documented = {
        row[0].strip("`").split()[0] for row in table_rows("Simulating calls") if row[0].startswith("`--")
    }
    [simulate] = [
        action.choices["simulate"] for action in _parser()._actions if getattr(action, "choices", None)
    ]
    known = {name for action in simulate._actions for name in action.option_strings if name.startswith("--")}
    assert documented == known - {"--help"}


def test_every_platform_has_its_command() -> None:
    lines = [shlex.split(line) for line in blocks("simulate", "sh")[0].splitlines()]
    assert [line[2] for line in lines] == list(PLATFORMS)
    for line in lines:
        assert _parser().parse_args(line[1:]).url == line[3]


def test_script_on_the_page_loads(tmp_path: Path) -> None:
    file = tmp_path / "call.toml"
    [script] = blocks("simulate", "toml")
    file.write_text(script, "utf-8")
    assert len(load_script(file).turns) == 4
