"""Each platform's section of the configuration becomes its call endpoint and its webhooks."""

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

from tests.calls.calls import PlannedAgent
from tests.calls.test_session import HELLO, SETUP, prompt, response_required, token
from tests.support.asgi import RecordedResponse, run_lifespan, send_request
from tests.support.asgi_websocket import connect_websocket
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import loop_time
from voicegw.app.create import create_app
from voicegw.app.platforms import build_call_endpoints, build_platform_context
from voicegw.app.served_agents import make_served_agents
from voicegw.calls.call_tools import TOOLS
from voicegw.calls.codec import ACTIONS, CallStarted
from voicegw.config.load import Config, load
from voicegw.events import ToolCall
from voicegw.platforms.twilio import ticket
from voicegw.turns.phrases import PHRASES

TOKEN, SECRET, PUBLIC = "t0ken", "0123456789abcdef", "https://voice.example.com"
ENVIRON = {"TOKEN": TOKEN, "SECRET": SECRET, "SHARED": "sh4red"}
CONFIG = """
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
CONFIG_WITHOUT_SECRETS = '[agents.first]\nkind = "scripted"\n[twilio]\n[telnyx]\n[retell]\n'


def load_config(folder: Path, text: str = CONFIG) -> Config:
    path = folder / "voicegw.toml"
    path.write_text(text, "utf-8")
    return load(path, ENVIRON)


def create_gateway(folder: Path, agent: FakeAgent, text: str = CONFIG) -> ASGIApp:
    return create_app(load_config(folder, text), now=loop_time, agents=lambda section, config: agent)


def signature(url: str, fields: dict[str, str]) -> dict[str, str]:
    return {"x-twilio-signature": str(RequestValidator(TOKEN).compute_signature(url, fields))}


async def post_webhook(app: ASGIApp, path: str, **fields: str) -> RecordedResponse:
    """Send a webhook as Twilio signs it."""
    headers = {"content-type": "application/x-www-form-urlencoded", **signature(PUBLIC + path, fields)}
    return await send_request(app, urlencode(fields).encode(), path=path, headers=headers)


async def incoming_call(app: ASGIApp, call: str = "CA1") -> tuple[dict[str, str], dict[str, Any]]:
    """Send the webhook of an incoming call; return the headers and the setup frame of Twilio's websocket."""
    return relay_of(await post_webhook(app, "/twilio/voice", CallSid=call), call)


def relay_of(answer: RecordedResponse, call: str = "CA1") -> tuple[dict[str, str], dict[str, Any]]:
    """Return the headers and the setup frame of the websocket to which this document connects the call."""
    [[relay]] = fromstring(answer.body)
    parameters = {child.attrib["name"]: child.attrib["value"] for child in relay if child.tag == "Parameter"}
    return signature(relay.attrib["url"], {}), {**SETUP, "callSid": call, "customParameters": parameters}


async def test_twilio_call_from_its_webhook_to_its_end(tmp_path: Path) -> None:
    agent = fake_agent("Hi.")
    app = create_gateway(tmp_path, agent)
    headers, setup = await incoming_call(app)
    async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
        phone.send_frame(setup)
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
        assert phone.close_code is None
        rejected = await post_webhook(app, "/twilio/voice", CallSid="CA2")
        assert fromstring(rejected.body)[0].text == PHRASES["de"].busy
    assert phone.frames == [(0.0, token("Hi.", last=True))]
    [turn] = agent.turns
    assert (turn.tenant, turn.language, [tool.name for tool in turn.tools]) == (
        "@twilio",
        "de-DE",
        ["end_call", "transfer_call"],
    )
    assert [message.text for message in turn.messages] == ["Guten Tag.", "Hello?"]
    handoff = '{"reasonCode": "transfer_call", "number": "+15550100199"}'
    ended = await post_webhook(app, "/twilio/action", CallSid="CA1", HandoffData=handoff)
    assert fromstring(ended.body)[0].text == "+15550100199"


