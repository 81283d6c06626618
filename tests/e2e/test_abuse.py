"""The served gateway against clients and agents that mean no good."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import LAST, Caller, Server, asking, dechunk, eventually, head
from tests.support.chat_lint import lint
from voicegw.turns.phrases import PHRASES

pytestmark = pytest.mark.wire

HEADER_BYTES = 4096
SOON = 2.5
"""Seconds, and less than the keep-alive comment takes: its failure would tell of a hang-up too."""
QUICK = 10.0
"""Seconds in which the gateway ends, even if its agents go on."""
CONFIG = f"""
server.drain = DRAIN
limits = {{ header_bytes = {HEADER_BYTES}, send_timeout = 1 }}

[agents.echo]
kind = "scripted"
script = "echo"
ack.after = "off"

[agents.patient]
kind = "python"
target = "agents:patient"

[agents.torrent]
kind = "python"
target = "agents:torrent"

[agents.leaver]
kind = "python"
target = "agents:leaver"

[agents.bolter]
kind = "python"
target = "agents:bolter"

[agents.deaf]
kind = "python"
target = "agents:deaf"

[agents.stuck]
kind = "python"
target = "agents:stuck"
"""
AGENTS = """
import asyncio
import sys
import time


async def patient(turn):
    yield "Well"
    await asyncio.sleep(600)


async def torrent(turn):
    for _ in range(39):
        yield "a" * 100_000
        await asyncio.sleep(0)
    await asyncio.sleep(float(turn.said))
    yield "b"


async def leaver(turn):
    yield "Well"
    await asyncio.sleep(0.01)
    sys.exit(3)


async def bolter(turn):
    yield "Well"
    await asyncio.create_task(exiting())


async def exiting():
    sys.exit(3)


async def deaf(turn):
    yield "Well"
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


async def stuck(turn):
    yield "Well"
    await asyncio.to_thread(time.sleep, 600)
