"""From the file to calls: each platform's table becomes a desk and its web hooks."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import fromstring

import pytest
from starlette.types import ASGIApp
from twilio.request_validator import RequestValidator

from tests.calls.test_session import HELLO, SETUP, prompt, response_required, token
from tests.support.asgi import RecordedResponse, run_lifespan, send_request
from tests.support.asgi_websocket import connect_websocket
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import loop_time
from voicegw.app.create import create_app
from voicegw.app.platforms import call_endpoints, platform_context
from voicegw.app.serving import serve_agents
from voicegw.calls.call_tools import TOOLS
from voicegw.calls.codec import ACTIONS, CallStarted
from voicegw.config.load import Config, load
from voicegw.platforms.twilio import ticket
from voicegw.turns.phrases import PHRASES

TOKEN, SECRET, PUBLIC = "t0ken", "0123456789abcdef", "https://voice.example.com"
ENVIRON = {"TOKEN": TOKEN, "SECRET": SECRET, "SHARED": "sh4red"}
FILE = """
[server]
public_url = "https://voice.example.com"

[limits]
concurrent_calls = 3

[agents.first]
kind = "scripted"
ack.after = "off"

[agents.second]
kind = "scripted"
ack.after = "off"

[twilio]
auth_token_env = "TOKEN"
language = "de-DE"
greeting = "Guten Tag."
actions = ["end_call", "transfer_call"]
partial = "speculate"
concurrent_calls = 1

[telnyx]
token_env = "SECRET"
agent = "second"

[retell]
secret_env = "SECRET"
greeting = "Good morning."
"""
OPEN = '[agents.first]\nkind = "scripted"\n[twilio]\n[telnyx]\n[retell]\n'


def settings(folder: Path, text: str = FILE) -> Config:
    path = folder / "voicegw.toml"
    path.write_text(text, "utf-8")
    return load(path, ENVIRON)


def gateway(folder: Path, agent: FakeAgent, text: str = FILE) -> ASGIApp:
    return create_app(settings(folder, text), now=loop_time, agents=lambda table, config: agent)


def signature(url: str, fields: dict[str, str]) -> dict[str, str]:
    return {"x-twilio-signature": str(RequestValidator(TOKEN).compute_signature(url, fields))}


async def post(app: ASGIApp, path: str, **fields: str) -> RecordedResponse:
    """A web hook of Twilio's."""
    headers = {"content-type": "application/x-www-form-urlencoded", **signature(PUBLIC + path, fields)}
    return await send_request(app, urlencode(fields).encode(), path=path, headers=headers)


async def connecting(app: ASGIApp, call: str = "CA1") -> tuple[dict[str, str], dict[str, Any]]:
    """A call comes in: the headers and the setup with which Twilio then opens its socket."""
    answer = await post(app, "/twilio/voice", CallSid=call)
    [[relay]] = fromstring(answer.body)
    given = {child.attrib["name"]: child.attrib["value"] for child in relay if child.tag == "Parameter"}
    return signature(relay.attrib["url"], {}), {**SETUP, "callSid": call, "customParameters": given}


async def test_a_call_of_twilio_s_goes_from_its_web_hook_to_its_end(tmp_path: Path) -> None:
    agent = fake_agent("Hi.")
    app = gateway(tmp_path, agent)
    headers, setup = await connecting(app)
    async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
        phone.send_frame(setup)
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
        assert phone.close_code is None
        full = await post(app, "/twilio/voice", CallSid="CA2")
        assert fromstring(full.body)[0].text == PHRASES["de"].busy
    assert phone.frames == [(0.0, token("Hi.", last=True))]
    [turn] = agent.turns
    assert (turn.tenant, turn.language, [tool.name for tool in turn.tools]) == (
        "@twilio",
        "de-DE",
        ["end_call", "transfer_call"],
    )
    assert [message.text for message in turn.messages] == ["Guten Tag.", "Hello?"]
    handoff = '{"reasonCode": "transfer_call", "number": "+15550100"}'
    ended = await post(app, "/twilio/action", CallSid="CA1", HandoffData=handoff)
    assert fromstring(ended.body)[0].text == "+15550100"


async def test_the_agent_may_begin_with_words_that_may_still_change(tmp_path: Path) -> None:
    agent = fake_agent(0.3, "Hi.")
    app = gateway(tmp_path, agent)
    headers, setup = await connecting(app)
    async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
        phone.send_frame(setup)
        phone.send_frame(prompt("Hello?", last=False))
        await asyncio.sleep(0.5)
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
    assert phone.frames == [(0.5, token("Hi.", last=True))]


