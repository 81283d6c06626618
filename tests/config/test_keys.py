"""Configuration keys say their unit, and a key's former name leads to the new one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voicegw.config.load import ConfigError, load, schema
from voicegw.settings.problems import RENAMED

UNITS = re.compile(r"\b(seconds?|bytes|characters|tokens|levels|number of|attempts|port\b)", re.IGNORECASE)
SECTIONS = {
    "[server]": {"drain"},
    "[limits]": {"body_bytes", "header_bytes", "messages", "depth"},
    "[turns]": {"grace", "reuse", "stop_within"},
    "[calls]": {"most"},
    "[speech]": {"hold", "hold_for"},
    '[agents.a]\nkind = "hermes"\nurl = "http://127.0.0.1:1"': {"repeatable", "tries", "most_sessions"},
    "[realtime]": {"pace"},
}


def numbers() -> Iterator[tuple[str, str]]:
    """Every key of the file that holds a number, with its description."""
    for section, table in schema()["$defs"].items():
        for name, key in table["properties"].items():
            kinds = {kind.get("type") for kind in [key, *key.get("anyOf", ())]}
            if kinds & {"integer", "number"}:
                yield f"{section}.{name}", key["description"]


@pytest.mark.parametrize(("key", "description"), [*numbers()])
def test_a_number_says_its_unit(key: str, description: str) -> None:
    assert UNITS.search(description), f"{key}: {description}"


@pytest.mark.parametrize(
    ("section", "old"), [(section, old) for section, keys in SECTIONS.items() for old in sorted(keys)]
)
def test_a_former_key_is_an_error_that_names_the_new_one(section: str, old: str, tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    agents = "" if "agents" in section else '\n[agents.a]\nkind = "scripted"'
    file.write_text(f"{section}\n{old} = 1{agents}\n", "utf-8")
    with pytest.raises(ConfigError, match=rf'{old}: unknown key; did you mean "{RENAMED[old]}"\?'):
        load(file, {})


def test_every_former_key_is_tried() -> None:
    tried: set[Any] = set().union(*SECTIONS.values())
    assert tried == RENAMED.keys()
