"""docs/clients.md is true: its programs run, its configuration loads, and its versions are those tested."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.clients.test_ai_sdk import FOLDER, NEEDS_AI_SDK
from tests.e2e.server import TIMEOUT, Server
from voicegw.config.load import load

pytestmark = pytest.mark.wire

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text("utf-8")
LOCK = json.loads((FOLDER / "package-lock.json").read_text("utf-8"))["packages"]


def blocks(language: str) -> list[str]:
    """Return the code blocks of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def for_server(program: str, server: Server) -> str:
    """Return a program of the page that asks this server."""
    return program.replace("http://127.0.0.1:8080", server.url)


@pytest.mark.parametrize("program", blocks("python"))
def test_python_program_prints_the_answer(
    gateway: Server, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(for_server(program, gateway), "clients.md", "exec"), {})
    assert "We are open" in capsys.readouterr().out


@NEEDS_AI_SDK
def test_javascript_program_prints_the_answer(gateway: Server) -> None:
    [program] = blocks("js")
    client = subprocess.run(
        ["node", "--input-type=module", "-"],
        cwd=FOLDER,
        input=for_server(program, gateway),
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
        check=False,
    )
    assert (client.returncode, client.stderr) == (0, "")
    assert "We are open" in client.stdout


def test_configuration_loads(tmp_path: Path) -> None:
    [text] = blocks("toml")
    file = tmp_path / "voicegw.toml"
    file.write_text(text, "utf-8")
    config = load(file, {"VOICEGW_PROGRAM_KEY": "vgw_program"})
    assert (config.keys["program"].dialect, config.turns.on_failure) == ("chat", "status")


def test_versions_are_the_tested_ones() -> None:
    rows = re.findall(r"^\| `([^`]+)`[^|]*\| (\d[\d.]+) \|", PAGE, re.M)
    assert [name for name, _ in rows] == [
        *("openai", "langchain-openai", "openai-agents"),
        *("ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible"),
    ]
    assert rows == [(name, locked_version(name)) for name, _ in rows]


def locked_version(name: str) -> str:
    """Return the version of an installed Python package, or of a JavaScript package in the lock file."""
    try:
        return version(name)
    except PackageNotFoundError:
        found: str = LOCK[f"node_modules/{name}"]["version"]
        return found


def test_lock_file_has_hashes_and_names_no_registry() -> None:
    packages = [package for path, package in LOCK.items() if path]
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert not any("resolved" in package for package in packages)
