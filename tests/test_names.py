"""Names: a class name stands for one class, and limits are called `max_*` and `min_*`."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "voicegw").rglob("*.py"))
LIMIT = re.compile(
    r"(?:^|_)(most|largest|longest|deepest|hottest|least|smallest|shortest)(?:_|$)", re.IGNORECASE
)
"""Superlatives in the names of limits; the field's terms are `max_*` and `min_*`."""
MEASURED = {"longest_gap", "longest_silence"}
"""Superlatives that are measurements, such as the metric `voicegw_longest_gap_seconds`."""


def test_no_two_public_classes_share_a_name() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Every name that a module defines: functions, classes, parameters, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_of_limits_begin_with_max_or_min(path: Path) -> None:
    names = set(bound_names(ast.parse(path.read_text("utf-8")))) - MEASURED
    assert sorted(name for name in names if LIMIT.search(name)) == []
