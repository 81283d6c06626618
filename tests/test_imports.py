"""Imports point one way, integrations do not import each other, pure modules stay pure (tests/layers.py)."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import layers
from tests.layers import LAYERS, NARROW, PACKAGE, SHARED

MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
}
PURE = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in layers.pure_modules()}
MAX_MODULES = {"simulate": 19, "asgi": 17}
"""The maximum of modules in a folder where it is not 16."""
ROOT_MODULES = {"__init__", "__main__", "cli", "errors", "events", "server"}
CLOCKS_AND_IO = {"asyncio", "time", "datetime", "socket", "threading", "logging", "os", "random"}
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
    "fastapi": r"app\..*|api\.routes",
    "starlette": r"(app|api|asgi|calls|platforms)\..*|server|serving\.reload|security\.authenticator",
    "uvicorn": r"serving\..*|asgi\.(http_protocol|websocket_protocol|request_reader|chunk_writer)",
    "sse_starlette": r"api\.sse",
    "httptools": r"agents\.client\.connection",
    "uvloop": r"serving\.process",
    "babel": r"speech\.spelling\.cldr",
    "unicode_rbnf": r"speech\.spelling\.cldr",
    "pydantic": r".*\.settings|settings\..*|config\..*|simulate\.script",
    "websockets": r"agents\.client\.(websocket|frame_queue)|simulate\.websocket|asgi\.websocket_protocol",
    "prometheus_client": r"telemetry\..*|serving\..*",
}
"""Where a library may be imported: a pattern for the module's name below `voicegw`."""


TESTS = Path(__file__).parent
MIRRORED = {"agents", "api", "asgi", "calls", "config", "conversations", "platforms", "turns", "telemetry"}
TESTED_IN: Mapping[str, str] = {
    "events.py": "agents/python/test_agent.py",
    "speech/*.py": "speech/test_corpus.py",
    "speech/*/*.py": "speech/test_corpus.py",
    "agents/*/settings.py": "config/test_load.py",
    "agents/openai/text_template.py": "agents/openai/test_stream_decoder.py",
    "agents/scripted/tool_arguments.py": "agents/scripted/test_receptionist.py",
    "api/formats.py": "api/test_responses.py",
    "api/openapi.py": "api/test_routes.py",
    "api/run_waiter.py": "api/test_endpoint.py",
    "api/turn_answer.py": "api/test_endpoint.py",
    "api/turn_request.py": "api/test_endpoint.py",
    "asgi/body.py": "api/test_endpoint.py",
    "asgi/context.py": "asgi/test_middleware.py",
    "asgi/error_response.py": "api/test_endpoint.py",
    "asgi/webhook.py": "platforms/twilio/test_webhooks.py",
    "calls/caller_input.py": "calls/test_interruptions.py",
    "calls/codec.py": "platforms/conversation_relay/test_codec.py",
    "calls/endpoint.py": "calls/test_server.py",
    "calls/silence_timer.py": "calls/test_interruptions.py",
    "config/*.py": "config/test_load.py",
    "conversations/engine.py": "calls/test_profile.py",
    "platforms/twilio/form.py": "platforms/twilio/test_webhooks.py",
    "platforms/context.py": "app/test_platforms.py",
    "platforms/registry.py": "app/test_platforms.py",
    "platforms/*/endpoint.py": "app/test_platforms.py",
    "platforms/*/settings.py": "platforms/test_settings.py",
    "telemetry/metrics.py": "telemetry/test_turn_log.py",
    "wire/openai.py": "api/test_chat_request.py",
}
"""Modules whose tests are in another file than their own, because they work only together."""


def layer_of(module: str) -> str:
    """Return the second part of the name: `voicegw.wire.sse` is in `wire`."""
    return module.split(".")[1]


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


def imported_own_names(module: str) -> set[str]:
    """Return the modules and names of voicegw that a module imports, without `voicegw` itself."""
    return {name for name in imported_names(MODULES[module]) if name.startswith("voicegw.")}


