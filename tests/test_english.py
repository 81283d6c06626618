"""Docstrings, comments, messages and documentation use plain English: no riddles (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
CODE = [
    path
    for folder in ("voicegw", "loadtests", "tests", "configs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
EXEMPT = {"CHANGELOG.md", "CONTRIBUTING.md", "tests/test_english.py"}
"""The history, and the files that list the words."""
SPOKEN = {
    "voicegw/turns/phrases.py",
    "voicegw/agents/openhands/confirmation.py",
    "voicegw/agents/scripted/receptionist.py",
}
"""Their strings are said to callers, or are words of callers; docstrings and comments count."""
TAGLINE = "with nobody waiting in silence"

BANNED = re.compile(
    r"\b(whoever|whatever|of ours|of yours|let go|lets go|told of|tells of|heard of|is to be|are to be"
    r"|of its own|nothing of|who is not|the like|so that nobody|for good|at it|in peace)\b",
    re.IGNORECASE,
)
SUBJECT = re.compile(r"(?:^|[.:;!?]\s+)(?:What|Who)\b[^.?]*(?:[.]|$)")
"""A sentence with "what" or "who" as its subject: it has no question mark."""


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str, ast.AST]]:
    """The docstrings of a module, of classes and functions, and below assignments."""
    for node in ast.walk(tree):
        for child in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            value = getattr(child, "value", None) if isinstance(child, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                first = node.body[0] is child  # type: ignore[attr-defined]
                yield child.lineno, value.value, node if first else child


def comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(type:|noqa|pragma)", token.string):
            yield token.start[0], token.string.lstrip("# ")


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The string literals: messages, help texts, descriptions."""
    documented = {line for line, _, _ in docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno not in documented:
            yield node.lineno, node.value


def is_predicate(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
        "bool" in (ast.unparse(node.returns) if node.returns else "")
    )


def riddles(path: Path) -> Iterator[str]:
    """Every place of a Python file whose words are not plain."""
    name = str(path.relative_to(ROOT))
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    said = [*((line, doc) for line, doc, _ in docstrings(tree)), *comments(text)]
    for line, words in said:
        if found := BANNED.search(words) or SUBJECT.search(" ".join(words.split())):
            yield f"{name}:{line}: {found[0].strip()[:80]}"
    for line, doc, node in docstrings(tree):
        first, _, more = doc.strip().partition("\n")
        attribute = not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if first.endswith("?") and not attribute and (more.strip() or not is_predicate(node)):
            yield f"{name}:{line}: a question: {first[:80]}"
    if name not in SPOKEN and not name.startswith("tests/"):
        for line, words in strings(tree):
            if found := BANNED.search(words):
                yield f"{name}:{line}: {found[0]} in {words.strip()[:80]!r}"


@pytest.mark.parametrize(
    "path", [path for path in CODE if str(path.relative_to(ROOT)) not in EXEMPT], ids=lambda path: str(path)
)
def test_code_speaks_plainly(path: Path) -> None:
    assert not [*riddles(path)]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in EXEMPT], ids=lambda page: page.name
)
def test_pages_speak_plainly(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL).replace(TAGLINE, "")
    assert not [found[0] for found in BANNED.finditer(" ".join(text.split()))]


if __name__ == "__main__":
    import sys

    for given in sys.argv[1:] or ("voicegw",):
        found = (ROOT / given).rglob("*.py") if (ROOT / given).is_dir() else [ROOT / given]
        for path in sorted(found):
            for riddle in riddles(path):
                print(riddle)
