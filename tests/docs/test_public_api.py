"""The stable Python API: the list on docs/python-agents.md is that of the modules."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.test_pages import page
from voicegw import app, events
from voicegw.config.load import load
from voicegw.errors import ConfigError

SECTION = "## The stable Python API"


def listed_names(module: str) -> list[str]:
    """Return the names in the page's table about a module."""
    _, _, section = page("python-agents").partition(f"{SECTION}\n")
    _, _, table = section.partition(f"### `{module}`\n")
    return re.findall(r"^\| `(\w+)` \|", table.partition("\n### ")[0], re.M)


def test_the_page_says_since_when_the_api_is_stable() -> None:
    assert "stable from 0.1.0 on" in page("python-agents").partition(SECTION)[2]


@pytest.mark.parametrize("module", ["voicegw.events", "voicegw.app"])
def test_the_page_lists_the_names_of_the_module(module: str) -> None:
    names = import_module(module).__all__
    assert sorted(listed_names(module)) == sorted(names)
    assert all(hasattr(import_module(module), name) for name in names)


def test_events_exports_every_public_name_that_it_defines() -> None:
    tree = ast.parse(Path(events.__file__).read_text("utf-8"))
    definitions = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    aliases = [ast.unparse(node.target) for node in tree.body if isinstance(node, ast.AnnAssign)]
    assert sorted(events.__all__) == sorted(definitions + aliases)


def test_create_app_takes_a_loaded_configuration(tmp_path: Path) -> None:
    file = tmp_path / "voicegw.toml"
    file.write_text('[agents.desk]\nkind = "scripted"\n', "utf-8")
    assert callable(app.create_app(load(file, {})))
    file.write_text('[agents.desk]\nkind = "python"\ntarget = "no_such_module:reply"\n', "utf-8")
    with pytest.raises(ConfigError, match="no_such_module"):
        app.create_app(load(file, {}))
