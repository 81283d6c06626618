"""What the pages about calls on websockets say is true: files load, and calls go as they show them."""

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
from tests.e2e.server import Server, eventually
from tests.platforms.elevenlabs.test_token import CLAIMS
from tests.platforms.elevenlabs.test_token import token as jwt
from tests.support.asgi import send_request
from tests.support.asgi_websocket import connect_websocket
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import loop_time
from voicegw.agents.python import agent as python
from voicegw.app.create import create_app
from voicegw.calls.dtmf import INTER_DIGIT_TIMEOUT as KEYPAD
from voicegw.calls.playback import GATHER_SECONDS
from voicegw.config.load import Config, load
from voicegw.errors import ConfigError
from voicegw.events import Agent, Event, ToolCall
from voicegw.platforms.twilio import ticket

PAGES = ("twilio", "telnyx", "retell", "speech-engine")
TABLES = {"speech-engine": "elevenlabs"}
SECRET = "s3cret-of-this-test-only"
PUBLIC = "https://voice.example.com"
FORM = {"content-type": "application/x-www-form-urlencoded"}
DESK = '[agents.desk]\nkind = "scripted"\n'


def settings(block: str, folder: Path) -> Config:
    """A block as a file, with our secret for all that it wants."""
    file = folder / "voicegw.toml"
    file.write_text(block, "utf-8")
    return load(file, dict.fromkeys(re.findall(r'^\w+_env = "(\w+)"', block, re.M), SECRET))


def gateway(block: str, folder: Path, agent: Agent) -> ASGIApp:
    return create_app(settings(block, folder), now=loop_time, agents=lambda table, config: agent)


def signed(url: str, fields: dict[str, str] | None = None) -> dict[str, str]:
    return {"x-twilio-signature": str(RequestValidator(SECRET).compute_signature(url, fields or {}))}


def handshake(name: str) -> tuple[str, dict[str, str]]:
    """Path and headers of a call."""
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
def test_every_configuration_loads_and_wants_its_secret(name: str, block: str, tmp_path: Path) -> None:
    assert list(settings(block, tmp_path).platforms) == [TABLES.get(name, name)]
    with pytest.raises(ConfigError, match="_env: the environment variable"):
        load(tmp_path / "voicegw.toml", {})


class Scene(FakeAgent):
    """The agent of the pages: slow at first, and quick to say good bye."""

    async def reply(self, turn: Any) -> Any:
        bye: tuple[Event, ...] = ("Good bye.", ToolCall("1", "end_call", "{}"))
        self.steps = bye if "Bye" in turn.said else (0.6, "We are open", 60)
        async for event in super().reply(turn):
            yield event


@pytest.mark.parametrize("name", PAGES)
async def test_a_call_goes_frame_by_frame_as_the_page_shows_it(name: str, tmp_path: Path) -> None:
    [shown] = blocks(name, "text")
    shown = shown.replace("TICKET", ticket.issue(SECRET, "CA1", time.time()))
    app = gateway(blocks(name, "toml")[0], tmp_path, Scene())
    path, headers = handshake(name)
    heard = 0
    async with connect_websocket(app, path, headers=headers) as phone:
        for line in shown.splitlines():
            frame = json.loads(line[2:])
            if line.startswith("> "):
                phone.send_frame(frame)
                continue
            while len(phone.frames) <= heard:
                await asyncio.sleep(0.01)
                assert phone.elapsed < 10, f"{frame} did not come"
            assert phone.frames[heard][1] == frame
            heard += 1
        assert (len(phone.frames), phone.close_code) == (heard, None)


def same(one: Element, other: Element) -> bool:
    """Are these the same elements, whatever the white space?"""
    return (one.tag, one.attrib, len(one)) == (other.tag, other.attrib, len(other)) and all(
        map(same, one, other)
    )


async def test_twilio_s_web_hook_answers_what_the_page_shows(tmp_path: Path) -> None:
    app = gateway(blocks("twilio", "toml")[0], tmp_path, fake_agent())
    fields = {"CallSid": "CA1", "From": "+15550100"}
    headers = {**FORM, **signed(f"{PUBLIC}/twilio/voice", fields)}
    answer = await send_request(app, urlencode(fields).encode(), path="/twilio/voice", headers=headers)
    [shown] = blocks("twilio", "xml")
    text = re.sub(r'(name="voicegw" value=")[^"]+', r"\1TICKET", answer.body.decode())
    assert same(fromstring(text.encode()), fromstring(shown))


async def test_twiml_of_one_s_own_needs_no_ticket(tmp_path: Path) -> None:
    for block, code in zip(blocks("twilio", "toml"), (1008, None), strict=True):
        path, headers = handshake("twilio")
        async with connect_websocket(gateway(block, tmp_path, fake_agent("Hi.")), path, headers=headers) as phone:
            phone.send_frame(SETUP)
            await asyncio.sleep(0.1)
            assert phone.close_code == code