async def test_caller_comes_back_from_a_transfer_that_nobody_answers(tmp_path: Path) -> None:
    def plan(turn: Any) -> Any:
        number = ToolCall("1", "transfer_call", '{"number": "+1 (555) 010-0199"}')
        return ("Nobody is there.",) if turn.kind == "tool" else ("One moment.", number)

    agent = PlannedAgent(plan)
    app = create_gateway(tmp_path, agent)
    headers, setup = await incoming_call(app)
    async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
        phone.send_frame(setup)
        phone.send_frame(HELLO)
        await asyncio.sleep(2)
    end = phone.frames[-1][1]
    fields = {"CallSid": "CA1", "SessionStatus": "ended", "CallStatus": "in-progress"}
    dialed = await post_webhook(app, "/twilio/action", HandoffData=end["handoffData"], **fields)
    [dial] = fromstring(dialed.body)
    assert (dial.text, dial.get("action")) == ("+15550100199", f"{PUBLIC}/twilio/transfer")
    again = await post_webhook(app, "/twilio/transfer", CallSid="CA1", DialCallStatus="no-answer")
    headers, setup = relay_of(again)
    async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
        phone.send_frame(setup)
        await asyncio.sleep(1)
    assert [frame["token"] for _, frame in phone.frames if frame["type"] == "text"] == ["Nobody is there."]
    result = agent.turns[1].messages[-1].text
    assert result == "Not done: the transfer failed (no-answer), and the caller is back."
    assert "voicegw" not in str(agent.turns[1].extra)


async def test_partial_speculate_starts_the_agent_before_the_final_transcript(tmp_path: Path) -> None:
    agent = fake_agent(0.3, "Hi.")
    app = create_gateway(tmp_path, agent)
    headers, setup = await incoming_call(app)
    async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
        phone.send_frame(setup)
        phone.send_frame(prompt("Hello?", last=False))
        await asyncio.sleep(0.5)
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
    assert phone.frames == [(0.5, token("Hi.", last=True))]


@pytest.mark.parametrize("problem", ["none", "text", "missing", "other call", "too late"])
async def test_call_without_a_valid_ticket_is_closed_with_1008(
    tmp_path: Path, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_gateway(tmp_path, fake_agent("Hi."))
    headers, setup = await incoming_call(app)
    if problem == "too late":
        expired = ticket.issue(TOKEN, "CA1", 1e9)
        setup["customParameters"] = {"voicegw": expired}
    elif problem == "other call":
        setup["callSid"] = "CA2"
    else:
        setup["customParameters"] = {"none": None, "text": "voicegw", "missing": {"voicegw": 1}}[problem]
    async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
        phone.send_frame(setup)
        phone.send_frame(HELLO)
        await asyncio.sleep(0.1)
        assert (phone.status, phone.close_code, phone.frames) == (101, 1008, [])


async def test_reconnect_needs_the_ticket_again(tmp_path: Path) -> None:
    app = create_gateway(tmp_path, fake_agent("Hi."))
    headers, setup = await incoming_call(app)
    for customParameters, code in (
        (setup["customParameters"], None),
        (setup["customParameters"], None),
        ({}, 1008),
    ):
        async with connect_websocket(app, "/twilio/relay", headers=headers) as phone:
            phone.send_frame({**setup, "customParameters": customParameters})
            await asyncio.sleep(0.1)
            assert phone.close_code == code


async def test_tickets_false_accepts_calls_with_only_twilio_s_signature(tmp_path: Path) -> None:
    app = create_gateway(tmp_path, fake_agent("Hi."), CONFIG.replace("[telnyx]", "tickets = false\n[telnyx]"))
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


async def test_telnyx_call_is_authenticated_by_its_path_secret(tmp_path: Path) -> None:
    agent = fake_agent("Hi.")
    app = create_gateway(tmp_path, agent)
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


async def test_retell_webhook_of_an_ended_call_deletes_its_transcript(tmp_path: Path) -> None:
    app = create_gateway(tmp_path, fake_agent("Hi."))
    for is_first in (True, False):
        async with connect_websocket(app, f"/retell/{SECRET}/call_1") as phone:
            phone.send_frame(response_required(1, "Hello?"))
            await asyncio.sleep(0.1)
        texts = [frame["content"] for _, frame in phone.frames if "content" in frame]
        assert texts == (["Good morning.", "Hi."] if is_first else ["Hi."])
    call_ended = b'{"event": "call_ended", "call": {"call_id": "call_1"}}'
    assert (await send_request(app, call_ended, path="/retell/webhook")).status == 204
    async with connect_websocket(app, f"/retell/{SECRET}/call_1") as phone:
        await asyncio.sleep(0.1)
    assert phone.frames[-1][1]["content"] == "Good morning."


async def test_concurrent_calls_limit_counts_calls_of_all_platforms(tmp_path: Path) -> None:
    app = create_gateway(tmp_path, fake_agent("Hi."))
    paths = [f"/retell/{SECRET}/{number}" for number in range(4)]
    async with (
        connect_websocket(app, paths[0]),
        connect_websocket(app, paths[1]),
        connect_websocket(app, paths[2]),
        connect_websocket(app, paths[3]) as phone,
    ):
        await asyncio.sleep(0)
        assert phone.frames[0][1]["content"] == PHRASES["en"].busy


async def test_platform_without_a_section_is_404(tmp_path: Path) -> None:
    app = create_gateway(tmp_path, fake_agent("Hi."), '[agents.first]\nkind = "scripted"\n')
    for path in ("/twilio/relay", "/telnyx/relay", "/retell/1", "/", "/v1/chat/completions"):
        async with connect_websocket(app, path) as phone:
            await asyncio.sleep(0)
        assert phone.status == 404
    for path in ("/twilio/voice", "/twilio/action", "/twilio/transfer", "/retell/webhook"):
        assert (await send_request(app, b"", path=path)).status == 404


async def test_without_secrets_only_loopback_is_accepted_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_gateway(tmp_path, fake_agent("Hi."), CONFIG_WITHOUT_SECRETS)
    for section, key in (("twilio", "auth_token_env"), ("telnyx", "token_env"), ("retell", "secret_env")):
        assert (
            f"{key} is not configured: calls of [{section}] are accepted from this machine only"
            in caplog.messages
        )
    for section, key in (("twilio", "auth_token_env"), ("retell", "api_key_env")):
        warning = f"{key} is not configured: webhooks of [{section}] are accepted from this machine only"
        assert warning in caplog.messages
    for path in ("/twilio/relay", "/telnyx/relay", "/retell/1"):
        async with connect_websocket(app, path) as phone:
            await asyncio.sleep(0)
        assert phone.status == 101
        async with connect_websocket(app, path, headers={"x-forwarded-for": "192.0.2.7"}) as phone:
            await asyncio.sleep(0)
        assert phone.status == 403


async def test_demo_accepts_calls_of_all_platforms_from_loopback_without_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = create_app(load(), now=loop_time, agents=lambda section, config: fake_agent("Hi."))
    paths = ("/twilio/relay", "/telnyx/relay", "/retell/1", "/elevenlabs/speech-engine", "/v1/realtime")
    for path in paths:
        async with connect_websocket(app, path) as phone:
            await asyncio.sleep(0)
        assert phone.status == 101
        async with connect_websocket(app, path, headers={"x-forwarded-for": "192.0.2.7"}) as phone:
            await asyncio.sleep(0)
        assert phone.status == 403
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_with_secrets_nothing_is_logged_as_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    create_gateway(
        tmp_path, fake_agent("Hi."), CONFIG.replace("[retell]", '[retell]\napi_key_env = "SECRET"')
    )
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("max_calls", "share"), [(1, 1), (5, 2)])
def test_workers_divide_the_call_limit_and_each_has_at_least_one(
    tmp_path: Path, max_calls: int, share: int
) -> None:
    text = CONFIG.replace("[server]", "[server]\nworkers = 2")
    config = load_config(tmp_path, text.replace("concurrent_calls = 1", f"concurrent_calls = {max_calls}"))
    served_agents = make_served_agents(config, dict.fromkeys(config.agents, fake_agent()), loop_time)
    endpoints = build_call_endpoints(config, build_platform_context(config, served_agents))
    assert [endpoint.max_calls for endpoint in endpoints.values()] == [share, None, None]


