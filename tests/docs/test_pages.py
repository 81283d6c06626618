"""The pages for users are true: files load, requests are answered, proxies pass streams on at once."""

from __future__ import annotations

import asyncio
import configparser
import json
import logging
import os
import re
import shlex
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from loadtests.servers.launch import free_port, is_listening
from tests.support.asgi import send_request
from tests.support.chat_lint import lint
from tests.support.gateway import loop_time
from voicegw import cli
from voicegw.agents.python import agent as python
from voicegw.agents.scripted import agent as scripted
from voicegw.app.create import create_app
from voicegw.config.load import Config, load
from voicegw.security.keys import hash_secret
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.phrases import PHRASES, phrases_for
from voicegw.turns.stream import KEEPALIVE_INTERVAL

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"elevenlabs": "elevenlabs", "vapi": "vapi", "deploy": "voice"}
"""The pages about HTTP platforms, each with the dialect of its answers."""
SECRET = "vgw_known-to-this-test-only"
KEY = {"authorization": f"Bearer {SECRET}"}
CHAT = "/v1/chat/completions"
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def page(name: str) -> str:
    """Return the Markdown text of a page in docs/."""
    return (DOCS / f"{name}.md").read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    """Return the code blocks of this language on a page in docs/."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.M | re.S)


def load_block(block: str, folder: Path) -> Config:
    """Load a TOML block as a file, with the certificates that it names and with the test's secret."""
    for pem in re.findall(r'"(\w+\.pem)"', block):
        (folder / pem).touch()
    file = folder / "voicegw.toml"
    file.write_text(block.replace("0" * 64, hash_secret(SECRET).hex()), "utf-8")
    return load(file, dict.fromkeys(re.findall(r'^(?:env|key_env) = "(\w+)"', block, re.M), SECRET))


def create_app_of_page(name: str, folder: Path) -> ASGIApp:
    """Create the app of the page's first configuration, with an agent slower than every acknowledgement."""
    agent = scripted.make_scripted_agent("receptionist", first=1.0)
    config = load_block(blocks(name, "toml")[0], folder)
    return create_app(config, now=loop_time, agents=lambda table, config: agent)


