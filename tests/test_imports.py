"""Imports point one way, and the pure modules stay pure."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "voicegw"
MODULES = {
    ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts): path
    for path in HOUSE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
}
RANKS = [
    {"events", "errors", "phrases", "dialects", "patience"},
    {
        "ack",
        "speech",
        "trace",
        "guard",
        "wire",
        "identity",
        "unsaid",
        "ledger",
        "actions",
        "checkup",
        "remedies",
    },
    {"listener", "fields", "problems", "overhear"},
    {"starter", "run", "speaking", "agent_tables", "model_tables", "session_tables", "call_tables", "agents"},
    {"tables", "rehearsal", "kinds"},
    {"calls"},
    {"switchboard", "journal", "pulse", "config"},
    {"surfaces"},
    {"lines", "makers", "desks"},
    {"app", "doctor"},
    {"server"},
    {"cli"},
]
"""From the bottom up: a module imports from its own rank or lower ones."""
PURE = {
    "events",
    "errors",
    "phrases",
    "dialects",
    "ack",
    "speech",
    "trace",
    "guard",
    "identity",
    "actions",
    "checkup",
    "remedies",
    "ledger",
    "listener",
    "patience",
    "unsaid",
    "wire",
}
IMPURE = {"asyncio", "time", "datetime", "socket", "threading", "logging", "os", "random"}
FRAMEWORKS = {
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "pydantic",
    "websockets",
    "sse_starlette",
}
LIBRARIES = {
    "fastapi": {"app", "surfaces"},
    "starlette": {"app", "desks", "server", "surfaces"},
    "uvicorn": {"server", "surfaces"},
    "sse_starlette": {"surfaces"},
    "httptools": {"agents"},
    "uvloop": {"server"},
    "pydantic": {
        "problems",
        "fields",
        "agent_tables",
        "model_tables",
        "session_tables",
        "call_tables",
        "tables",
        "config",
        "rehearsal",
    },
    "websockets": {"agents", "rehearsal"},
    "prometheus_client": {"journal", "server"},
}


def room(module: str) -> str:
    """The second name: `voicegw.wire.chat` is in `wire`."""
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


def rank(name: str) -> int:
    [found] = [index for index, rooms in enumerate(RANKS) if name in rooms]
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    here = room(module)
    for name in imported(MODULES[module]):
        if name.startswith("voicegw.") and room(name) in {room(known) for known in MODULES}:
            there = room(name)
            assert rank(there) <= rank(here), f"{module} imports {name}"
            assert {here, there} != {"agents", "surfaces"}, "agents and surfaces never meet"


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) in PURE])
def test_pure_modules_import_no_clock_no_io_and_no_framework(module: str) -> None:
    tops = {name.split(".")[0] for name in imported(MODULES[module])}
    assert not tops & (IMPURE | FRAMEWORKS)


@pytest.mark.parametrize("module", MODULES)
def test_libraries_are_met_in_few_rooms(module: str) -> None:
    for name in imported(MODULES[module]):
        rooms = LIBRARIES.get(name.split(".")[0])
        assert rooms is None or room(module) in rooms, f"{module} imports {name}"


@pytest.mark.parametrize(
    "module", [name for name in MODULES if room(name) not in ("config", "server", "cli")]
)
def test_only_config_and_the_command_line_read_the_environment(module: str) -> None:
    text = MODULES[module].read_text("utf-8")
    assert not re.search(r"\benviron\b|getenv", text)


def test_every_module_has_its_test_file() -> None:
    tests = Path(__file__).parent
    for module, path in MODULES.items():
        if room(module) in PURE - TOGETHER or room(module) in (
            "agents",
            "run",
            "switchboard",
            "config",
            "surfaces",
        ):
            wanted = tests / path.relative_to(HOUSE).with_name(f"test_{path.name}")
            assert wanted.exists() or path.name in COVERED_ELSEWHERE, f"{wanted} is missing"


COVERED_ELSEWHERE = {
    "events.py",
    "phone.py",
    "toolcalls.py",
    "openapi.py",
    "intake.py",
    "order.py",
    "form.py",
}
"""Types alone; arguments that the receptionist's tests make; what the surface's tests go through."""
TOGETHER = {"speech"}
"""The rules of the speech machine make sense together only: a corpus and properties test them as one."""
