"""Calls on websockets against the served gateway, with the client of the `websockets` library."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, fromstring

import pytest
from twilio.request_validator import RequestValidator
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.e2e.server import TIMEOUT, HttpClient, HttpResponse, Server, request_head, wait_until
from voicegw.turns.phrases import PHRASES

pytestmark = pytest.mark.wire

TOKEN, TELNYX, RETELL = "t0ken", "telnyx-s3cret-0123456789", "retell-s3cret-0123456789"
PUBLIC = "https://voice.example.com"
ENVIRON = {"TOKEN": TOKEN, "TELNYX": TELNYX, "RETELL": RETELL}
CONFIG = """
server.public_url = "https://voice.example.com"
server.shutdown_grace = 1.0

[agents.desk]
kind = "python"
target = "agents:desk"
options = { folder = "FOLDER" }
ack.after = "off"

[twilio]
auth_token_env = "TOKEN"
greeting = "Good morning."
actions = ["end_call"]

[telnyx]
token_env = "TELNYX"

[retell]
secret_env = "RETELL"
greeting = "Good morning."
"""
AGENTS = """
import asyncio
from pathlib import Path

from voicegw.events import ToolCall


async def desk(turn, folder):
    if turn.said == "Bye":
        yield "Good bye."
        yield ToolCall("1", "end_call", "{}")
    elif turn.said == "Think":
        try:
            yield "Well"
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.05)
            Path(folder, "closed").touch()
    else:
        yield f"You said {turn.said}, after {len(turn.messages) - 1}."
"""
SETUP = {"type": "setup", "sessionId": "VX1", "callSid": "CA1", "from": "+15550100"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    config = CONFIG.replace("FOLDER", str(tmp_path))
    with Server(tmp_path, config, agents=AGENTS, environ=ENVIRON) as server:
        yield server
    assert not [text for text in (TOKEN, TELNYX, RETELL, "Traceback") if text in server.log], server.log


def signature(url: str, fields: dict[str, str]) -> dict[str, str]:
    """Return the header that Twilio's own library computes for a request."""
    return {"x-twilio-signature": str(RequestValidator(TOKEN).compute_signature(url, fields))}


def post_webhook(server: Server, path: str, **fields: str) -> Element:
    """Send a webhook of Twilio, and return the TwiML of the response."""
    body = urlencode(fields).encode()
    more = {"content_type": "application/x-www-form-urlencoded", "content_length": str(len(body))}
    with HttpClient(server) as client:
        client.send(request_head(f"POST {path} HTTP/1.1", **more, **signature(PUBLIC + path, fields)) + body)
        response: HttpResponse = client.read_response()
    assert response.status == 200, response.body
    return fromstring(response.body)


def connect_call(server: Server, path: str, headers: dict[str, str] | None = None) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{server.port}{path}",
        additional_headers=headers,
        open_timeout=TIMEOUT,
        close_timeout=TIMEOUT,
        proxy=None,
    )


def connect_twilio_call(server: Server, call: str = "CA1") -> tuple[ClientConnection, dict[str, Any]]:
    """Send the webhook of an incoming call, and open the websocket; return it and the setup frame."""
    [connected] = post_webhook(server, "/twilio/voice", CallSid=call)
    assert connected.attrib["action"] == f"{PUBLIC}/twilio/action"
    [relay] = connected
    url = relay.attrib["url"]
    parameters = {child.attrib["name"]: child.attrib["value"] for child in relay if child.tag == "Parameter"}
    assert url.startswith("wss://voice.example.com/")
    assert relay.attrib["welcomeGreeting"] == "Good morning."
    phone = connect_call(server, url.removeprefix("wss://voice.example.com"), signature(url, {}))
    return phone, {**SETUP, "callSid": call, "customParameters": parameters}


def send_frame(phone: ClientConnection, frame: dict[str, Any]) -> None:
    phone.send(json.dumps(frame))


def prompt_frame(words: str) -> dict[str, Any]:
    return {"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": True}


