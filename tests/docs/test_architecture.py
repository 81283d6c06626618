"""ARCHITECTURE.md is true: its table quotes the folders, and every file and name in it exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "voicegw"
TEXT = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
MAX_LINES = 150


def folders() -> list[str]:
    """Return the rows of the table: each folder of the package with the first line of its docstring."""
    rows = []
    for path in sorted(PACKAGE.glob("*/__init__.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        assert docstring, f"{path} has no docstring"
        rows.append(f"| `{path.parent.name}/` | {docstring.splitlines()[0]} |")
    return rows


def names() -> set[str]:
    """Return the names of all classes, functions and methods of the package."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.add(node.name)
                found |= {f"{node.name}.{method.name}" for method in node.body if hasattr(method, "name")}
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
    return found


def test_table_quotes_the_docstring_of_every_folder() -> None:
    [table] = re.findall(r"<!-- folders -->\n(.*?)<!-- /folders -->", TEXT, re.DOTALL)
    assert table.splitlines() == folders()


def test_files_exist() -> None:
    for name in re.findall(r"`?\b([a-z_]+/[a-z_/]+\.py)\b", TEXT):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


def test_classes_and_methods_exist() -> None:
    known = names()
    classes = {name for name in known if "." not in name}
    for name in re.findall(r"\b([A-Z][A-Za-z]+\.[a-z_]+)\b(?!\.md)", TEXT):
        assert name in known, name
    blocks = "".join(re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL))
    for name in re.findall(r"\b([A-Z][a-z]+(?:[A-Z][A-Za-z]+)+)\b", blocks):
        assert name in classes or name == "ToolCall", name


def test_page_has_at_most_150_lines() -> None:
    assert len(TEXT.splitlines()) <= MAX_LINES
