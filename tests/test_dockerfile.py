"""The Dockerfile: hashes, user, files and command; command and health check run without a container too."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from loadtests.servers.launch import free_port, is_listening
from voicegw import cli
from voicegw.config.load import Config, ConfigError, load

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text("utf-8")
Step = tuple[str, str]
"""An instruction and its arguments."""


def stages(text: str) -> list[list[Step]]:
    """Return the instructions of each stage: continued lines joined, comments removed."""
    plain = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    steps = [tuple(line.split(None, 1)) for line in plain.splitlines() if line.strip()]
    starts = [index for index, step in enumerate(steps) if step[0] == "FROM"]
    return [steps[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]  # type: ignore[misc]


BUILD, FINAL = stages(TEXT)


def arguments_of(stage: list[Step], instruction: str) -> list[str]:
    """Return the arguments of every such instruction of a stage."""
    return [argument for name, argument in stage if name == instruction]


def argument_of(stage: list[Step], instruction: str) -> str:
    """Return the arguments of the only such instruction of a stage."""
    [argument] = arguments_of(stage, instruction)
    return argument


def test_stages_have_the_same_base_pinned_by_releases_or_by_digest() -> None:
    image, role = argument_of(BUILD, "FROM").split(" ", 1)
    assert (role, argument_of(FINAL, "FROM")) == ("AS build", image)
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", image)


def test_final_stage_runs_no_command_and_copies_only_the_environment() -> None:
    assert arguments_of(FINAL, "RUN") == []
    assert argument_of(FINAL, "COPY") == "--from=build /opt/voicegw /opt/voicegw"


def test_downloads_are_checked_against_hashes() -> None:
    commands = [part.strip() for run in arguments_of(BUILD, "RUN") for part in run.split("&&")]
    pips = [
        command
        for command in commands
        if re.search(r"\bpip (--python \S+ )?(install|download|wheel)", command)
    ]
    assert len(pips) == 4
    for command in pips:
        is_offline = {"--no-index", "--no-deps"} & set(command.split())
        assert is_offline or "--require-hashes" in command, command
    assert not re.search(r"apt|curl|wget|ADD", TEXT)


def test_build_tools_are_locked_and_not_in_the_final_environment() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "\nhatchling==" in lock
    [install] = [run for run in arguments_of(BUILD, "RUN") if "/opt/voicegw" in run]
    assert install.endswith("pip --python /opt/voicegw install --no-index --find-links /wheels voicegw")
    assert "python -m venv --without-pip /opt/voicegw" in install


def test_final_stage_runs_as_a_fixed_user_without_root() -> None:
    assert argument_of(FINAL, "USER") == "10001:10001"
    names = [name for name, _ in FINAL]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_image_has_no_build_arguments_and_no_secrets() -> None:
    assert arguments_of(BUILD, "ARG") == arguments_of(FINAL, "ARG") == []
    variables = [pair.partition("=")[0] for pair in argument_of(FINAL, "ENV").split()]
    assert variables == ["PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"]


def test_dockerignore_admits_only_the_copied_files() -> None:
    copied = {name for copy in arguments_of(BUILD, "COPY") for name in copy.split()[:-1]}
    first, *rules = re.sub(r"^#.*\n", "", (ROOT / ".dockerignore").read_text("utf-8"), flags=re.M).split()
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert (first, allowed) == ("*", copied)
    assert all((ROOT / name).exists() for name in copied)
    assert any(fnmatch("voicegw/wire/__pycache__", rule) for rule in rules)


def test_command_is_valid_and_needs_a_key(tmp_path: Path) -> None:
    entry, command = json.loads(argument_of(FINAL, "ENTRYPOINT")), json.loads(argument_of(FINAL, "CMD"))
    assert entry == ["voicegw"]
    options = cli._parser().parse_args(command)
    assert (options.config, options.host) == ("/etc/voicegw/voicegw.toml", "0.0.0.0")
    assert argument_of(FINAL, "EXPOSE") == str(options.port)
    assert argument_of(FINAL, "STOPSIGNAL") == "SIGTERM"
    file = tmp_path / "voicegw.toml"
    file.write_text('[agents.desk]\nkind = "scripted"\n')
    with pytest.raises(ConfigError, match="add a key first"):
        load(file, {}, server={"host": options.host})
    assert " ".join([*entry, *command]) in (ROOT / "docs" / "deploy.md").read_text("utf-8")


def test_stop_timeout_of_the_docs_exceeds_the_shutdown_grace() -> None:
    [seconds] = re.findall(r"--stop-timeout (\d+)", (ROOT / "docs" / "deploy.md").read_text("utf-8"))
    assert int(seconds) >= Config.demo().server.shutdown_grace + 5


@pytest.mark.wire
def test_health_check_fails_at_a_closed_port_and_passes_at_a_gateway() -> None:
    options, _, command = argument_of(FINAL, "HEALTHCHECK").partition(" CMD ")
    assert {option.split("=")[0] for option in options.split()} == {
        *("--interval", "--timeout", "--start-period", "--retries")
    }
    port = free_port()
    python, *arguments = [word.replace(":8080", f":{port}") for word in json.loads(command)]
    assert python == "python"

    def check() -> int:
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, timeout=10, check=False
        ).returncode

    assert check() == 1
    serve = [sys.executable, "-m", "voicegw", "serve", "--port", str(port)]
    gateway = subprocess.Popen(serve, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while not is_listening(port):
            assert gateway.poll() is None
        assert check() == 0
    finally:
        gateway.terminate()
        gateway.wait(10)
