"""The pages about calls on websockets: their configurations load, and calls follow their frames."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, fromstring

import pytest
from starlette.types import ASGIApp
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import connect

from loadtests.servers.launch import free_port
from tests.calls.test_session import HELLO, SETUP
from tests.docs.test_pages import SEARCH, blocks, caddy, nginx, page, running
from tests.e2e.server import Server, wait_until
from tests.platforms.elevenlabs.test_token import CLAIMS
from tests.platforms.elevenlabs.test_token import token as jwt
from tests.support.asgi import send_request
from tests.support.asgi_websocket import connect_websocket
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import loop_time
from voicegw.agents.python import agent as python
from voicegw.app.create import create_app
from voicegw.calls.dtmf import INTER_DIGIT_TIMEOUT
from voicegw.calls.playback import GATHER_SECONDS
from voicegw.config.load import Config, load
from voicegw.errors import ConfigError
from voicegw.events import Agent, Event, ToolCall
from voicegw.platforms.twilio import ticket
from voicegw.security.transfer_policy import TransferRefused

PAGES = ("twilio", "telnyx", "retell", "speech-engine")
SECTIONS = {"speech-engine": "elevenlabs"}
SECRET = "s3cret-of-this-test-only"
PUBLIC = "https://voice.example.com"
FORM = {"content-type": "application/x-www-form-urlencoded"}
DESK = '[agents.desk]\nkind = "scripted"\n'


def settings(block: str, folder: Path) -> Config:
    """Load a configuration of a page, with the same value for each of its secrets."""
    file = folder / "voicegw.toml"
    file.write_text(block, "utf-8")
    return load(file, dict.fromkeys(re.findall(r'^\w+_env = "(\w+)"', block, re.M), SECRET))


def gateway(block: str, folder: Path, agent: Agent) -> ASGIApp:
    return create_app(settings(block, folder), now=loop_time, agents=lambda table, config: agent)


def signed(url: str, fields: dict[str, str] | None = None) -> dict[str, str]:
    return {"x-twilio-signature": str(RequestValidator(SECRET).compute_signature(url, fields or {}))}


def handshake_of(name: str) -> tuple[str, dict[str, str]]:
    """Return the path and the headers of an authenticated handshake."""
    if name == "speech-engine":
        now = int(time.time())
        token = jwt({**CLAIMS, "iat": now, "exp": now + 300}, key=SECRET)
        return "/elevenlabs/speech-engine", {"x-elevenlabs-speech-engine-authorization": token}
    if name == "twilio":
        return "/twilio/relay", signed("wss://voice.example.com/twilio/relay")
    return (f"/telnyx/{SECRET}/relay" if name == "telnyx" else f"/retell/{SECRET}/call_1"), {}


@pytest.mark.parametrize(
    ("name", "block"), [(name, block) for name in PAGES for block in blocks(name, "toml")]
)
def test_every_configuration_loads_and_needs_its_secret(name: str, block: str, tmp_path: Path) -> None:
    assert list(settings(block, tmp_path).platforms) == [SECTIONS.get(name, name)]
    with pytest.raises(ConfigError, match="_env: the environment variable"):
        load(tmp_path / "voicegw.toml", {})


class PageAgent(FakeAgent):
    """The agent of the pages: slow in its first turn, and quick to say good bye."""

    async def reply(self, turn: Any) -> Any:
        bye: tuple[Event, ...] = ("Good bye.", ToolCall("1", "end_call", "{}"))
        self.steps = bye if "Bye" in turn.said else (0.6, "We are open", 60)
        async for event in super().reply(turn):
            yield event


@pytest.mark.parametrize("name", PAGES)
async def test_call_follows_the_frames_of_the_page(name: str, tmp_path: Path) -> None:
    [expected] = blocks(name, "text")
    expected = expected.replace("TICKET", ticket.issue(SECRET, "CA1", time.time()))
    app = gateway(blocks(name, "toml")[0], tmp_path, PageAgent())
    path, headers = handshake_of(name)
    frame_count = 0
    async with connect_websocket(app, path, headers=headers) as websocket:
        for line in expected.splitlines():
            frame = json.loads(line[2:])
            if line.startswith("> "):
                websocket.send_frame(frame)
                continue
            while len(websocket.frames) <= frame_count:
                await asyncio.sleep(0.01)
                assert websocket.elapsed < 10, f"{frame} did not come"
            assert websocket.frames[frame_count][1] == frame
            frame_count += 1
        assert (len(websocket.frames), websocket.close_code) == (frame_count, None)


def is_same(one: Element, other: Element) -> bool:
    """Return whether two elements are equal, without their white space."""
    return (one.tag, one.attrib, len(one)) == (other.tag, other.attrib, len(other)) and all(
        map(is_same, one, other)
    )


async def test_twilio_webhook_returns_the_twiml_of_the_page(tmp_path: Path) -> None:
    app = gateway(blocks("twilio", "toml")[0], tmp_path, fake_agent())
    fields = {"CallSid": "CA1", "From": "+15550100"}
    headers = {**FORM, **signed(f"{PUBLIC}/twilio/voice", fields)}
    answer = await send_request(app, urlencode(fields).encode(), path="/twilio/voice", headers=headers)
    [expected] = blocks("twilio", "xml")
    text = re.sub(r'(name="voicegw" value=")[^"]+', r"\1TICKET", answer.body.decode())
    assert is_same(fromstring(text.encode()), fromstring(expected))


async def test_own_twiml_needs_no_ticket(tmp_path: Path) -> None:
    for block, code in zip(blocks("twilio", "toml"), (1008, None), strict=False):
        path, headers = handshake_of("twilio")
        async with connect_websocket(
            gateway(block, tmp_path, fake_agent("Hi.")), path, headers=headers
        ) as websocket:
            websocket.send_frame(SETUP)
            await asyncio.sleep(0.1)
            assert websocket.close_code == code


def test_transfers_of_the_page_reach_only_the_listed_numbers(tmp_path: Path) -> None:
    block = next(block for block in blocks("twilio", "toml") if "transfer_to" in block)
    twilio = settings(block, tmp_path).twilio
    policy = twilio and twilio.transfer_policy(twilio.actions)
    assert policy is not None
    assert policy.resolve("+49 (0)30 123 456") == policy.resolve("030 123456") == "+4930123456"
    assert policy.resolve("089 123456") == "+4989123456"
    with pytest.raises(TransferRefused):
        policy.resolve("+12127365000")


async def test_texml_of_the_telnyx_page_connects_to_the_gateway(tmp_path: Path) -> None:
    [[relay]] = fromstring(blocks("telnyx", "xml")[0])
    config = settings(blocks("telnyx", "toml")[0], tmp_path)
    assert config.telnyx is not None
    assert relay.attrib["welcomeGreeting"] == config.telnyx.greeting
    path = relay.attrib["url"].removeprefix("wss://voice.example.com").replace("TOKEN", SECRET)
    async with connect_websocket(
        gateway(blocks("telnyx", "toml")[0], tmp_path, fake_agent("Hi.")), path
    ) as websocket:
        await asyncio.sleep(0)
    assert websocket.status == 101


async def test_addresses_of_the_retell_page_are_served(tmp_path: Path) -> None:
    app = gateway(blocks("retell", "toml")[0], tmp_path, fake_agent())
    url, webhook = (
        re.findall(rf"`({scheme}://voice.example.com[^`]+)`", page("retell"))[0]
        for scheme in ("wss", "https")
    )
    async with connect_websocket(
        app, url.removeprefix("wss://voice.example.com").replace("SECRET", SECRET) + "/call_1"
    ) as websocket:
        await asyncio.sleep(0)
    assert websocket.status == 101
    assert (await send_request(app, b"{}", path=webhook.removeprefix(PUBLIC))).status == 403


async def test_agent_of_the_page_gets_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent_of_the_call_page.py").write_text(blocks("twilio", "python")[0], "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    agent = python.load("agent_of_the_call_page:reply", {})
    app = gateway(f"{DESK}ack.after = 'off'\n[twilio]\n", tmp_path, agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame({**SETUP, "from": "Ada", "customParameters": {"shop": "Bluebell"}})
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.1)
    assert websocket.frames[0][1]["token"] == "You call Bluebell from Ada."


async def test_check_commands_of_the_pages_reach_the_gateway(tmp_path: Path) -> None:
    app = gateway(f"{DESK}[twilio]\n[telnyx]\n", tmp_path, fake_agent())
    curl, *_ = (shlex.split(block) for block in blocks("twilio", "sh"))
    form = "&".join(value.replace("+", "%2B") for option, value in pairwise(curl) if option == "-d")
    path = next(word for word in curl if word.startswith("http")).removeprefix("http://127.0.0.1:8080")
    answer = await send_request(app, form.encode(), path=path, headers=FORM)
    [[relay]] = fromstring(answer.body)
    assert relay.attrib["url"] == "ws://127.0.0.1:8080/twilio/relay"
    locked = gateway(blocks("retell", "toml")[0], tmp_path, fake_agent())
    for name, app_of_page in (("twilio", app), ("telnyx", app), ("retell", locked)):
        *_, (run, flag, module, url), _ = (shlex.split(block) for block in blocks(name, "sh"))
        assert (run, flag, module) == ("python", "-m", "websockets")
        called = url.removeprefix("ws://127.0.0.1:8080").replace("$RETELL_SECRET", SECRET)
        async with connect_websocket(app_of_page, called) as websocket:
            await asyncio.sleep(0)
        assert websocket.status == 101, name


def test_times_on_the_pages_are_those_of_the_code() -> None:
    assert f"within {GATHER_SECONDS * 1000:g} ms share a frame" in page("twilio")
    assert f"within {GATHER_SECONDS * 1000:g} ms share a frame" in page("retell")
    assert f"within {INTER_DIGIT_TIMEOUT:g} s of each other" in page("twilio")
    assert ticket.TICKET_TTL == 4 * 3600, "the page says four hours"


@pytest.mark.wire
@pytest.mark.parametrize("proxy", [nginx, caddy])
async def test_frames_and_a_hang_up_pass_the_proxy(proxy: Any, tmp_path: Path) -> None:
    if shutil.which(proxy.__name__, path=SEARCH) is None:
        pytest.skip(f"{proxy.__name__} is not installed")
    config = f'{DESK}[retell]\nsecret_env = "SECRET"\ngreeting = "Hello."\n'
    port = free_port()
    with Server(tmp_path, config, environ={"SECRET": SECRET}) as server:
        async with (
            asyncio.timeout(30),
            running(proxy(port, server.port, tmp_path), port, tmp_path),
            connect(f"ws://127.0.0.1:{port}/retell/{SECRET}/call_1", proxy=None) as websocket,
        ):
            assert json.loads(await websocket.recv())["response_type"] == "config"
            assert json.loads(await websocket.recv())["content"] == "Hello."
            await websocket.send('{"interaction_type": "ping_pong", "timestamp": 7}')
            assert json.loads(await websocket.recv())["timestamp"] == 7
            websocket.transport.abort()
            await asyncio.to_thread(wait_until, lambda: server.log_records("call"))
        assert SECRET not in server.log
