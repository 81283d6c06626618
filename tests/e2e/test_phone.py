"""Calls on real websockets, from a client of another make: what platforms see of the served gateway."""

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

from tests.e2e.server import PATIENCE, Caller, Reply, Server, eventually, head
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
    assert not [word for word in (TOKEN, TELNYX, RETELL, "Traceback") if word in server.log], server.log


def signature(url: str, fields: dict[str, str]) -> dict[str, str]:
    """As Twilio's own library makes it."""
    return {"x-twilio-signature": str(RequestValidator(TOKEN).compute_signature(url, fields))}


def hook(server: Server, path: str, **fields: str) -> Element:
    """A web hook of Twilio's: the TwiML that it is answered with."""
    body = urlencode(fields).encode()
    more = {"content_type": "application/x-www-form-urlencoded", "content_length": str(len(body))}
    with Caller(server) as caller:
        caller.send(head(f"POST {path} HTTP/1.1", **more, **signature(PUBLIC + path, fields)) + body)
        reply: Reply = caller.reply()
    assert reply.status == 200, reply.body
    return fromstring(reply.body)


def dial(server: Server, path: str, headers: dict[str, str] | None = None) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{server.port}{path}",
        additional_headers=headers,
        open_timeout=PATIENCE,
        close_timeout=PATIENCE,
        proxy=None,
    )


def twilio(server: Server, call: str = "CA1") -> tuple[ClientConnection, dict[str, Any]]:
    """A call comes in, and Twilio opens its socket: that, and what it says first."""
    [connected] = hook(server, "/twilio/voice", CallSid=call)
    assert connected.attrib["action"] == f"{PUBLIC}/twilio/action"
    [relay] = connected
    url = relay.attrib["url"]
    parameters = {child.attrib["name"]: child.attrib["value"] for child in relay if child.tag == "Parameter"}
    assert url.startswith("wss://voice.example.com/")
    assert relay.attrib["welcomeGreeting"] == "Good morning."
    phone = dial(server, url.removeprefix("wss://voice.example.com"), signature(url, {}))
    return phone, {**SETUP, "callSid": call, "customParameters": parameters}


def says(phone: ClientConnection, frame: dict[str, Any]) -> None:
    phone.send(json.dumps(frame))


def prompt(words: str) -> dict[str, Any]:
    return {"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": True}


def hears(phone: ClientConnection) -> dict[str, Any]:
    frame = phone.recv(timeout=PATIENCE)
    assert isinstance(frame, str), "platforms want text frames"
    return dict(json.loads(frame))


def closed(phone: ClientConnection) -> int | None:
    """Wait until the gateway closes; with which code."""
    try:
        frame = phone.recv(timeout=PATIENCE)
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else None
    raise AssertionError(f"{frame!r} came instead")


def refused(server: Server, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refusal:
        dial(server, path, headers)
    response = refusal.value.response
    return response.status_code, str(json.loads(response.body or b"")["error"]["type"])


def token(text: str, last: bool = True) -> dict[str, Any]:
    return {"type": "text", "token": text, "last": last}


def test_a_call_of_twilio_s_from_its_first_ring_to_its_end(server: Server) -> None:
    phone, setup = twilio(server)
    with phone:
        assert not phone.protocol.extensions, "compression only costs time here"
        says(phone, setup)
        says(phone, prompt("Hello"))
        assert hears(phone) == token("You said Hello, after 1.")
        says(phone, prompt("Think"))
        assert hears(phone) == token("Well", last=False)
        says(phone, {"type": "interrupt", "utteranceUntilInterrupt": "We", "durationUntilInterruptMs": 460})
        assert hears(phone) == token("")
        eventually((server.folder / "closed").exists)
        says(phone, prompt("Bye"))
        assert hears(phone) == token("Good bye.")
        assert hears(phone) == {"type": "end", "handoffData": '{"reasonCode":"end_call"}'}
    handoff = '{"reasonCode":"end_call"}'
    assert list(hook(server, "/twilio/action", CallSid="CA1", HandoffData=handoff)) == []
    eventually(lambda: server.lines("call"))
    [line] = server.lines("call")
    assert (line["platform"], line["turns"], line["interruptions"]) == ("twilio", 3, 1)


def test_a_call_with_a_wrong_signature_never_becomes_a_socket(server: Server) -> None:
    forbidden = (403, "permission_error")
    good = signature("wss://voice.example.com/twilio/relay", {})
    assert refused(server, "/twilio/relay") == forbidden
    assert refused(server, "/twilio/relay", signature("wss://evil.example/twilio/relay", {})) == forbidden
    assert refused(server, "/twilio/relay?a=1", good) == forbidden
    assert refused(server, "/twilio/voice", good) == (404, "not_found_error")
    with dial(server, "/twilio/relay", good):
        pass
    eventually(lambda: len(server.lines("refusal")) == 4)
    assert server.lines("refusal")[0]["client"] == "127.0.0.1"


def test_the_ticket_of_one_call_admits_no_other(server: Server) -> None:
    phone, setup = twilio(server)
    with phone:
        says(phone, {**setup, "callSid": "CA2"})
        says(phone, prompt("Hello"))
        assert closed(phone) == 1008
    phone, setup = twilio(server)
    with phone:
        says(phone, {**setup, "customParameters": {}})
        assert closed(phone) == 1008


def test_a_call_of_twilio_s_that_was_cut_off_goes_on(server: Server) -> None:
    phone, setup = twilio(server)
    with phone:
        says(phone, setup)
        says(phone, prompt("Hello"))
        hears(phone)
        phone.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: server.count('voicegw_calls_open{platform="twilio"}') == 0)
    with dial(server, "/twilio/relay", signature("wss://voice.example.com/twilio/relay", {})) as phone:
        says(phone, setup)
        says(phone, prompt("Hello"))
        says(phone, prompt("Again"))
        assert hears(phone) == token("You said Again, after 3.")