async def test_the_texml_on_telnyx_s_page_leads_to_the_gateway(tmp_path: Path) -> None:
    [[relay]] = fromstring(blocks("telnyx", "xml")[0])
    config = settings(blocks("telnyx", "toml")[0], tmp_path)
    assert config.telnyx is not None
    assert relay.attrib["welcomeGreeting"] == config.telnyx.greeting
    path = relay.attrib["url"].removeprefix("wss://voice.example.com").replace("TOKEN", SECRET)
    async with connect_websocket(gateway(blocks("telnyx", "toml")[0], tmp_path, fake_agent("Hi.")), path) as phone:
        await asyncio.sleep(0)
    assert phone.status == 101


async def test_the_addresses_for_retell_are_served(tmp_path: Path) -> None:
    app = gateway(blocks("retell", "toml")[0], tmp_path, fake_agent())
    url, hook = (
        re.findall(rf"`({scheme}://voice.example.com[^`]+)`", page("retell"))[0]
        for scheme in ("wss", "https")
    )
    async with connect_websocket(
        app, url.removeprefix("wss://voice.example.com").replace("SECRET", SECRET) + "/call_1"
    ) as phone:
        await asyncio.sleep(0)
    assert phone.status == 101
    assert (await send_request(app, b"{}", path=hook.removeprefix(PUBLIC))).status == 403


async def test_the_agent_on_the_page_knows_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent_of_the_call_page.py").write_text(blocks("twilio", "python")[0], "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    agent = python.load("agent_of_the_call_page:reply", {})
    app = gateway(f"{DESK}ack.after = 'off'\n[twilio]\n", tmp_path, agent)
    async with connect_websocket(app, "/twilio/relay") as phone:
        phone.send_frame({**SETUP, "from": "Ada", "customParameters": {"shop": "Bluebell"}})
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
    assert phone.frames[0][1]["token"] == "You call Bluebell from Ada."


async def test_the_checks_on_the_pages_reach_the_gateway(tmp_path: Path) -> None:
    app = gateway(f"{DESK}[twilio]\n[telnyx]\n", tmp_path, fake_agent())
    curl, *_ = (shlex.split(block) for block in blocks("twilio", "sh"))
    form = "&".join(value.replace("+", "%2B") for option, value in pairwise(curl) if option == "-d")
    path = next(word for word in curl if word.startswith("http")).removeprefix("http://127.0.0.1:8080")
    answer = await send_request(app, form.encode(), path=path, headers=FORM)
    [[relay]] = fromstring(answer.body)
    assert relay.attrib["url"] == "ws://127.0.0.1:8080/twilio/relay"
    locked = gateway(blocks("retell", "toml")[0], tmp_path, fake_agent())
    for name, house in (("twilio", app), ("telnyx", app), ("retell", locked)):
        *_, (run, flag, module, url), _ = (shlex.split(block) for block in blocks(name, "sh"))
        assert (run, flag, module) == ("python", "-m", "websockets")
        called = url.removeprefix("ws://127.0.0.1:8080").replace("$RETELL_SECRET", SECRET)
        async with connect_websocket(house, called) as phone:
            await asyncio.sleep(0)
        assert phone.status == 101, name


def test_the_times_on_the_pages_are_the_real_ones() -> None:
    assert f"within {GATHER_SECONDS * 1000:g} ms share a frame" in page("twilio")
    assert f"within {GATHER_SECONDS * 1000:g} ms share a frame" in page("retell")
    assert f"within {KEYPAD:g} s of each other" in page("twilio")
    assert ticket.TICKET_TTL == 4 * 3600, "the page says four hours"


@pytest.mark.wire
@pytest.mark.parametrize("proxy", [nginx, caddy])
async def test_calls_pass_the_proxy_both_ways_and_so_does_a_hang_up(proxy: Any, tmp_path: Path) -> None:
    if shutil.which(proxy.__name__, path=SEARCH) is None:
        pytest.skip(f"{proxy.__name__} is not installed")
    config = f'{DESK}[retell]\nsecret_env = "SECRET"\ngreeting = "Hello."\n'
    port = free_port()
    with Server(tmp_path, config, environ={"SECRET": SECRET}) as server:
        async with (
            asyncio.timeout(30),
            running(proxy(port, server.port, tmp_path), port, tmp_path),
            connect(f"ws://127.0.0.1:{port}/retell/{SECRET}/call_1", proxy=None) as phone,
        ):
            assert json.loads(await phone.recv())["response_type"] == "config"
            assert json.loads(await phone.recv())["content"] == "Hello."
            await phone.send('{"interaction_type": "ping_pong", "timestamp": 7}')
            assert json.loads(await phone.recv())["timestamp"] == 7
            phone.transport.abort()
            await asyncio.to_thread(eventually, lambda: server.lines("call"))
        assert SECRET not in server.log