def test_ticket_expires_by_wall_clock_time(tmp_path: Path) -> None:
    config = load_config(tmp_path)
    served_agents = make_served_agents(config, dict.fromkeys(config.agents, fake_agent()), loop_time)
    issued = ticket.issue(TOKEN, "CA1", 1e9)
    for age, is_valid in ((ticket.TICKET_TTL, True), (ticket.TICKET_TTL + 1, False)):
        context = build_platform_context(config, served_agents, lambda age=age: 1e9 + age)
        endpoint = build_call_endpoints(config, context)["twilio"]
        assert endpoint.accepts(CallStarted("CA1", {}, issued)) is is_valid


def test_every_action_has_a_tool() -> None:
    assert tuple(TOOLS) == ACTIONS


async def test_shutdown_waits_for_the_grace_and_then_closes_calls_with_1012(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = fake_agent(60, "Late.")
    app = create_gateway(tmp_path, agent, CONFIG.replace("[server]", "[server]\nshutdown_grace = 5"))
    async with run_lifespan(app) as state:
        async with (
            connect_websocket(app, f"/retell/{SECRET}/1") as idle,
            connect_websocket(app, f"/retell/{SECRET}/2") as talking,
        ):
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
    notice = "shutting down: 1 turns and 2 calls may go on for 5 seconds; stop again to end them at once"
    assert caplog.messages.count(notice) == 1