def test_a_call_of_telnyx_s(server: Server) -> None:
    with dial(server, f"/telnyx/{TELNYX}/relay") as phone:
        says(phone, {"type": "setup", "callControlId": "v3:1", "callStatus": "active"})
        says(phone, prompt("Hello"))
        assert hears(phone) == token("You said Hello, after 0.")
    assert refused(server, f"/telnyx/{TELNYX}x/relay")[0] == 403
    assert refused(server, "/telnyx/relay")[0] == 403
    assert refused(server, f"/telnyx/{TELNYX}/elsewhere")[0] == 404


def required(number: int, *said: str) -> dict[str, Any]:
    roles = ("agent", "user")
    transcript = [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]
    return {"interaction_type": "response_required", "response_id": number, "transcript": transcript}


def test_a_call_of_retell_s_with_a_lost_connection(server: Server) -> None:
    path = f"/retell/{RETELL}/call_1"
    greeting = "Good morning."
    with dial(server, path) as phone:
        assert hears(phone)["response_type"] == "config"
        assert (begin := hears(phone))["content"] == greeting
        assert begin["response_id"] == 0
        says(phone, {"interaction_type": "ping_pong", "timestamp": 7})
        assert hears(phone) == {"response_type": "ping_pong", "timestamp": 7}
        says(phone, required(1, greeting, "Think"))
        assert hears(phone)["content"] == "Well"
        says(phone, {"interaction_type": "ping_pong", "timestamp": 8})
        assert hears(phone) == {"response_type": "ping_pong", "timestamp": 8}
        says(phone, required(2, greeting, "Think", "Well", "Hello"))
        answer = hears(phone)
        assert (answer["response_id"], answer["content"]) == (2, "You said Hello, after 3.")
        assert answer["content_complete"] is True
        phone.socket.shutdown(socket.SHUT_RDWR)
    with dial(server, path) as phone:
        assert hears(phone)["response_type"] == "config"
        says(phone, required(3, greeting, "Hello"))
        assert hears(phone)["response_id"] == 3, "nobody is greeted twice"
    assert refused(server, "/retell/wrong-s3cret-0123456789/call_1")[0] == 403
    assert refused(server, "/retell/call_1")[0] == 403
    assert refused(server, f"/retell/{RETELL}")[0] == 404


@pytest.mark.parametrize(
    ("frame", "code"), [(b"\0\1", None), ("a" * 1_048_576, None), ("a" * 1_048_577, 1009)]
)
def test_frames_that_nobody_means(server: Server, frame: str | bytes, code: int | None) -> None:
    with dial(server, f"/retell/{RETELL}/call_1") as phone:
        for _ in range(2):
            hears(phone)
        phone.send(frame)
        if code is None:
            says(phone, required(1, "Hi", "Hello"))
            assert hears(phone)["content"] == "You said Hello, after 1."
        else:
            assert closed(phone) == code