ENVIRONMENT = {"voicegw.config.load", "voicegw.telemetry.shared_metrics", "voicegw.cli"}
INNER = [module for module in MODULES if not module.endswith("__init__")]


@pytest.mark.parametrize("module", INNER)
def test_imports_point_one_way(module: str) -> None:
    here = layer_of(module)
    for name in imported_own_names(module):
        there = layer_of(name)
        if there in (here, "__version__"):
            continue
        assert there in LAYERS[here], f"{module} imports {name}"
        narrow = NARROW.get((here, there))
        rest = name.removeprefix(f"voicegw.{there}").removeprefix(".")
        if narrow and rest:
            parts = [part for part in narrow if (rest + ".").startswith(part + ".") or part.startswith(rest)]
            assert parts, (
                f"{module} imports {name}; of {there} it may import only {', '.join(sorted(narrow))}"
            )


def test_no_layer_imports_from_above() -> None:
    """The table has no cycle: each folder names only folders above it in the table."""
    seen: set[str] = set()
    for name, below in LAYERS.items():
        assert below <= seen, (
            f"{name} may import {', '.join(sorted(below - seen))}, which comes later in LAYERS"
        )
        seen.add(name)
    assert {layer_of(module) for module in INNER} == seen


@pytest.mark.parametrize("module", [name for name in INNER if layer_of(name) in SHARED])
def test_integrations_do_not_import_each_other(module: str) -> None:
    top = layer_of(module)
    parts = module.split(".")
    if len(parts) < 4:  # the registry and the modules that all integrations share
        return
    for name in imported_own_names(module):
        there = name.split(".")
        if there[1] == top and len(there) > 2:
            assert there[2] in {parts[2], *SHARED[top]}, f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_import_no_clock_no_io_and_no_framework(module: str) -> None:
    tops = {name.split(".")[0] for name in imported_names(MODULES[module])}
    assert not tops & (CLOCKS_AND_IO | FRAMEWORKS)


def test_a_pattern_for_pure_modules_without_a_module_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "PURE_PATTERNS", (*layers.PURE_PATTERNS, "turns/gone.py"))
    with pytest.raises(LookupError, match=r"turns/gone\.py"):
        layers.pure_modules()


@pytest.mark.parametrize("module", MODULES)
def test_libraries_are_imported_only_where_listed(module: str) -> None:
    for name in imported_names(MODULES[module]):
        pattern = LIBRARIES.get(name.split(".")[0])
        assert pattern is None or re.fullmatch(pattern, module.removeprefix("voicegw.")), (
            f"{module} imports {name}"
        )


@pytest.mark.parametrize("module", sorted({*INNER} - ENVIRONMENT))
def test_only_config_load_and_the_command_line_read_the_environment(module: str) -> None:
    text = MODULES[module].read_text("utf-8")
    assert not re.search(r"\benviron\b|getenv", text)


def test_the_root_holds_six_files_and_folders_stay_small() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == ROOT_MODULES
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            modules = len([*path.parent.glob("*.py")]) - 1
            assert modules <= MAX_MODULES.get(path.parent.name, 16), f"{path.parent} has {modules} modules"


@pytest.mark.parametrize("module", [name for name in INNER if name in PURE or layer_of(name) in MIRRORED])
def test_every_module_has_its_test_file(module: str) -> None:
    path = MODULES[module].relative_to(PACKAGE)
    elsewhere = next((file for pattern, file in TESTED_IN.items() if path.match(pattern)), None)
    wanted = TESTS / (elsewhere or path.with_name(f"test_{path.name}"))
    assert wanted.exists(), f"{wanted} is missing"


@pytest.mark.parametrize("pattern", TESTED_IN)
def test_every_exception_names_an_existing_module(pattern: str) -> None:
    assert any(path.relative_to(PACKAGE).match(pattern) for path in MODULES.values())
