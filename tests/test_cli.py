"""The command line: what it prints where, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from voicegw import __version__
from voicegw.cli import FAILED, MISUSED, OK, main
from voicegw.config.load import load
from voicegw.config.root import SECTIONS
from voicegw.security.keys import hash_secret

GOOD = '[agents.desk]\nkind = "scripted"\n\n[agents."gpt-4.1"]\nkind = "scripted"\nscript = "echo"\n'


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command has its process for itself: what it changes there is put back."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in ("logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers])
    levels = {log: log.level for log in (logging.root, logging.getLogger("uvicorn.error"))}
    ending = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, ending)
    for log, level in levels.items():
        log.setLevel(level)


def file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "voicegw.toml"
    path.write_text(text, "utf-8")
    return str(path)


def status(*arguments: str) -> int:
    """The exit status, also of what ends inside the parser."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--version") == OK
    assert capsys.readouterr().out == f"voicegw {__version__}\n"


def test_the_help_names_every_command_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--help") == OK
    told = capsys.readouterr().out
    for words in ("serve", "check", "schema", "keys", "examples:", "exit status:"):
        assert words in told


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("serve",), ["--config FILE", "--host H", "--port N", "--workers N", "8080"]),
        (("check",), ["FILE"]),
        (("schema",), ["JSON schema"]),
        (("keys",), ["new"]),
        (("keys", "new"), ["NAME"]),
    ],
)
def test_every_command_has_help(
    command: tuple[str, ...], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*command, "--help") == OK
    told = capsys.readouterr().out
    assert all(word in told for word in words)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dance",),
        ("check",),
        ("keys",),
        ("serve", "--port", "many"),
        ("keys", "new", "two words"),
        ("keys", "new", ""),
    ],
)
def test_wrong_use_is_status_2_with_the_usage(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*arguments) == MISUSED
    assert capsys.readouterr().err.startswith("usage: voicegw")


def test_a_good_file_is_called_good_and_its_agents_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file(tmp_path, GOOD)
    assert status("check", path) == OK
    told = capsys.readouterr()
    assert told.out == f"{path}: valid. Agents: desk, gpt-4.1 (the first is the default).\n"
    assert told.err == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agents", "is not TOML"),
        ("", "there is no agent"),
        (GOOD + "[sever]\nport = 1\n", 'sever: unknown key; did you mean "server"?'),
        (GOOD.replace('script = "echo"', 'script = "eco"'), 'did you mean "echo"?'),
        ('[agents.own]\nkind = "python"\ntarget = "nowhere_at_all:reply"\n', "nowhere_at_all"),
        (GOOD + '[keys.shop]\nenv = "VOICEGW_NO_SUCH_VARIABLE"\n', "VOICEGW_NO_SUCH_VARIABLE is not set"),
    ],
)
def test_a_bad_file_is_status_1_and_one_line_says_why(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("check", file(tmp_path, text)) == FAILED
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [("check",), ("serve", "--config"), ("serve", "--workers", "2", "--config")]
)
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[agents.desk]\nkind = "scripted"\nscript = "recptionist"\n', "agents.desk: "),
        ('[agents.desk]\nkind = "python"\ntarget = "no_such_module_here:reply"\n', "agents.desk: "),
        ('[server]\ntls_cert = "voicegw.toml"\ntls_key = "voicegw.toml"\n' + GOOD, "server.tls_cert: "),
    ],
)
def test_what_only_starting_could_tell_is_told_with_file_and_key(
    command: tuple[str, ...], text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = file(tmp_path, text)
    assert status(*command, name) == FAILED
    assert capsys.readouterr().err.startswith(f"{name}: {complaint}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "nothing.toml")
    assert status("check", path) == FAILED
    assert capsys.readouterr().err == f"{path}: cannot be read: No such file or directory\n"


def test_check_finds_agents_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "beside_the_file.py").write_text("async def reply(turn):\n    yield 'Hi'\n", "utf-8")
    path = file(tmp_path, '[agents.own]\nkind = "python"\ntarget = "beside_the_file:reply"\n')
    assert status("check", path) == OK
    sys.modules.pop("beside_the_file")


def test_the_schema_is_json_and_describes_the_sections(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("schema") == OK
    told = json.loads(capsys.readouterr().out)
    assert SECTIONS.keys() | {"keys", "agents"} == told["properties"].keys()
    assert told["properties"]["agents"]["description"]
    assert told["$defs"]["ServerSettings"]["properties"]["port"]["description"].startswith("Port to listen on")


def test_a_new_key_is_lines_for_the_file_on_stdout_and_a_secret_for_the_client_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("keys", "new", "shop") == OK
    told = capsys.readouterr()
    [secret] = [line.strip() for line in told.err.splitlines() if line.strip().startswith("vgw_")]
    assert secret not in told.out
    [key] = load(file(tmp_path, told.out + GOOD)).api_keys()
    assert (key.name, key.digest) == ("shop", hash_secret(secret))


def test_two_new_keys_are_two(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert status("keys", "new", "shop") == OK
    first, second = capsys.readouterr().out.split("[keys.shop]\n")[1:]
    assert first != second


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
def test_without_keys_nobody_else_may_reach_the_gateway(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("serve", "--host", host) == FAILED
    told = capsys.readouterr().err
    assert told.startswith(f"voicegw: server.host: {host} can be reached by others; add a key first")
    assert "answers at" not in told


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("serve", "--port", port) == FAILED
    assert capsys.readouterr().err.startswith("voicegw: server.port: must be")


@pytest.mark.wire
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_told_in_one_line(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert status("serve", "--port", str(port), "--workers", workers) == FAILED
    told = capsys.readouterr()
    assert told.err == f"cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    assert told.out == ""
