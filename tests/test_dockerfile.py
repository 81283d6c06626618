"""The Dockerfile keeps its promises; what it runs exists and works outside of a container too."""

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


def stages(text: str) -> list[list[Step]]:
    """The instructions of each stage, continued lines joined, comments left out."""
    plain = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    steps = [tuple(line.split(None, 1)) for line in plain.splitlines() if line.strip()]
    starts = [place for place, step in enumerate(steps) if step[0] == "FROM"]
    return [steps[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]  # type: ignore[misc]


BUILD, FINAL = stages(TEXT)


def every(stage: list[Step], instruction: str) -> list[str]:
    return [argument for name, argument in stage if name == instruction]


def only(stage: list[Step], instruction: str) -> str:
    [argument] = every(stage, instruction)
    return argument


def test_both_stages_have_the_same_slim_python() -> None:
    assert only(BUILD, "FROM") == "python:3.12-slim AS build"
    assert only(FINAL, "FROM") == "python:3.12-slim"


def test_the_final_stage_runs_nothing_and_takes_only_the_environment() -> None:
    assert every(FINAL, "RUN") == []
    assert only(FINAL, "COPY") == "--from=build /opt/voicegw /opt/voicegw"


def test_nothing_is_installed_without_a_hash() -> None:
    commands = [part.strip() for run in every(BUILD, "RUN") for part in run.split("&&")]
    pips = [
        command
        for command in commands
        if re.search(r"\bpip (--python \S+ )?(install|download|wheel)", command)
    ]
    assert len(pips) == 4
    for command in pips:
        offline = {"--no-index", "--no-deps"} & set(command.split())
        assert offline or "--require-hashes" in command, command
    assert not re.search(r"apt|curl|wget|ADD", TEXT)


def test_the_tools_of_the_build_are_in_the_lock_and_not_in_what_is_run() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "\nhatchling==" in lock
    [install] = [run for run in every(BUILD, "RUN") if "/opt/voicegw" in run]
    assert install.endswith("pip --python /opt/voicegw install --no-index --find-links /wheels voicegw")
    assert "python -m venv --without-pip /opt/voicegw" in install


def test_it_runs_as_a_fixed_user_who_is_not_root() -> None:
    assert only(FINAL, "USER") == "10001:10001"
    names = [name for name, _ in FINAL]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_it_holds_no_secret() -> None:
    assert every(BUILD, "ARG") == every(FINAL, "ARG") == []
    variables = [pair.partition("=")[0] for pair in only(FINAL, "ENV").split()]
    assert variables == ["PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"]


def test_the_builder_gets_what_it_copies_and_nothing_else() -> None:
    wanted = {name for copy in every(BUILD, "COPY") for name in copy.split()[:-1]}
    first, *rules = re.sub(r"^#.*\n", "", (ROOT / ".dockerignore").read_text("utf-8"), flags=re.M).split()
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert (first, allowed) == ("*", wanted)
    assert all((ROOT / name).exists() for name in wanted)
    assert any(fnmatch("voicegw/wire/__pycache__", rule) for rule in rules)


def test_its_command_is_one_of_ours_and_needs_a_key(tmp_path: Path) -> None:
    entry, command = json.loads(only(FINAL, "ENTRYPOINT")), json.loads(only(FINAL, "CMD"))
    assert entry == ["voicegw"]
    options = cli._parser().parse_args(command)
    assert (options.config, options.host) == ("/etc/voicegw/voicegw.toml", "0.0.0.0")
    assert only(FINAL, "EXPOSE") == str(options.port)
    assert only(FINAL, "STOPSIGNAL") == "SIGTERM"
    file = tmp_path / "voicegw.toml"
    file.write_text('[agents.desk]\nkind = "scripted"\n')
    with pytest.raises(ConfigError, match="add a key first"):
        load(file, {}, server={"host": options.host})
    assert " ".join([*entry, *command]) in (ROOT / "docs" / "deploy.md").read_text("utf-8")


def test_docker_waits_longer_than_turns_may_take_to_end() -> None:
    [seconds] = re.findall(r"--stop-timeout (\d+)", (ROOT / "docs" / "deploy.md").read_text("utf-8"))
    assert int(seconds) >= Config.demo().server.shutdown_grace + 5


@pytest.mark.wire
def test_the_health_check_tells_a_gateway_from_a_closed_port() -> None:
    options, _, command = only(FINAL, "HEALTHCHECK").partition(" CMD ")
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