@pytest.mark.parametrize("wrong", ["none", "text", "missing", "other call", "too late"])
async def test_a_call_without_its_ticket_is_not_served(
    tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = gateway(tmp_path, fake_agent("Hi."))
    headers, setup = await connecting(app)
    if wrong == "too late":
        stale = ticket.issue(TOKEN, "CA1", 1e9)
        setup["customParameters"] = {"voicegw": stale}
    elif wrong == "other call":
        setup["callSid"] = "CA2"
    else:
        setup["customParameters"] = {"none": None, "text": "voicegw", "missing": {"voicegw": 1}}[wrong]
    async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
        phone.send_frame(setup)
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
        assert (phone.status, phone.close_code, phone.frames) == (101, 1008, [])


async def test_a_call_that_came_back_shows_its_ticket_again(tmp_path: Path) -> None:
    app = gateway(tmp_path, fake_agent("Hi."))
    headers, setup = await connecting(app)
    for customParameters, code in (
        (setup["customParameters"], None),
        (setup["customParameters"], None),
        ({}, 1008),
    ):
        async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
            phone.send_frame({**setup, "customParameters": customParameters})
            await asyncio.sleep(0.1)
            assert phone.close_code == code


async def test_twiml_of_the_operator_s_own_needs_no_ticket_but_twilio_s_signature(tmp_path: Path) -> None:
    app = gateway(tmp_path, fake_agent("Hi."), FILE.replace("[telnyx]", "tickets = false\n[telnyx]"))
    async with connect_websocket(
        app, "/twilio/relay", headers=signature("wss://voice.example.com/twilio/relay", {})
    ) as phone:
        phone.send_frame(SETUP)
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
        assert phone.close_code is None
    assert phone.frames == [(0.0, token("Hi.", last=True))]
    async with connect_websocket(app, "/twilio/relay") as phone:
        await asyncio.sleep(0)
    assert phone.status == 403


async def test_telnyx_calls_its_agent_by_the_path_that_holds_the_secret(tmp_path: Path) -> None:
    agent = fake_agent("Hi.")
    app = gateway(tmp_path, agent)
    async with connect_websocket(app, f"/telnyx/{SECRET}/relay") as phone:
        phone.send_frame({"type": "setup", "callControlId": "v3:1"})
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
    assert phone.frames == [(0.0, token("Hi.", last=True))]
    [turn] = agent.turns
    assert (turn.tenant, turn.language, turn.tools) == ("@telnyx", "en-US", ())
    for path in ("/telnyx/relay", "/telnyx/wrong/relay"):
        async with connect_websocket(app, path) as phone:
            await asyncio.sleep(0)
        assert phone.status == 403


async def test_retell_is_greeted_and_forgotten_by_its_web_hook(tmp_path: Path) -> None:
    app = gateway(tmp_path, fake_agent("Hi."))
    for greeted in (True, False):
        async with connect_websocket(app, f"/retell/{SECRET}/call_1") as phone:
            phone.send_frame(response_required(1, "Hello?"))
            await asyncio.sleep(0.1)
        said = [frame["content"] for _, frame in phone.frames if "content" in frame]
        assert said == (["Good morning.", "Hi."] if greeted else ["Hi."])
    over = b'{"event": "call_ended", "call": {"call_id": "call_1"}}'
    assert (await send_request(app, over, path="/retell/webhook")).status == 204
    async with connect_websocket(app, f"/retell/{SECRET}/call_1") as phone:
        await asyncio.sleep(0.1)
    assert phone.frames[-1][1]["content"] == "Good morning."


async def test_the_house_s_limit_is_for_all_platforms(tmp_path: Path) -> None:
    app = gateway(tmp_path, fake_agent("Hi."))
    paths = [f"/retell/{SECRET}/{number}" for number in range(4)]
    async with connect_websocket(app, paths[0]), connect_websocket(app, paths[1]), connect_websocket(app, paths[2]), connect_websocket(app, paths[3]) as phone:
        await asyncio.sleep(0)
        assert phone.frames[0][1]["content"] == PHRASES["en"].busy


async def test_a_platform_without_a_table_does_not_exist(tmp_path: Path) -> None:
    app = gateway(tmp_path, fake_agent("Hi."), '[agents.first]\nkind = "scripted"\n')
    for path in ("/twilio/relay", "/telnyx/relay", "/retell/1", "/", "/v1/chat/completions"):
        async with connect_websocket(app, path) as phone:
            await asyncio.sleep(0)
        assert phone.status == 404
    for path in ("/twilio/voice", "/twilio/action", "/retell/webhook"):
        assert (await send_request(app, b"", path=path)).status == 404


async def test_without_secrets_this_machine_may_try_and_the_operator_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = gateway(tmp_path, fake_agent("Hi."), OPEN)
    for table, key in (("twilio", "auth_token_env"), ("telnyx", "token_env"), ("retell", "secret_env")):
        assert (
            f"{key} is not configured: calls of [{table}] are taken from this machine only" in caplog.messages
        )
    for table, key in (("twilio", "auth_token_env"), ("retell", "api_key_env")):
        told = f"{key} is not configured: webhooks of [{table}] are taken from this machine only"
        assert told in caplog.messages
    for path in ("/twilio/relay", "/telnyx/relay", "/retell/1"):
        async with connect_websocket(app, path) as phone:
            await asyncio.sleep(0)
        assert phone.status == 101
        async with connect_websocket(app, path, headers={"x-forwarded-for": "192.0.2.7"}) as phone:
            await asyncio.sleep(0)
        assert phone.status == 403


async def test_the_demo_takes_every_platform_s_calls_from_this_machine_and_warns_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = create_app(load(), now=loop_time, agents=lambda table, config: fake_agent("Hi."))
    paths = ("/twilio/relay", "/telnyx/relay", "/retell/1", "/elevenlabs/speech-engine", "/v1/realtime")
    for path in paths:
        async with connect_websocket(app, path) as phone:
            await asyncio.sleep(0)
        assert phone.status == 101
        async with connect_websocket(app, path, headers={"x-forwarded-for": "192.0.2.7"}) as phone:
            await asyncio.sleep(0)
        assert phone.status == 403
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_with_secrets_nobody_is_warned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gateway(tmp_path, fake_agent("Hi."), FILE.replace("[retell]", '[retell]\napi_key_env = "SECRET"'))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("most", "share"), [(1, 1), (5, 2)])
def test_workers_share_the_calls_and_each_has_at_least_one(tmp_path: Path, most: int, share: int) -> None:
    text = FILE.replace("[server]", "[server]\nworkers = 2")
    config = settings(tmp_path, text.replace("concurrent_calls = 1", f"concurrent_calls = {most}"))
    lines = serve_agents(config, dict.fromkeys(config.agents, fake_agent()), loop_time)
    desks = call_endpoints(config, platform_context(config, lines))
    assert [desk.max_calls for desk in desks.values()] == [share, None, None]


