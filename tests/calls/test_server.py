"""The server of calls: handshakes, limits, log records, and the end of every call."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from tests.calls.test_session import HELLO, SETUP, SILENT, prompt, response_required, token
from tests.support.asgi_websocket import AsgiWebSocket, connect_websocket
from tests.support.fake_agent import fake_agent
from tests.support.gateway import make_call_server
from voicegw.calls import server
from voicegw.calls.server import SETUP_TIMEOUT, CallServer
from voicegw.calls.session import HANG_UP_TIMEOUT, CallSession
from voicegw.platforms.conversation_relay.codec import RelayTurn
from voicegw.turns.phrases import PHRASES

BUSY = PHRASES["en"].busy
SCOPE: dict[str, Any] = {"type": "websocket", "path": "/retell/1", "headers": []}


def open_calls(app: CallServer) -> dict[str, float]:
    """Return the gauge of open calls by platform."""
    samples = app.engine.turn_log.metrics.calls_open.collect()[0].samples
    return {sample.labels["platform"]: sample.value for sample in samples}


def log_records(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    found = [json.loads(message) for message in caplog.messages if message.startswith("{")]
    return [line for line in found if line["event"] == event]


@pytest.mark.parametrize(
    ("path", "draining", "status", "kind"),
    [
        ("/nowhere", False, 404, "not_found_error"),
        ("/", False, 404, "not_found_error"),
        ("", False, 404, "not_found_error"),
        ("nowhere", False, 404, "not_found_error"),
        ("/twilio/wrong", False, 403, "permission_error"),
        ("/twilio/wrong", True, 403, "permission_error"),
        ("/twilio/relay", True, 503, "server_error"),
    ],
)
async def test_refused_handshake_gets_a_status_and_a_reason(
    path: str, draining: bool, status: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app, dispatcher = make_call_server(fake_agent("Hi."))
    if draining:
        dispatcher.drain()
    async with connect_websocket(app, path) as websocket:
        await asyncio.sleep(0)
    assert (websocket.status, json.loads(websocket.body)["error"]["type"]) == (status, kind)
    [line] = log_records(caplog, "refusal")
    assert (line["status"], line["request"], line["client"]) == (status, "req_1", "127.0.0.1")
    assert "wrong" not in caplog.text
    assert open_calls(app) == {}


async def test_without_capacity_twilio_gets_the_busy_phrase_and_an_end_frame() -> None:
    app, _ = make_call_server(fake_agent("Hi."), max_platform_calls=1)
    async with connect_websocket(app, "/twilio/relay") as one:
        one.send_frame(SETUP)
        async with connect_websocket(app, "/twilio/relay") as two:
            two.send_frame({**SETUP, "callSid": "CA2"})
            two.send_frame(HELLO)
            await asyncio.sleep(1)
            assert (two.status, two.close_code) == (101, None)
            assert [frame for _, frame in two.frames] == [
                token(BUSY, last=True),
                {"type": "end", "handoffData": '{"reasonCode":"end_call"}'},
            ]
            assert not app.has_capacity("twilio")
            assert app.has_capacity("retell"), "each platform has its own limit"
    assert app.has_capacity("twilio")


async def test_end_of_a_rejected_call_waits_until_the_busy_phrase_can_have_been_spoken() -> None:
    app, _ = make_call_server(
        fake_agent("Hi."), max_platform_calls=0, chars_per_second=10.0, greeting="Hello, this is us."
    )
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        await asyncio.sleep(20)
    spoken = (len("Hello, this is us.") + len(BUSY)) / 10
    assert [(round(when, 6), frame["type"]) for when, frame in websocket.frames] == [
        (0.0, "text"),
        (pytest.approx(spoken), "end"),
    ]
    assert websocket.close_code == 1000


async def test_without_capacity_retell_gets_the_busy_phrase_and_end_call() -> None:
    app, _ = make_call_server(fake_agent("Hi."), max_platform_calls=1)
    async with connect_websocket(app, "/retell/1"), connect_websocket(app, "/retell/2") as two:
        await asyncio.sleep(1)
    [(_, frame)] = two.frames
    assert (frame["response_id"], frame["content"], frame["content_complete"]) == (0, BUSY, True)
    assert frame["end_call"]


async def test_rejected_call_is_closed_if_the_platform_does_not_hang_up() -> None:
    app, _ = make_call_server(fake_agent("Hi."), max_platform_calls=0)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        await asyncio.sleep(HANG_UP_TIMEOUT - 1)
        assert websocket.close_code is None
        await asyncio.sleep(2)
        assert websocket.close_code == 1000


async def test_reconnected_call_replaces_its_old_socket() -> None:
    agent = fake_agent(0.2, "One", 5, " two.")
    app, _ = make_call_server(agent, ack=SILENT, max_platform_calls=1)
    async with connect_websocket(app, "/twilio/relay") as old, connect_websocket(app, "/twilio/relay") as new:
        old.send_frame(SETUP)
        old.send_frame(HELLO)
        await asyncio.sleep(1)
        new.send_frame(SETUP)
        await asyncio.sleep(0.1)
        assert (old.close_code, new.close_code) == (1012, None)
        assert agent.close_times == [1.0]
        new.send_frame(prompt("And?"))
        old.send_frame(prompt("This is ignored."))
        await asyncio.sleep(0.5)
    texts = [[message.text for message in turn.messages] for turn in agent.turns]
    assert texts == [["Hello?"], ["Hello?"], ["Hello?", "And?"]], "the lost reply was asked for again"
    async with connect_websocket(app, "/retell/7") as old, connect_websocket(app, "/retell/7") as new:
        await asyncio.sleep(0.1)
        assert (old.close_code, new.close_code) == (1012, None)


async def test_rejected_calls_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_REJECTED_OPEN", 1)
    app, _ = make_call_server(fake_agent("Hi."), max_platform_calls=0)
    async with connect_websocket(app, "/retell/1") as one, connect_websocket(app, "/retell/2") as two:
        await asyncio.sleep(1)
    assert (one.status, two.status) == (101, 429)


async def test_rejected_call_that_disconnected_raises_nothing() -> None:
    async def send(message: dict[str, Any]) -> None:
        if message["type"] != "websocket.accept":
            raise ClientDisconnected

    app, _ = make_call_server(fake_agent("Hi."), max_platform_calls=0)
    websocket = AsgiWebSocket()
    websocket.inbox.put_nowait({"type": "websocket.connect"})
    await app(SCOPE, websocket.inbox.get, send)
    assert open_calls(app) == {}


async def test_server_limits_the_calls_of_all_platforms() -> None:
    app, _ = make_call_server(fake_agent("Hi."), max_calls=1)
    async with connect_websocket(app, "/twilio/relay") as one:
        one.send_frame(SETUP)
        await asyncio.sleep(0)
        assert not app.has_capacity("retell")
        async with connect_websocket(app, "/retell/2") as two:
            await asyncio.sleep(0)
        assert two.frames[0][1]["content"] == BUSY
    assert app.has_capacity("retell")


async def test_socket_without_a_setup_is_closed_after_a_timeout() -> None:
    app, _ = make_call_server(fake_agent("Hi."))
    async with (
        connect_websocket(app, "/twilio/relay") as silent,
        connect_websocket(app, "/twilio/relay") as named,
    ):
        named.send_frame(SETUP)
        await asyncio.sleep(SETUP_TIMEOUT - 0.1)
        assert silent.close_code is None
        await asyncio.sleep(1)
        assert (silent.close_code, named.close_code) == (1008, None)
    assert open_calls(app) == {"twilio": 0}


async def test_call_named_by_its_path_has_no_setup_timeout() -> None:
    app, _ = make_call_server(fake_agent("Hi."))
    async with connect_websocket(app, "/retell/1") as websocket:
        await asyncio.sleep(SETUP_TIMEOUT + 1)
        assert websocket.close_code is None


async def test_call_that_is_not_genuine_is_closed_with_1008() -> None:
    agent = fake_agent("Hi.")
    app, dispatcher = make_call_server(agent)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame({**SETUP, "callSid": "CAfalse"})
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        assert websocket.close_code == 1008
    assert (websocket.frames, agent.turns, len(dispatcher.calls)) == ([], [], 0)


async def test_known_call_that_is_not_genuine_is_closed_with_1008() -> None:
    app, dispatcher = make_call_server(fake_agent("Hi."), ack=SILENT)
    dispatcher.calls.get(app._internal_id(app.endpoints["twilio"].profile, "CAfalse"), 0.0)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame({**SETUP, "callSid": "CAfalse"})
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        assert websocket.close_code == 1008
    assert websocket.frames == []


async def test_ended_call_is_forgotten_and_its_turn_stopped() -> None:
    agent = fake_agent(1, "Hi.")
    app, dispatcher = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.5)
        assert len(dispatcher.calls) == 1
        app.call_ended("twilio", "CA1")
        await asyncio.sleep(0.1)
        assert (agent.close_times, len(dispatcher.calls), len(dispatcher.runs)) == ([0.5], 0, 0)
        app.call_ended("twilio", "CA1")
        app.call_ended("retell", "nobody")
    assert len(dispatcher.calls) == 0


async def test_close_all_closes_idle_calls_at_once_and_others_after_their_turn() -> None:
    app, _ = make_call_server(fake_agent(1, "Hi."), ack=SILENT)
    async with (
        connect_websocket(app, "/twilio/relay") as idle,
        connect_websocket(app, "/retell/2") as talking,
    ):
        idle.send_frame(SETUP)
        talking.send_frame(response_required(1, "Hello?"))
        await asyncio.sleep(0.5)
        app.close_all()
        await asyncio.sleep(0.1)
        assert (idle.close_code, talking.close_code) == (1012, None)
        await asyncio.sleep(1)
        assert talking.close_code == 1012
    assert talking.frames[-1][1]["content"] == "Hi."


async def test_call_is_logged_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app, _ = make_call_server(fake_agent(0.2, "One", 0.2, " two."), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.3)
        assert open_calls(app) == {"twilio": 1}
        websocket.send_frame({"type": "interrupt", "utteranceUntilInterrupt": "One"})
        websocket.send_frame(prompt("Sorry?"))
        await asyncio.sleep(1)
    [line] = log_records(caplog, "call")
    call = line.pop("call")
    assert line == {
        "event": "call",
        "platform": "twilio",
        "agent": "desk",
        "name": "CA1",
        "seconds": 1.3,
        "turns": 2,
        "interruptions": 1,
        "gap_ms": 200.0,
    }
    assert call == app._internal_id(app.endpoints["twilio"].profile, "CA1")
    assert "Sorry?" not in caplog.text
    assert open_calls(app) == {"twilio": 0}
    [ended] = [s for s in app.engine.turn_log.metrics.calls.collect()[0].samples if s.name.endswith("_total")]
    assert (ended.labels, ended.value) == ({"platform": "twilio"}, 1)


async def test_disconnected_call_leaves_no_run_and_no_task() -> None:
    agent = fake_agent(0.1, "Hi", 60, " there.")
    app, dispatcher = make_call_server(agent, max_turns=3)
    for number in range(5):
        async with connect_websocket(app, f"/retell/{number}") as websocket:
            websocket.send_frame(response_required(1, "Hello?"))
            await asyncio.sleep(0.5)
    await asyncio.sleep(0)
    assert (len(agent.close_times), len(dispatcher.runs), app.engine.rate_limiter.running_turns) == (5, 0, 0)
    assert app.sessions == {"twilio": set(), "telnyx": set(), "retell": set()}
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("refusal", [ClientDisconnected, OSError, ConnectionResetError])
async def test_failed_send_ends_the_call_at_the_disconnect(
    refusal: type[OSError], caplog: pytest.LogCaptureFixture
) -> None:
    async def lost(message: Any) -> None:
        raise refusal

    agent = fake_agent(0.1, "Hi", 60, " there.")
    app, dispatcher = make_call_server(agent, ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.05)
        application = asyncio.all_tasks()
        replace_send(app, lost)
        await asyncio.sleep(1)
    await asyncio.sleep(0)
    assert len(application) > len(asyncio.all_tasks()) == 1
    assert (
        websocket.frames,
        agent.close_times,
        len(dispatcher.runs),
        app.engine.rate_limiter.running_turns,
    ) == (
        [],
        [1.05],
        0,
        0,
    )
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def replace_send(app: CallServer, send: Any) -> None:
    """Send the frames of the one open call with `send` from now on."""
    [session] = app.sessions["twilio"]
    session.send_queue.send = send


async def test_exception_in_the_encoder_closes_the_socket_with_1011(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: RelayTurn) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr(RelayTurn, "drain", broken)
    app, dispatcher = make_call_server(fake_agent(0.1, "Hi."), ack=SILENT)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(SETUP)
        websocket.send_frame(HELLO)
        await asyncio.sleep(1)
        assert websocket.close_code == 1011
    assert (len(dispatcher.runs), app.engine.rate_limiter.running_turns) == (0, 0)
    assert "a bug" in caplog.text


async def test_cancelled_call_leaves_no_run() -> None:
    agent = fake_agent(60, "Late.")
    app, dispatcher = make_call_server(agent)
    websocket = AsgiWebSocket()
    websocket.inbox.put_nowait({"type": "websocket.connect"})
    application = asyncio.ensure_future(app(SCOPE, websocket.inbox.get, websocket.asgi_send))
    websocket.send_frame(response_required(1, "Hello?"))
    await asyncio.sleep(1)
    application.cancel()
    await asyncio.sleep(0.1)
    assert application.cancelled()
    assert (agent.close_times, len(dispatcher.runs), app.engine.rate_limiter.running_turns) == ([1.0], 0, 0)


async def test_agent_gets_the_platforms_description_of_the_call() -> None:
    agent = fake_agent("Hi.")
    app, _ = make_call_server(agent)
    facts = {**SETUP, "from": "+15550100", "customParameters": {"plan": "gold"}}
    async with connect_websocket(app, "/twilio/relay") as websocket:
        websocket.send_frame(facts)
        websocket.send_frame(HELLO)
        await asyncio.sleep(0.1)
    async with connect_websocket(app, "/retell/1") as websocket:
        websocket.send_frame(response_required(1, "Hello?"))
        websocket.send_frame(
            {"interaction_type": "call_details", "call": {"call_id": "1", "metadata": {"a": 1}}}
        )
        await asyncio.sleep(0.1)
        websocket.send_frame(response_required(2, "Hello?", "Hi.", "Well?"))
        await asyncio.sleep(0.1)
    assert [turn.extra for turn in agent.turns] == [
        {"call": facts},
        {},
        {"call": {"call_id": "1", "metadata": {"a": 1}}},
    ]


def test_client_disconnected_of_uvicorn_is_an_os_error() -> None:
    assert issubclass(ClientDisconnected, OSError)


async def test_text_and_binary_frames_reach_the_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str | bytes] = []
    monkeypatch.setattr(CallSession, "receive", lambda self, frame: taken.append(frame))
    app, _ = make_call_server(fake_agent("Hi."))
    async with connect_websocket(app, "/retell/1") as websocket:
        websocket.send_frame("")
        websocket.send_frame(b"")
        websocket.send_frame(b"\0")
        websocket.send_frame("{}")
        await asyncio.sleep(0.1)
    assert taken == ["", b"", b"\0", "{}"]
