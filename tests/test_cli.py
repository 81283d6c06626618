"""The command line: its output on stdout and stderr, and its exit status."""

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

CONFIG = '[agents.desk]\nkind = "scripted"\n\n[agents."gpt-4.1"]\nkind = "scripted"\nscript = "echo"\n'


@pytest.fixture(autouse=True)
def restored_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the process-wide state that a command changes: path, environment, logging and signals."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in ("logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers])
    levels = {log: log.level for log in (logging.root, logging.getLogger("uvicorn.error"))}
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    for log, level in levels.items():
        log.setLevel(level)


def write_config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "voicegw.toml"
    path.write_text(text, "utf-8")
    return str(path)


def exit_status(*arguments: str) -> int:
    """Run a command, and return its exit status; argparse exits instead of returning one."""
    try:
        return main(arguments)
    except SystemExit as raised:
        return int(raised.code or 0)


def test_version_option_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--version") == OK
    assert capsys.readouterr().out == f"voicegw {__version__}\n"


def test_help_names_every_command_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("--help") == OK
    output = capsys.readouterr().out
    for text in ("serve", "check", "schema", "keys", "examples:", "exit status:"):
        assert text in output


@pytest.mark.parametrize(
    ("command", "texts"),
    [
        (("serve",), ["--config FILE", "--host H", "--port N", "--workers N", "8080"]),
        (("check",), ["FILE"]),
        (("schema",), ["JSON schema"]),
        (("keys",), ["new"]),
        (("keys", "new"), ["NAME"]),
    ],
)
def test_every_command_has_help(
    command: tuple[str, ...], texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(*command, "--help") == OK
    output = capsys.readouterr().out
    assert all(text in output for text in texts)


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
def test_misuse_exits_with_status_2_and_prints_the_usage(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(*arguments) == MISUSED
    assert capsys.readouterr().err.startswith("usage: voicegw")


def test_check_prints_the_agents_of_a_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path, CONFIG)
    assert exit_status("check", path) == OK
    printed = capsys.readouterr()
    assert printed.out == f"{path}: valid. Agents: desk, gpt-4.1 (the first is the default).\n"
    assert printed.err == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[agents", "is not TOML"),
        ("", "there is no agent"),
        (CONFIG + "[sever]\nport = 1\n", 'sever: unknown key; did you mean "server"?'),
        (CONFIG.replace('script = "echo"', 'script = "eco"'), 'did you mean "echo"?'),
        ('[agents.own]\nkind = "python"\ntarget = "nowhere_at_all:reply"\n', "nowhere_at_all"),
        (CONFIG + '[keys.shop]\nenv = "VOICEGW_NO_SUCH_VARIABLE"\n', "VOICEGW_NO_SUCH_VARIABLE is not set"),
    ],
)
def test_check_of_an_invalid_file_exits_with_status_1_and_one_line(
    text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status("check", write_config(tmp_path, text)) == FAILED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert problem in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [("check",), ("serve", "--config"), ("serve", "--workers", "2", "--config")]
)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[agents.desk]\nkind = "scripted"\nscript = "recptionist"\n', "agents.desk: "),
        ('[agents.desk]\nkind = "python"\ntarget = "no_such_module_here:reply"\n', "agents.desk: "),
        ('[server]\ntls_cert = "voicegw.toml"\ntls_key = "voicegw.toml"\n' + CONFIG, "server.tls_cert: "),
    ],
)
def test_check_and_serve_report_agents_and_certificates_that_cannot_load(
    command: tuple[str, ...], text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write_config(tmp_path, text)
    assert exit_status(*command, name) == FAILED
    assert capsys.readouterr().err.startswith(f"{name}: {problem}")


def test_check_names_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "missing.toml")
    assert exit_status("check", path) == FAILED
    assert capsys.readouterr().err == f"{path}: cannot be read: No such file or directory\n"


def test_check_finds_agents_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "beside_the_file.py").write_text("async def reply(turn):\n    yield 'Hi'\n", "utf-8")
    path = write_config(tmp_path, '[agents.own]\nkind = "python"\ntarget = "beside_the_file:reply"\n')
    assert exit_status("check", path) == OK
    sys.modules.pop("beside_the_file")


def test_schema_prints_json_with_all_sections(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("schema") == OK
    schema = json.loads(capsys.readouterr().out)
    assert SECTIONS.keys() | {"keys", "agents"} == schema["properties"].keys()
    assert schema["properties"]["agents"]["description"]
    assert schema["$defs"]["ServerSettings"]["properties"]["port"]["description"].startswith(
        "Port to listen on"
    )


def test_keys_new_prints_the_section_on_stdout_and_the_secret_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status("keys", "new", "shop") == OK
    printed = capsys.readouterr()
    [secret] = [line.strip() for line in printed.err.splitlines() if line.strip().startswith("vgw_")]
    assert secret not in printed.out
    [key] = load(write_config(tmp_path, printed.out + CONFIG)).api_keys()
    assert (key.name, key.digest) == ("shop", hash_secret(secret))


def test_keys_new_prints_another_key_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert exit_status("keys", "new", "shop") == OK
    first, second = capsys.readouterr().out.split("[keys.shop]\n")[1:]
    assert first != second


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
def test_serve_without_keys_refuses_a_public_host(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("serve", "--host", host) == FAILED
    printed = capsys.readouterr().err
    assert printed.startswith(
        f"voicegw: server.host: {host} can be reached from other machines; add a key first"
    )
    assert "answers at" not in printed


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_serve_refuses_an_invalid_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("serve", "--port", port) == FAILED
    assert capsys.readouterr().err.startswith("voicegw: server.port: must be")


@pytest.mark.wire
@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_reports_a_port_in_use_in_one_line(workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert exit_status("serve", "--port", str(port), "--workers", workers) == FAILED
    printed = capsys.readouterr()
    assert printed.err == f"cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    assert printed.out == ""
