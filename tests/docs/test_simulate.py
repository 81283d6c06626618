"""The page about rehearsals says what there is: every key, every item, and scripts that load."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from tests.docs.test_pages import blocks, page
from voicegw.cli import _parser
from voicegw.settings.section import Section
from voicegw.simulate.run import CALLERS, PLATFORMS, POSTERS, DEFAULT_SETUP
from voicegw.simulate.script import DEFAULT_SCRIPT, ScriptTimeouts, CallScript, CallStep, ScriptTool, load_script

TABLES: dict[str, type[Section]] = {
    "Scripts": CallScript,
    "`[[turns]]`": CallStep,
    "`[[tools]]`": ScriptTool,
    "`[patience]`": ScriptTimeouts,
}
NESTED = {"patience", "tools", "turns"}


def rows(heading: str) -> list[list[str]]:
    """The rows of the tables below a heading, without their heads."""
    section = re.split(r"^#+ ", page("rehearsal"), flags=re.M)
    [found] = [part for part in section if part.split("\n", 1)[0] == heading]
    lines = [line for line in found.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def shown(field: FieldInfo) -> str:
    """A key's default, as the page shows it."""
    if field.is_required():
        return "needed"
    if field.default is None:
        return "unset"
    if isinstance(field.default, dict):
        return "no arguments"
    return f"`{json.dumps(field.default)}`"


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_there_with_its_default_and_no_other(heading: str) -> None:
    fields = {name: field for name, field in TABLES[heading].model_fields.items() if name not in NESTED}
    expected = [[f"`{name}`", shown(field), field.description] for name, field in fields.items()]
    assert rows(heading) == expected


def test_every_item_is_there_with_its_platforms_and_no_other() -> None:
    checks = {name: make(DEFAULT_SCRIPT, DEFAULT_SETUP).checks for name, make in CALLERS.items()}
    checks |= {name: make(DEFAULT_SCRIPT, "http://127.0.0.1", DEFAULT_SETUP).checks for name, make in POSTERS.items()}
    expected: dict[tuple[str, str], list[str]] = {}
    for name, entries in checks.items():
        for check in entries:
            expected.setdefault((f"`{check.item}`", check.description), []).append(name)
    told = {(item, about): who for item, who, about in rows("The checklists")}
    assert {
        key: "all" if len(who) == len(PLATFORMS) else ", ".join(who) for key, who in expected.items()
    } == told


def test_every_option_is_there() -> None:
    told = {row[0].strip("`").split()[0] for row in rows("Rehearsing calls") if row[0].startswith("`--")}
    [simulate] = [
        action.choices["simulate"] for action in _parser()._actions if getattr(action, "choices", None)
    ]
    known = {name for action in simulate._actions for name in action.option_strings if name.startswith("--")}
    assert told == known - {"--help"}


def test_every_platform_has_its_line() -> None:
    lines = [shlex.split(line) for line in blocks("rehearsal", "sh")[0].splitlines()]
    assert [line[2] for line in lines] == list(PLATFORMS)
    for line in lines:
        assert _parser().parse_args(line[1:]).url == line[3]


def test_the_script_on_the_page_loads(tmp_path: Path) -> None:
    file = tmp_path / "call.toml"
    [shown] = blocks("rehearsal", "toml")
    file.write_text(shown, "utf-8")
    assert len(load_script(file).turns) == 4