def test_a_ticket_is_judged_by_the_time_of_day(tmp_path: Path) -> None:
    config = settings(tmp_path)
    lines = serve_agents(config, dict.fromkeys(config.agents, fake_agent()), loop_time)
    given = ticket.issue(TOKEN, "CA1", 1e9)
    for age, good in ((ticket.TICKET_TTL, True), (ticket.TICKET_TTL + 1, False)):
        desk = call_endpoints(config, platform_context(config, lines, lambda age=age: 1e9 + age))["twilio"]
        assert desk.accepts(CallStarted("CA1", {}, given)) is good


def test_every_action_is_a_tool() -> None:
    assert tuple(TOOLS) == ACTIONS


async def test_at_the_end_calls_get_their_time_and_then_are_sent_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = fake_agent(60, "Late.")
    app = gateway(tmp_path, agent, FILE.replace("[server]", "[server]\nshutdown_grace = 5"))
    async with run_lifespan(app) as state:
        async with connect_websocket(app, f"/retell/{SECRET}/1") as idle, connect_websocket(app, f"/retell/{SECRET}/2") as talking:
            talking.send_frame(response_required(1, "Hello?"))
            await asyncio.sleep(1)
            state["drain"]()
            state["drain"]()
            async with connect_websocket(app, f"/retell/{SECRET}/3") as late:
                await asyncio.sleep(0)
            assert late.status == 503
            await asyncio.sleep(4.9)
            assert (idle.close_code, talking.close_code) == (None, None)
            await asyncio.sleep(1)
            assert (idle.close_code, talking.close_code) == (1012, 1012)
        when, frame = talking.frames[-1]
        assert (when, frame["content"], frame["content_complete"]) == (6.0, PHRASES["en"].shutdown, True)
    assert agent.close_times == [6.0]
    going = "shutting down: 1 turns and 2 calls may go on for 5 seconds; stop again to cut them"
    assert caplog.messages.count(going) == 1