"""


def serving(folder: Path, drain: float) -> Server:
    folder.mkdir(exist_ok=True)
    return Server(folder, CONFIG.replace("DRAIN", str(drain)), agents=AGENTS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("abuse"), shutdown_grace=20) as server:
        yield server


def turns(server: Server) -> float:
    return server.count("voicegw_turns_running")


@pytest.fixture
def caller(server: Server) -> Iterator[Caller]:
    eventually(lambda: turns(server) == 0)
    with Caller(server) as caller:
        yield caller


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("size", [300_000, 500_000, 1_000_000])
def test_a_hang_up_after_a_large_request_is_noticed_at_once(
    server: Server, caller: Caller, stream: bool, size: int
) -> None:
    """The size decides whether the server pauses at the last bytes."""
    caller.ask({"messages": [{"role": "user", "content": "a" * size}], "model": "patient", "stream": stream})
    eventually(lambda: turns(server) == 1)
    caller.socket.close()
    eventually(lambda: turns(server) == 0, within=SOON)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_a_hang_up_behind_a_second_request_is_noticed_at_once(
    server: Server, caller: Caller, stream: bool, together: bool
) -> None:
    request = asking({"model": "patient", "stream": stream})
    caller.send(2 * request if together else request)
    eventually(lambda: turns(server) == 1)
    if not together:
        caller.send(request)
        time.sleep(0.2)  # until it was read, which nothing outside can see
    caller.socket.close()
    eventually(lambda: turns(server) == 0, within=SOON)


def flood(caller: Caller, piece: bytes, most: int = 16_000_000) -> int:
    """Send the same piece until the server hangs up; how many bytes it and the network took."""
    sent = 0
    try:
        while sent < most:
            caller.send(piece)
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize("piece", [b"x-more: 12345678\r\n" * 100, b"y" * 1000])
def test_fields_after_the_body_have_an_end(caller: Caller, piece: bytes) -> None:
    caller.send(head("POST /v1/chat/completions HTTP/1.1", transfer_encoding="chunked"))
    caller.send(b"2\r\n{}\r\n0\r\nx-field: ")
    assert flood(caller, piece) < 16_000_000
    assert caller.gone()


def test_a_body_of_tiny_chunks_with_a_field_after_it_is_answered(caller: Caller) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "a" * 20_000}], "stream": True}).encode()
    caller.send(head("POST /v1/chat/completions HTTP/1.1", transfer_encoding="chunked"))
    caller.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\nx-checksum: 1\r\n\r\n")
    assert caller.reply().text == "a" * 20_000
    assert caller.get("/healthz").status == 200


def test_garbage_in_the_middle_of_a_stream_puts_no_head_into_it(server: Server, caller: Caller) -> None:
    caller.ask({"model": "patient"})
    caller.until(b'"content":"Well"')
    caller.send(b"\x00\x01\x02\r\n\r\n")
    try:
        while caller.read():
            pass
    except ConnectionResetError:
        pass
    assert b"HTTP/" not in caller.buffer
    assert LAST not in caller.buffer
    eventually(lambda: turns(server) == 0, within=SOON)


def test_a_request_that_offers_http_2_is_answered_as_usual(caller: Caller) -> None:
    offer = {"upgrade": "h2c", "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    for _ in range(2):
        caller.ask({}, **offer, connection="Upgrade, HTTP2-Settings")
        assert caller.reply().text == "Hello?"


def torrent(seconds: int) -> dict[str, Any]:
    """A question whose answer is more than the network holds, and goes on for so long."""
    return {"model": "torrent", "messages": [{"role": "user", "content": str(seconds)}]}


def test_a_client_that_reads_nothing_is_hung_up_on_and_its_run_stopped(server: Server) -> None:
    with Caller(server, receive=4096) as deaf:
        deaf.ask(torrent(600))
        eventually(lambda: turns(server) == 1)
        eventually(lambda: turns(server) == 0)
        with pytest.raises((AssertionError, ConnectionResetError)):
            deaf.until(LAST)


def test_the_run_of_a_client_that_reads_nothing_goes_on_for_others(server: Server, caller: Caller) -> None:
    with Caller(server, receive=4096) as deaf:
        deaf.ask(torrent(3), x_voicegw_call="shared")
        eventually(lambda: turns(server) == 1)
        caller.ask(torrent(3), x_voicegw_call="shared")
        answer = caller.until(LAST).partition(b"\r\n\r\n")[2]
    eventually(lambda: turns(server) == 0)
    assert len(lint(dechunk(answer))) == 39 + 3
    told = [(line["turn"], line["outcome"]) for line in server.lines("turn") if line["call"]]
    assert told == [(told[0][0], "cancelled"), (told[0][0], "answered")]


@pytest.mark.parametrize("agent", ["leaver", "bolter"])
def test_an_agent_that_ends_the_program_ends_its_own_turn_only(
    agent: str, server: Server, caller: Caller
) -> None:
    """Raise in a separate task, as the tools of many frameworks do."""
    with Caller(server) as other:
        other.ask({"model": "patient"})
        other.until(b'"content":"Well"')
        caller.ask({"model": agent})
        reply = caller.reply()
        lint(reply.body)
        assert reply.text.endswith(f"Well... {PHRASES['en'].failure}")
        caller.ask({"model": agent, "stream": False})
        assert caller.reply().status == 502
        assert turns(server) == 1
    eventually(lambda: turns(server) == 0)
    assert server.process.poll() is None
    whys = [line["why"] for line in server.lines("turn") if line["agent"] == agent]
    assert [f"agents:{agent} raised SystemExit at " in why for why in whys] == [True, True]


def test_the_end_waits_neither_for_half_a_request_nor_for_agents_that_will_not_end(tmp_path: Path) -> None:
    """All in one, for each takes its seconds."""
    with ExitStack() as stack:
        half = stack.enter_context(serving(tmp_path / "half", shutdown_grace=20))
        ends = {half: SOON}
        sender = stack.enter_context(Caller(half))
        sender.send(asking()[:-5])
        assert sender.buffer == b""
        for model in ("deaf", "stuck"):
            server = stack.enter_context(serving(tmp_path / model, shutdown_grace=0))
            caller = stack.enter_context(Caller(server))
            caller.ask({"model": model})
            caller.until(b'"content":"Well"')
            ends[server] = QUICK
        start = time.monotonic()
        for server in ends:
            server.tell(signal.SIGTERM)
        for server, seconds in ends.items():
            assert server.process.wait(max(0.1, start + seconds - time.monotonic())) == 0, server.log
        assert sender.gone()