def receive_frame(phone: ClientConnection) -> dict[str, Any]:
    frame = phone.recv(timeout=TIMEOUT)
    assert isinstance(frame, str), "platforms expect text frames"
    return dict(json.loads(frame))


def wait_for_close(phone: ClientConnection) -> int | None:
    """Wait until the gateway closes the websocket, and return the close code."""
    try:
        frame = phone.recv(timeout=TIMEOUT)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    raise AssertionError(f"the gateway sent {frame!r} instead of a close frame")


def handshake_refusal(server: Server, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Return the status and the error type with which the gateway refuses a handshake."""
    with pytest.raises(InvalidStatus) as refusal:
        connect_call(server, path, headers)
    response = refusal.value.response
    return response.status_code, str(json.loads(response.body or b"")["error"]["type"])


def text_frame(text: str, last: bool = True) -> dict[str, Any]:
    return {"type": "text", "token": text, "last": last}


def test_twilio_call_from_its_webhook_to_its_end(server: Server) -> None:
    phone, setup = connect_twilio_call(server)
    with phone:
        assert not phone.protocol.extensions, "compression costs time and saves nothing on short frames"
        send_frame(phone, setup)
        send_frame(phone, prompt_frame("Hello"))
        assert receive_frame(phone) == text_frame("You said Hello, after 1.")
        send_frame(phone, prompt_frame("Think"))
        assert receive_frame(phone) == text_frame("Well", last=False)
        send_frame(
            phone, {"type": "interrupt", "utteranceUntilInterrupt": "We", "durationUntilInterruptMs": 460}
        )
        assert receive_frame(phone) == text_frame("")
        wait_until((server.folder / "closed").exists)
        send_frame(phone, prompt_frame("Bye"))
        assert receive_frame(phone) == text_frame("Good bye.")
        assert receive_frame(phone) == {"type": "end", "handoffData": '{"reasonCode":"end_call"}'}
    handoff = '{"reasonCode":"end_call"}'
    assert list(post_webhook(server, "/twilio/action", CallSid="CA1", HandoffData=handoff)) == []
    wait_until(lambda: server.log_records("call"))
    [record] = server.log_records("call")
    assert (record["platform"], record["turns"], record["interruptions"]) == ("twilio", 3, 1)


def test_handshake_with_a_wrong_signature_is_refused(server: Server) -> None:
    forbidden = (403, "permission_error")
    good = signature("wss://voice.example.com/twilio/relay", {})
    assert handshake_refusal(server, "/twilio/relay") == forbidden
    assert (
        handshake_refusal(server, "/twilio/relay", signature("wss://evil.example/twilio/relay", {}))
        == forbidden
    )
    assert handshake_refusal(server, "/twilio/relay?a=1", good) == forbidden
    assert handshake_refusal(server, "/twilio/voice", good) == (404, "not_found_error")
    with connect_call(server, "/twilio/relay", good):
        pass
    wait_until(lambda: len(server.log_records("refusal")) == 4)
    assert server.log_records("refusal")[0]["client"] == "127.0.0.1"


def test_ticket_of_one_call_is_refused_for_another(server: Server) -> None:
    phone, setup = connect_twilio_call(server)
    with phone:
        send_frame(phone, {**setup, "callSid": "CA2"})
        send_frame(phone, prompt_frame("Hello"))
        assert wait_for_close(phone) == 1008
    phone, setup = connect_twilio_call(server)
    with phone:
        send_frame(phone, {**setup, "customParameters": {}})
        assert wait_for_close(phone) == 1008


def test_twilio_call_continues_after_a_lost_connection(server: Server) -> None:
    phone, setup = connect_twilio_call(server)
    with phone:
        send_frame(phone, setup)
        send_frame(phone, prompt_frame("Hello"))
        receive_frame(phone)
        phone.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: server.metric('voicegw_calls_open{platform="twilio"}') == 0)
    with connect_call(
        server, "/twilio/relay", signature("wss://voice.example.com/twilio/relay", {})
    ) as phone:
        send_frame(phone, setup)
        send_frame(phone, prompt_frame("Hello"))
        send_frame(phone, prompt_frame("Again"))
        assert receive_frame(phone) == text_frame("You said Again, after 3.")


def test_telnyx_call_and_its_path_secret(server: Server) -> None:
    with connect_call(server, f"/telnyx/{TELNYX}/relay") as phone:
        send_frame(phone, {"type": "setup", "callControlId": "v3:1", "callStatus": "active"})
        send_frame(phone, prompt_frame("Hello"))
        assert receive_frame(phone) == text_frame("You said Hello, after 0.")
    assert handshake_refusal(server, f"/telnyx/{TELNYX}x/relay")[0] == 403
    assert handshake_refusal(server, "/telnyx/relay")[0] == 403
    assert handshake_refusal(server, f"/telnyx/{TELNYX}/elsewhere")[0] == 404


def response_required(number: int, *texts: str) -> dict[str, Any]:
    """Return Retell's frame that asks for an answer; the texts alternate between agent and user."""
    roles = ("agent", "user")
    transcript = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return {"interaction_type": "response_required", "response_id": number, "transcript": transcript}


def test_retell_call_continues_after_a_lost_connection(server: Server) -> None:
    path = f"/retell/{RETELL}/call_1"
    greeting = "Good morning."
    with connect_call(server, path) as phone:
        assert receive_frame(phone)["response_type"] == "config"
        assert (first := receive_frame(phone))["content"] == greeting
        assert first["response_id"] == 0
        send_frame(phone, {"interaction_type": "ping_pong", "timestamp": 7})
        assert receive_frame(phone) == {"response_type": "ping_pong", "timestamp": 7}
        send_frame(phone, response_required(1, greeting, "Think"))
        assert receive_frame(phone)["content"] == "Well"
        send_frame(phone, {"interaction_type": "ping_pong", "timestamp": 8})
        assert receive_frame(phone) == {"response_type": "ping_pong", "timestamp": 8}
        send_frame(phone, response_required(2, greeting, "Think", "Well", "Hello"))
        answer = receive_frame(phone)
        assert (answer["response_id"], answer["content"]) == (2, "You said Hello, after 3.")
        assert answer["content_complete"] is True
        phone.socket.shutdown(socket.SHUT_RDWR)
    with connect_call(server, path) as phone:
        assert receive_frame(phone)["response_type"] == "config"
        send_frame(phone, response_required(3, greeting, "Hello"))
        assert receive_frame(phone)["response_id"] == 3, "the greeting is not repeated after a reconnect"
    assert handshake_refusal(server, "/retell/wrong-s3cret-0123456789/call_1")[0] == 403
    assert handshake_refusal(server, "/retell/call_1")[0] == 403
    assert handshake_refusal(server, f"/retell/{RETELL}")[0] == 404


@pytest.mark.parametrize(
    ("frame", "code"), [(b"\0\1", None), ("a" * 1_048_576, None), ("a" * 1_048_577, 1009)]
)
def test_binary_and_oversized_frames(server: Server, frame: str | bytes, code: int | None) -> None:
    with connect_call(server, f"/retell/{RETELL}/call_1") as phone:
        for _ in range(2):
            receive_frame(phone)
        phone.send(frame)
        if code is None:
            send_frame(phone, response_required(1, "Hi", "Hello"))
            assert receive_frame(phone)["content"] == "You said Hello, after 1."
        else:
            assert wait_for_close(phone) == code


def test_many_calls_leak_no_files_and_cancel_their_turns(server: Server) -> None:
    def open_files() -> int:
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    def open_calls() -> float:
        return server.metric("voicegw_calls_open")

    with connect_call(server, f"/retell/{RETELL}/first") as phone:
        receive_frame(phone)
    wait_until(lambda: open_calls() == 0)
    before = open_files()
    with ExitStack() as stack:
        phones = [
            stack.enter_context(connect_call(server, f"/retell/{RETELL}/{number}")) for number in range(30)
        ]
        for phone in phones:
            send_frame(phone, response_required(1, "Hi", "Think"))
        wait_until(lambda: open_calls() == 30)
        wait_until(lambda: server.metric("voicegw_turns_running") == 30)
        for phone in phones[::2]:
            phone.socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: open_calls() == 0)
    wait_until(lambda: server.metric("voicegw_turns_running") == 0)
    wait_until(lambda: open_files() <= before)
    wait_until(lambda: len(server.log_records("turn")) == 30)
    assert {turn["outcome"] for turn in server.log_records("turn")} == {"cancelled"}


