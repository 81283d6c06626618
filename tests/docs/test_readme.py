"""README and the first pages are true: commands run, streams and snippets are real, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_lint import lint

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FIRST_MINUTE = (ROOT / "docs" / "first-minute.md").read_text("utf-8")
PAGES = [*ROOT.glob("*.md"), ROOT / "docs" / "README.md", ROOT / "docs" / "first-minute.md"]


def blocks(language: str, page: str = README) -> list[str]:
    """Return the code blocks of this language in a Markdown text."""
    return [text for name, text in re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL) if name == language]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Start `voicegw serve` as the page shows it, except for the port, and give the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    command = [sys.executable, "-m", "voicegw", "serve", "--port", str(number)]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    greeting = ""
    for line in server.stderr:
        greeting += line
        if "curl" in line:
            break
    try:
        curl = next(text for text in blocks("sh", FIRST_MINUTE) if text.startswith("curl")).strip()
        assert curl.replace(":8080", f":{number}") in greeting, "the page shows the command that serve prints"
        yield number
    finally:
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
        server.stderr.close()
        assert server.wait(30) in (0, -signal.SIGTERM)


def normalize(event: str) -> Any:
    """Return an event without its ID and time, which differ from run to run."""
    if not event.startswith("data: {"):
        return event
    chunk = json.loads(event[6:])
    return {**chunk, "id": "", "created": 0}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_command_streams_the_events_of_the_page(port: int) -> None:
    curl = next(text for text in blocks("sh", FIRST_MINUTE) if text.startswith("curl"))
    command = shlex.split(curl.replace(":8080", f":{port}"))
    retry = ["--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--silent"]
    streamed = subprocess.run([*command, *retry], capture_output=True, check=True, timeout=60).stdout
    lint(streamed)
    [text] = blocks("text", FIRST_MINUTE)
    before, after = (part.strip().split("\n\n") for part in text.split("\n...\n"))
    events = streamed.decode().strip().split("\n\n")
    assert [normalize(event) for event in events[: len(before)]] == [normalize(event) for event in before]
    assert [normalize(event) for event in events[-len(after) :]] == [normalize(event) for event in after]


def test_two_commands_of_the_readme_work(port: int) -> None:
    """`make serve` exists, and the simulated call passes against what it serves."""
    serve, simulate = blocks("sh")[0].splitlines()
    assert serve.startswith("make serve ")
    assert re.search(r"^serve:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    program, *arguments = shlex.split(simulate.replace(":8080", f":{port}"), comments=True)
    assert program == ".venv/bin/voicegw"
    process = subprocess.run(
        [sys.executable, "-m", "voicegw", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_commands_of_contributing_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = re.findall(r"^make ([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command


def test_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def test_python_agent_of_the_readme_answers(tmp_path: Path) -> None:
    [file], [agent] = blocks("toml"), blocks("python")
    (tmp_path / "voicegw.toml").write_text(file, "utf-8")
    (tmp_path / "my_agent.py").write_text(agent, "utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", "voicegw", "check", "voicegw.toml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "concierge, model" in checked.stdout
    script = (
        "import asyncio; from voicegw import Message, Turn; from my_agent import reply\n"
        "async def main():\n"
        "    async for event in reply(Turn('t', (Message('user', 'Hello'),))): print(event)\n"
        "asyncio.run(main())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert answer.stdout == "You said: Hello\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target