def test_many_calls_leave_nothing_behind(server: Server) -> None:
    def files() -> int:
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    def calls() -> float:
        return server.count("voicegw_calls_open")

    with dial(server, f"/retell/{RETELL}/first") as phone:
        hears(phone)
    eventually(lambda: calls() == 0)
    before = files()
    with ExitStack() as stack:
        phones = [stack.enter_context(dial(server, f"/retell/{RETELL}/{number}")) for number in range(30)]
        for phone in phones:
            says(phone, required(1, "Hi", "Think"))
        eventually(lambda: calls() == 30)
        eventually(lambda: server.count("voicegw_turns_running") == 30)
        for phone in phones[::2]:
            phone.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: calls() == 0)
    eventually(lambda: server.count("voicegw_turns_running") == 0)
    eventually(lambda: files() <= before)
    eventually(lambda: len(server.lines("turn")) == 30)
    assert {line["outcome"] for line in server.lines("turn")} == {"cancelled"}


def test_at_the_end_a_turn_hears_a_farewell_and_calls_are_sent_elsewhere(server: Server) -> None:
    phone, setup = twilio(server)
    with phone, dial(server, f"/retell/{RETELL}/idle") as idle:
        says(phone, setup)
        says(phone, prompt("Think"))
        assert hears(phone) == token("Well", last=False)
        began = time.monotonic()
        server.tell(signal.SIGTERM)
        for _ in range(2):
            hears(idle)
        assert hears(phone) == token(f"... {PHRASES['en'].shutdown}")
        assert (closed(phone), closed(idle)) == (1012, 1012)
        assert server.process.wait(PATIENCE) == 0, server.log
        assert time.monotonic() - began < 4.0
    assert (server.folder / "closed").exists()
    assert [line["error"] for line in server.lines("turn")] == ["ShuttingDown"]


def test_at_the_end_a_platform_that_never_says_goodbye_is_not_waited_for(server: Server) -> None:
    key = {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==", "sec_websocket_version": "13"}
    with Caller(server) as deaf:
        upgrade = {"connection": "upgrade", "upgrade": "websocket", **key}
        deaf.send(head(f"GET /retell/{RETELL}/deaf HTTP/1.1", **upgrade))
        deaf.until(b"content_complete")
        server.tell(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0, server.log
    assert "Cancel" not in server.log


def test_a_handshake_with_an_endless_head_is_refused(server: Server) -> None:
    with Caller(server) as caller:
        more = {"connection": "upgrade", "upgrade": "websocket", "x_long": "a" * 20_000}
        caller.send(head(f"GET /retell/{RETELL}/x HTTP/1.1", **more))
        assert caller.reply().status == 431
        assert caller.gone()


def test_a_second_ctrl_c_waits_for_no_call(tmp_path: Path) -> None:
    config = CONFIG.replace("FOLDER", str(tmp_path)).replace("server.shutdown_grace = 1.0", "server.shutdown_grace = 600")
    with (
        Server(tmp_path, config, agents=AGENTS, environ=ENVIRON) as server,
        dial(server, f"/retell/{RETELL}/idle"),
        dial(server, f"/retell/{RETELL}/talking") as talking,
    ):
        says(talking, required(1, "Hi", "Think"))
        eventually(lambda: server.count("voicegw_turns_running") == 1)
        server.tell(signal.SIGINT)
        eventually(lambda: "shutting down: 1 turns and 2 calls" in server.log)
        time.sleep(0.3)  # signals that come together are one
        server.tell(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0, server.log
    assert not [word for word in (RETELL, "Exception in ASGI") if word in server.log], server.log


def test_calls_reach_any_worker(tmp_path: Path) -> None:
    config = CONFIG.replace("FOLDER", str(tmp_path))
    with Server(tmp_path, config, "--workers", "2", agents=AGENTS, environ=ENVIRON) as server:
        with ExitStack() as stack:
            for number in range(8):
                phone, setup = twilio(server, f"CA{number}")
                stack.enter_context(phone)
                says(phone, setup)
                says(phone, prompt("Hello"))
                assert hears(phone) == token("You said Hello, after 1.")
            eventually(lambda: server.count("voicegw_calls_open") == 8)
        eventually(lambda: server.count("voicegw_calls_open") == 0)
    assert "Traceback" not in server.log