def test_shutdown_ends_the_turn_with_a_phrase_and_closes_calls_with_1012(server: Server) -> None:
    phone, setup = connect_twilio_call(server)
    with phone, connect_call(server, f"/retell/{RETELL}/idle") as idle:
        send_frame(phone, setup)
        send_frame(phone, prompt_frame("Think"))
        assert receive_frame(phone) == text_frame("Well", last=False)
        start = time.monotonic()
        server.send_signal(signal.SIGTERM)
        for _ in range(2):
            receive_frame(idle)
        assert receive_frame(phone) == text_frame(f"... {PHRASES['en'].shutdown}")
        assert (wait_for_close(phone), wait_for_close(idle)) == (1012, 1012)
        assert server.process.wait(TIMEOUT) == 0, server.log
        assert time.monotonic() - start < 4.0
    assert (server.folder / "closed").exists()
    assert [turn["error"] for turn in server.log_records("turn")] == ["ShuttingDown"]


def test_shutdown_does_not_wait_for_a_platform_that_sends_no_close_frame(server: Server) -> None:
    key = {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==", "sec_websocket_version": "13"}
    with HttpClient(server) as platform:
        upgrade = {"connection": "upgrade", "upgrade": "websocket", **key}
        platform.send(request_head(f"GET /retell/{RETELL}/call_1 HTTP/1.1", **upgrade))
        platform.read_until(b"content_complete")
        server.send_signal(signal.SIGTERM)
        assert server.process.wait(TIMEOUT) == 0, server.log
    assert "Cancel" not in server.log


def test_handshake_with_a_too_large_head_is_refused(server: Server) -> None:
    with HttpClient(server) as client:
        more = {"connection": "upgrade", "upgrade": "websocket", "x_long": "a" * 20_000}
        client.send(request_head(f"GET /retell/{RETELL}/x HTTP/1.1", **more))
        assert client.read_response().status == 431
        assert client.is_closed()


def test_second_ctrl_c_exits_without_waiting_for_calls(tmp_path: Path) -> None:
    config = CONFIG.replace("FOLDER", str(tmp_path)).replace(
        "server.shutdown_grace = 1.0", "server.shutdown_grace = 600"
    )
    with (
        Server(tmp_path, config, agents=AGENTS, environ=ENVIRON) as server,
        connect_call(server, f"/retell/{RETELL}/idle"),
        connect_call(server, f"/retell/{RETELL}/talking") as talking,
    ):
        send_frame(talking, response_required(1, "Hi", "Think"))
        wait_until(lambda: server.metric("voicegw_turns_running") == 1)
        server.send_signal(signal.SIGINT)
        wait_until(lambda: "shutting down: 1 turns and 2 calls" in server.log)
        time.sleep(0.3)  # two signals within a short time count as one
        server.send_signal(signal.SIGINT)
        assert server.process.wait(TIMEOUT) == 0, server.log
    assert not [text for text in (RETELL, "Exception in ASGI") if text in server.log], server.log


def test_calls_are_served_by_any_worker(tmp_path: Path) -> None:
    config = CONFIG.replace("FOLDER", str(tmp_path))
    with Server(tmp_path, config, "--workers", "2", agents=AGENTS, environ=ENVIRON) as server:
        with ExitStack() as stack:
            for number in range(8):
                phone, setup = connect_twilio_call(server, f"CA{number}")
                stack.enter_context(phone)
                send_frame(phone, setup)
                send_frame(phone, prompt_frame("Hello"))
                assert receive_frame(phone) == text_frame("You said Hello, after 1.")
            wait_until(lambda: server.metric("voicegw_calls_open") == 8)
        wait_until(lambda: server.metric("voicegw_calls_open") == 0)
    assert "Traceback" not in server.log
