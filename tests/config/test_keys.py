"""Descriptions of configuration keys state the unit, and an old key gets an error with the new one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voicegw.config.load import ConfigError, build_schema, load
from voicegw.settings.problems import RENAMED_KEYS

UNITS = re.compile(r"\b(seconds?|bytes|characters|tokens|levels|number of|attempts|port\b)", re.IGNORECASE)
SECTIONS = {
    "[server]": {"drain"},
    "[limits]": {"body_bytes", "header_bytes", "messages", "depth"},
    "[turns]": {"grace", "reuse", "stop_within"},
    "[calls]": {"most"},
    "[speech]": {"hold", "hold_for"},
    '[agents.a]\nkind = "hermes"\nurl = "http://127.0.0.1:1"': {"repeatable", "tries", "most_sessions"},
    '[agents.a]\nkind = "anthropic"\nmodel = "m"': {"fields"},
    "[realtime]": {"pace"},
}


def numeric_keys() -> Iterator[tuple[str, str]]:
    """Yield every key of the schema that holds a number, with its description."""
    for section, table in build_schema()["$defs"].items():
        for name, key in table["properties"].items():
            kinds = {kind.get("type") for kind in [key, *key.get("anyOf", ())]}
            if kinds & {"integer", "number"}:
                yield f"{section}.{name}", key["description"]


@pytest.mark.parametrize(("key", "description"), [*numeric_keys()])
def test_description_of_a_number_states_its_unit(key: str, description: str) -> None:
    assert UNITS.search(description), f"{key}: {description}"


@pytest.mark.parametrize(
    ("section", "old"), [(section, old) for section, keys in SECTIONS.items() for old in sorted(keys)]
)
def test_old_key_is_an_error_that_names_the_new_key(section: str, old: str, tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    agents = "" if "agents" in section else '\n[agents.a]\nkind = "scripted"'
    file.write_text(f"{section}\n{old} = 1{agents}\n", "utf-8")
    with pytest.raises(ConfigError, match=rf'{old}: unknown key; did you mean "{RENAMED_KEYS[old]}"\?'):
        load(file, {})


def test_all_old_keys_have_a_case() -> None:
    cases: set[Any] = set().union(*SECTIONS.values())
    assert cases == RENAMED_KEYS.keys()
