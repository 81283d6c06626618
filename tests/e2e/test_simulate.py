"""Simulations against the served gateway: the command of each docs page passes, other servers fail."""

from __future__ import annotations

import json
import re
import shlex
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_pages import blocks
from tests.e2e.server import Server
from voicegw.cli import FAILED, MISUSED, OK, main
from voicegw.simulate.platforms.registry import PLATFORMS
from voicegw.simulate.run import simulate
from voicegw.simulate.script import ScriptTimeouts, load_script

pytestmark = pytest.mark.wire

SECRET = "s3cret-of-this-test-only"
PAGES = ("twilio", "telnyx", "retell", "speech-engine", "realtime", "elevenlabs", "vapi")
AGENT = '[agents.assistant]\nkind = "scripted"\n'
CALLS = Path(__file__).parents[2] / "configs" / "calls"
ADDRESSES = {
    "twilio": "ws://{}/twilio/relay",
    "telnyx": "ws://{}/telnyx/relay",
    "retell": "ws://{}/retell",
    "speech-engine": "ws://{}/elevenlabs/speech-engine",
    "realtime": "http://{}/v1",
    "elevenlabs": "http://{}/v1",
    "vapi": "http://{}/v1",
}


def run_simulate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the printed JSON."""
    status = main(["simulate", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def broken_checks(found: dict[str, Any]) -> dict[str, list[str]]:
    return {check["item"]: check["breaches"] for check in found["checks"] if check["state"] == "broken"}


@pytest.mark.parametrize("name", PAGES)
def test_simulate_command_of_each_page_passes_with_its_configuration(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = blocks(name, "toml")[0]
    config = re.sub(r"\[agents\.assistant\]\n(?:.+\n)+", AGENT, page)
    environ = dict.fromkeys(re.findall(r'^(?:\w+_)?env = "(\w+)"', config, re.M), SECRET)
    for variable in environ:
        monkeypatch.setenv(variable, SECRET)
    [line] = [block for block in blocks(name, "sh") if block.startswith("voicegw simulate")]
    with Server(tmp_path, config, environ=environ) as server:
        command = re.sub(r"\$\w+", SECRET, line).replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
        status, found = run_simulate(capsys, *shlex.split(command)[2:])
    assert (status, found["failure"], broken_checks(found)) == (OK, None, {})
    assert [turn["outcome"] for turn in found["turns"]] == ["answered", "stopped", "answered"]
    tried = {check["item"] for check in found["checks"] if check["state"] == "held"}
    assert {"connects", "answers", "first-words", "silence", "speakable"} <= tried
    if environ and name not in ("telnyx", "retell"):
        assert {"refuses", "wrong-key"} & tried
    assert SECRET not in json.dumps(found)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("demo")
    config = '[twilio]\n[telnyx]\n[retell]\n[elevenlabs]\n[agents.desk]\nkind = "scripted"\n'
    with Server(folder, config) as server:
        yield server


RELAXED_TIMEOUTS = ScriptTimeouts(first_words=10, silence=20, stop=2, pong=5)
"""The machines that run tests are busy; the timeouts themselves are tested on the virtual clock."""


def test_our_scripts_pass_on_every_platform_and_try_nearly_all_checks(demo: Server) -> None:
    def run_all(platform: str) -> dict[str, bool]:
        """Run every script; return for each check whether it was tried."""
        address = ADDRESSES[platform].format(f"127.0.0.1:{demo.port}")
        tried: dict[str, bool] = {}
        for file in sorted(CALLS.iterdir()):
            script = load_script(file).model_copy(update={"patience": RELAXED_TIMEOUTS})
            result = simulate(platform, address, script)
            assert result.has_passed, f"{file.name}\n{result.as_text()}"
            for check in result.check_results:
                tried[check.item] = tried.get(check.item, False) or check.was_tried
        return tried

    with ThreadPoolExecutor(len(PLATFORMS)) as pool:
        items = dict(zip(PLATFORMS, pool.map(run_all, PLATFORMS), strict=True))
    untried = {
        platform: {item for item in items[platform] if not items[platform][item]} for platform in items
    }
    assert untried == {
        "twilio": {"refuses", "ends-last", "takes-back"},
        "telnyx": {"ends-last"},
        "retell": {"actions", "takes-back"},
        "speech-engine": {"refuses"},
        "realtime": {"refuses"},
        "elevenlabs": {"wrong-key"},
        "vapi": {"wrong-key"},
    }, "their tests need secrets, or an agent that ends or transfers calls"


def test_text_report_has_a_waterfall(demo: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "vapi", f"http://127.0.0.1:{demo.port}"]) == OK
    shown = capsys.readouterr().out
    assert re.search(r"ack +\d+\.\d ms \|#+ +\|", shown)
    assert "       ok  connects: the gateway accepts the call" in shown


@contextmanager
def fixed_server(answer: bytes | None) -> Iterator[int]:
    """Give the port of a server with one answer for every request; None for no answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            clients.append(client)
            if answer is not None:
                client.recv(65536)
                client.sendall(answer)
                client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for client in clients:
            client.close()


FIXED_ANSWERS = {
    "silent": None,
    "closes": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "500": b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops",
    "404": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nlocation: http://192.0.2.7/\r\ncontent-length: 0\r\n\r\n",
    "a web page": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
}


@pytest.mark.parametrize("kind", FIXED_ANSWERS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_simulation_ends_with_a_failure_at_any_other_server(
    platform: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "call.toml"
    script.write_text('[patience]\nconnect = 0.3\nanswer = 0.5\n[[turns]]\nsay = "Hello?"\n', "utf-8")
    with fixed_server(FIXED_ANSWERS[kind]) as port:
        address = ADDRESSES[platform].format(f"127.0.0.1:{port}")
        status, found = run_simulate(capsys, platform, address, "--script", str(script))
    assert status == FAILED
    assert found["failure"] or broken_checks(found)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["vapi", "http://example.com/v1"], MISUSED, "--anywhere"),
        (["vapi", "nonsense"], MISUSED, "the URL must begin with"),
        (
            ["vapi", "http://127.0.0.1:1", "--key-env", "NOT_SET_ANYWHERE"],
            MISUSED,
            "NOT_SET_ANYWHERE is not set",
        ),
        (["vapi", "http://127.0.0.1:1", "--key-env", "ODD"], MISUSED, "no header can carry"),
        (
            ["vapi", "http://127.0.0.1:1", "--script", "/nowhere.toml"],
            MISUSED,
            "/nowhere.toml: cannot be read",
        ),
        (
            ["retell", "ws://127.0.0.1:1/retell", "--key-env", "EVEN"],
            MISUSED,
            "the secret is a part of the URL",
        ),
        (
            ["vapi", "http://127.0.0.1:1", "--script", "KEYS"],
            MISUSED,
            "no step of this script exists on vapi",
        ),
        (["unknown", "http://127.0.0.1:1"], MISUSED, "invalid choice: 'unknown'"),
    ],
)
def test_misuse_is_reported_on_stderr(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ODD", "a\r\nb: c")
    monkeypatch.setenv("EVEN", "secret")
    keys = tmp_path / "keys.toml"
    keys.write_text('[[turns]]\npress = "1"\n', "utf-8")
    arguments = [str(keys) if argument == "KEYS" else argument for argument in arguments]
    try:
        exit_status = main(["simulate", *arguments])
    except SystemExit as exited:
        exit_status = int(str(exited.code))
    assert (exit_status, message in capsys.readouterr().err) == (status, True)