def parse_curl(command: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return path, headers and body of a curl command."""
    words = shlex.split(re.sub(r"\$\w+", SECRET, command.replace("\\\n", " ")))
    options = list(pairwise(words))
    path = next(re.sub(r"^https?://[^/]+", "", word) for word in words if word.startswith("http"))
    headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
    return path, headers, json.loads(dict(options)["-d"])


def page_requests(name: str) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    """Return path, headers and body of every request on a page: JSON blocks and curl commands."""
    bodies = [json.loads(block) for block in blocks(name, "json")]
    chat_requests = [(CHAT, KEY, body) for body in bodies if "messages" in body]
    return chat_requests + [parse_curl(block) for block in blocks(name, "sh") if block.startswith("curl")]


CONFIGURATIONS = [(name, block) for name in PAGES for block in blocks(name, "toml")]
REQUESTS = [(name, *request) for name in PAGES for request in page_requests(name)]


@pytest.mark.parametrize(("name", "block"), CONFIGURATIONS)
def test_configurations_load_and_have_api_keys(name: str, block: str, tmp_path: Path) -> None:
    assert load_block(block, tmp_path).keys, "these pages are for gateways that other machines can reach"


@pytest.mark.parametrize(("name", "path", "headers", "body"), REQUESTS)
async def test_requests_are_acknowledged_and_answered(
    name: str, path: str, headers: dict[str, str], body: dict[str, Any], tmp_path: Path
) -> None:
    answer = await send_request(create_app_of_page(name, tmp_path), body, path=path, headers=headers)
    assert answer.status == 200, answer.body
    lint(answer.body)
    language = body.get("elevenlabs_extra_body", {}).get("language", "en")
    words, dialect = phrases_for(language), DIALECTS[PAGES[name]]
    assert answer.texts[0][1] in [dialect.punctuate(phrase, words.full_stop) for phrase in words.ack]
    assert len(answer.texts) > 1
    assert answer.finish_reason == ("tool_calls" if "tools" in body else "stop")
    sent = {header.lower(): value for header, value in headers.items()}
    assert answer.headers["x-request-id"] == sent.get("x-request-id", answer.headers["x-request-id"])


@pytest.mark.parametrize("name", PAGES)
async def test_request_without_its_key_is_refused(name: str, tmp_path: Path) -> None:
    path, _, body = page_requests(name)[-1]
    refused = await send_request(create_app_of_page(name, tmp_path), body, path=path)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")


async def test_agent_of_the_page_reads_the_extra_fields_of_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [source] = blocks("elevenlabs", "python")
    (tmp_path / "agent_of_the_page.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    agent = python.load("agent_of_the_page:reply", {})
    config = load_block(blocks("elevenlabs", "toml")[0], tmp_path)
    app = create_app(config, now=loop_time, agents=lambda table, config: agent)
    [body] = [body for _, _, body in page_requests("elevenlabs")[:1]]
    assert (await send_request(app, body, headers=KEY)).text == "Hello Ada, how can I help?"
    del body["elevenlabs_extra_body"]
    assert (await send_request(app, body, headers=KEY)).text == "Hello there, how can I help?"


async def test_log_record_and_metrics_of_the_page_match_the_gateway(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app_of_page("deploy", tmp_path)
    path, headers, body = page_requests("deploy")[0]
    caplog.set_level(logging.INFO, "voicegw.access")
    await send_request(app, body, path=path, headers=headers)
    await asyncio.sleep(1)  # a turn is logged once its agent is closed
    [documented] = [record for block in blocks("deploy", "json") if "event" in (record := json.loads(block))]
    assert list(json.loads(caplog.messages[-1])) == list(documented)
    rendered = (await send_request(app, path="/metrics", method="GET", headers=headers)).body.decode()
    metrics = {m for m in re.findall(r"^# HELP (\S+)", rendered, re.M) if not m.endswith("_created")}
    metrics.add("voicegw_worker_deaths_total")  # the supervisor of several workers adds it
    assert set(re.findall(r"^\| `((?:voicegw|gen_ai)_\w+)` \|", page("deploy"), re.M)) == metrics
    [query] = blocks("deploy", "promql")
    assert re.findall(r"\w+_seconds_bucket", query)[0].removesuffix("_bucket") in metrics


def test_vapi_page_lists_every_own_phrase_in_english() -> None:
    rows = re.findall(
        r"^\| the (?:agent|gateway)[^|]*\| ([^|]+) \|$|^\| too many[^|]*\| (Sorry[^|]+) \|$",
        page("vapi").split("## The gateway's own words")[1].split("\n## ")[0],
        re.M,
    )
    english = PHRASES["en"]
    assert ["".join(row) for row in rows] == [
        ", ".join(english.ack),
        english.failure,
        english.busy,
        english.shutdown,
    ]


def test_systemd_unit_waits_for_the_shutdown_grace_and_its_command_is_valid() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(blocks("deploy", "ini")[0])
    service = unit["Service"]
    assert int(service["TimeoutStopSec"]) >= Config.demo().server.shutdown_grace + 5
    assert shlex.split(service["ExecReload"])[1:] == ["-HUP", "$MAINPID"]
    command, *arguments = shlex.split(service["ExecStart"])
    assert Path(command).name == "voicegw"
    assert cli._parser().parse_args(arguments).config == "/etc/voicegw/voicegw.toml"


@pytest.mark.parametrize("name", [*PAGES, "twilio", "telnyx", "retell"])
def test_links_resolve_and_the_last_section_is_check_it(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page(name)) if "://" not in link]
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = DOCS / file if file else DOCS / f"{name}.md"
        assert target.is_file(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.M)
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]
    assert re.findall(r"^## (.*)$", page(name), re.M)[-1] == "Check it"


# The proxies of docs/deploy.md in front of a gateway in a separate process.


SILENT = f"""\
[keys.caller]
hash = "sha256:{hash_secret(SECRET).hex()}"
[agents.silent]
kind = "scripted"
script = "role_only"
"""
TURN = b'{"stream": true, "messages": [{"role": "user", "content": "Hello?"}]}'
POST = f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {SECRET}\r\n"


def nginx(port: int, gateway: int, folder: Path) -> list[str]:
    """Return the command of nginx with the page's server block, without TLS and on the ports of the test.

    The test sets only directives that the page leaves to the system: pid, logs and temporary folders.
    """
    [block] = blocks("deploy", "nginx")
    block = re.sub(r"^ *(ssl_certificate|server_name).*\n", "", block, flags=re.M)
    block = block.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};").replace(
        "127.0.0.1:8080", f"127.0.0.1:{gateway}"
    )
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{block} }}"
    )
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(conf)]


def caddy(port: int, gateway: int, folder: Path) -> list[str]:
    """Return the command of Caddy with the page's site, without TLS and on the ports of the test."""
    [block] = blocks("deploy", "caddyfile")
    block = block.replace("voice.example.com", f"http://127.0.0.1:{port}").replace(":8080", f":{gateway}")
    conf = folder / "Caddyfile"
    conf.write_text(f"{{\n\tadmin off\n}}\n{block}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(conf)]


@asynccontextmanager
async def running(argv: list[str], port: int, folder: Path) -> AsyncIterator[Process]:
    """Start a server, wait until it listens, and stop it at the end."""
    program = shutil.which(argv[0], path=SEARCH)
    assert program is not None
    environ = {
        **os.environ,
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
    }
    process = await asyncio.create_subprocess_exec(
        program, *argv[1:], stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=environ
    )
    try:
        while not is_listening(port):
            assert process.returncode is None, (await process.communicate())[1].decode()
            await asyncio.sleep(0.02)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def next_turn(gateway: Process) -> dict[str, Any]:
    """Return the next turn record in the gateway's log."""
    assert gateway.stderr is not None
    async for line in gateway.stderr:
        if line.startswith(b'{"event":"turn"'):
            return dict(json.loads(line))
    raise AssertionError("the gateway exited before a turn was logged")


@pytest.mark.wire
@pytest.mark.parametrize("proxy", [nginx, caddy])
async def test_proxy_forwards_deltas_and_disconnects_at_once(proxy: Any, tmp_path: Path) -> None:
    if shutil.which(proxy.__name__, path=SEARCH) is None:
        pytest.skip(f"{proxy.__name__} is not installed")
    gateway_port, proxy_port = free_port(), free_port()
    config = tmp_path / "voicegw.toml"
    config.write_text(SILENT)
    serve = [sys.executable, "-m", "voicegw", "serve", "--config", str(config), "--port", str(gateway_port)]
    async with (
        asyncio.timeout(30),
        running(serve, gateway_port, tmp_path) as gateway,
        running(proxy(proxy_port, gateway_port, tmp_path), proxy_port, tmp_path),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy_port)
        writer.write(f"{POST}content-length: {len(TURN)}\r\n\r\n".encode() + TURN)
        with closing(writer):
            await reader.readuntil(
                b"One moment. "
            )  # the agent sends nothing more, so a delta that the proxy buffers never arrives
        await writer.wait_closed()
        async with asyncio.timeout(
            KEEPALIVE_INTERVAL - 1
        ):  # before a failed keep-alive could detect the disconnect
            turn = await next_turn(gateway)
    assert (turn["outcome"], turn["key"], turn["deltas"]) == ("cancelled", "caller", 0)
