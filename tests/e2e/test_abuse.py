"""The served gateway against hostile clients and against agents that exit, block or ignore cancellation."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import (
    LAST_CHUNK,
    HttpClient,
    Server,
    chat_request,
    decode_chunked,
    request_head,
    wait_until,
)
from tests.support.chat_lint import lint
from voicegw.turns.phrases import PHRASES

pytestmark = pytest.mark.wire

HEADER_BYTES = 4096
HANG_UP_TIMEOUT = 2.5
"""Seconds. It is less than the keep-alive interval: a failed keep-alive would detect the hang-up as well."""
SHUTDOWN_TIMEOUT = 10.0
"""Seconds in which the gateway exits, even if its agents continue."""
CONFIG = f"""
server.shutdown_grace = GRACE
limits = {{ max_header_bytes = {HEADER_BYTES}, send_timeout = 1 }}

[agents.echo]
kind = "scripted"
script = "echo"
ack.after = "off"

[agents.waiting]
kind = "python"
target = "agents:waiting"

[agents.slow]
kind = "scripted"
script = "slow"
options = {{ first = 1.5 }}
ack.after = "off"

[agents.large]
kind = "python"
target = "agents:large"

[agents.exiting]
kind = "python"
target = "agents:exiting"

[agents.exiting_task]
kind = "python"
target = "agents:exiting_task"

[agents.uncancellable]
kind = "python"
target = "agents:uncancellable"

[agents.blocked_thread]
kind = "python"
target = "agents:blocked_thread"
"""
AGENTS = """
import asyncio
import sys
import time


async def waiting(turn):
    yield "Well"
    await asyncio.sleep(600)


async def large(turn):
    for _ in range(39):
        yield "a" * 100_000
        await asyncio.sleep(0)
    await asyncio.sleep(float(turn.said))
    yield "b"


async def exiting(turn):
    yield "Well"
    await asyncio.sleep(0.01)
    sys.exit(3)


async def exiting_task(turn):
    yield "Well"
    await asyncio.create_task(exit_process())


async def exit_process():
    sys.exit(3)


async def uncancellable(turn):
    yield "Well"
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass


async def blocked_thread(turn):
    yield "Well"
    await asyncio.to_thread(time.sleep, 600)
"""


def start_server(folder: Path, shutdown_grace: float) -> Server:
    folder.mkdir(exist_ok=True)
    return Server(folder, CONFIG.replace("GRACE", str(shutdown_grace)), agents=AGENTS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_server(tmp_path_factory.mktemp("abuse"), shutdown_grace=20) as server:
        yield server


def running_turns(server: Server) -> float:
    return server.metric("voicegw_turns_running")


@pytest.fixture
def client(server: Server) -> Iterator[HttpClient]:
    wait_until(lambda: running_turns(server) == 0)
    with HttpClient(server) as client:
        yield client


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("size", [300_000, 500_000, 1_000_000])
def test_disconnect_after_a_large_request_stops_the_turn_at_once(
    server: Server, client: HttpClient, stream: bool, size: int
) -> None:
    """The size decides whether the server has paused reading at the last bytes."""
    client.post_chat(
        {"messages": [{"role": "user", "content": "a" * size}], "model": "waiting", "stream": stream}
    )
    wait_until(lambda: running_turns(server) == 1)
    client.socket.close()
    wait_until(lambda: running_turns(server) == 0, timeout=HANG_UP_TIMEOUT)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("in_one_send", [True, False])
def test_disconnect_after_a_pipelined_request_stops_the_turn_at_once(
    server: Server, client: HttpClient, stream: bool, in_one_send: bool
) -> None:
    request = chat_request({"model": "waiting", "stream": stream})
    client.send(2 * request if in_one_send else request)
    wait_until(lambda: running_turns(server) == 1)
    if not in_one_send:
        client.send(request)
        time.sleep(0.2)  # the server reads the second request; no metric shows when it has
    client.socket.close()
    wait_until(lambda: running_turns(server) == 0, timeout=HANG_UP_TIMEOUT)


def send_until_closed(client: HttpClient, piece: bytes, max_bytes: int = 16_000_000) -> int:
    """Send the same piece until the server closes the connection; return how many bytes were accepted."""
    sent = 0
    try:
        while sent < max_bytes:
            client.send(piece)
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize("piece", [b"x-more: 12345678\r\n" * 100, b"y" * 1000])
def test_endless_trailer_fields_close_the_connection(client: HttpClient, piece: bytes) -> None:
    client.send(request_head("POST /v1/chat/completions HTTP/1.1", transfer_encoding="chunked"))
    client.send(b"2\r\n{}\r\n0\r\nx-field: ")
    assert send_until_closed(client, piece) < 16_000_000
    assert client.read_until(b"\r\n") == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


def test_body_of_tiny_chunks_with_a_trailer_is_answered(client: HttpClient) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "a" * 20_000}], "stream": True}).encode()
    client.send(request_head("POST /v1/chat/completions HTTP/1.1", transfer_encoding="chunked"))
    client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\nx-checksum: 1\r\n\r\n")
    assert client.read_response().text == "a" * 20_000
    assert client.get("/healthz").status == 200


def test_garbage_during_a_stream_is_refused_after_it(server: Server, client: HttpClient) -> None:
    client.post_chat({"model": "slow"})
    client.send(b"\x00\x01\x02\r\n\r\n")
    while client.read():
        pass
    stream, _, refusal = client.buffer.partition(LAST_CHUNK)
    assert stream.count(b"HTTP/") == 1
    assert refusal.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "h2c, websocket"])
def test_post_that_offers_another_protocol_is_answered(client: HttpClient, protocol: str) -> None:
    offer = {"upgrade": protocol, "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    for _ in range(2):
        client.post_chat({}, **offer, connection="Upgrade, HTTP2-Settings")
        assert client.read_response().text == "Hello?"


@pytest.mark.parametrize("stream", [True, False])
def test_client_that_stops_sending_gets_its_response(client: HttpClient, stream: bool) -> None:
    client.post_chat({"model": "slow", "stream": stream})
    client.socket.shutdown(socket.SHUT_WR)
    while client.read():
        pass
    answer = client.buffer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    if stream:
        assert lint(decode_chunked(body))
    else:
        assert json.loads(body)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["waiting", "slow"])
def test_client_that_disconnects_during_a_silence_stops_its_run(
    server: Server, stream: bool, model: str
) -> None:
    with HttpClient(server) as gone:
        gone.post_chat({"model": model, "stream": stream})
        wait_until(lambda: running_turns(server) == 1)
        time.sleep(0.1)
    wait_until(lambda: running_turns(server) == 0, timeout=0.5)


def large_answer_request(seconds: int) -> dict[str, Any]:
    """Return a request whose answer is larger than all socket buffers, and takes this long."""
    return {"model": "large", "messages": [{"role": "user", "content": str(seconds)}]}


def test_client_that_reads_nothing_is_disconnected_and_its_run_cancelled(server: Server) -> None:
    with HttpClient(server, receive_buffer=4096) as slow_client:
        slow_client.post_chat(large_answer_request(600))
        wait_until(lambda: running_turns(server) == 1)
        wait_until(lambda: running_turns(server) == 0)
        with pytest.raises((AssertionError, ConnectionResetError)):
            slow_client.read_until(LAST_CHUNK)


def test_shared_run_continues_after_a_client_that_reads_nothing(server: Server, client: HttpClient) -> None:
    with HttpClient(server, receive_buffer=4096) as slow_client:
        slow_client.post_chat(large_answer_request(3), x_voicegw_call="shared")
        wait_until(lambda: running_turns(server) == 1)
        client.post_chat(large_answer_request(3), x_voicegw_call="shared")
        answer = client.read_until(LAST_CHUNK).partition(b"\r\n\r\n")[2]
    wait_until(lambda: running_turns(server) == 0)
    deltas = [chunk["choices"][0]["delta"] for chunk in lint(decode_chunked(answer))]
    assert "".join(delta.get("content", "") for delta in deltas).endswith("a" * 3_900_000 + "b")
    wait_until(lambda: len([turn for turn in server.log_records("turn") if turn["call"]]) >= 2)
    outcomes = [(turn["turn"], turn["outcome"]) for turn in server.log_records("turn") if turn["call"]]
    assert outcomes == [(outcomes[0][0], "cancelled"), (outcomes[0][0], "answered")]


def failed_turns(server: Server, agent: str) -> list[dict[str, Any]]:
    """Return the log records of the agent's turns. A thread of the server writes them."""
    return [turn for turn in server.log_records("turn") if turn["agent"] == agent]


@pytest.mark.parametrize("agent", ["exiting", "exiting_task"])
def test_agent_that_calls_sys_exit_fails_only_its_own_turn(
    agent: str, server: Server, client: HttpClient
) -> None:
    """The second agent exits in a separate task, as the tools of many frameworks do."""
    with HttpClient(server) as other:
        other.post_chat({"model": "waiting"})
        other.read_until(b'"content":"Well"')
        client.post_chat({"model": agent})
        response = client.read_response()
        lint(response.body)
        assert response.text.endswith(f"Well... {PHRASES['en'].failure}")
        client.post_chat({"model": agent, "stream": False})
        assert client.read_response().status == 502
        assert running_turns(server) == 1
    wait_until(lambda: running_turns(server) == 0)
    assert server.process.poll() is None
    wait_until(lambda: len(failed_turns(server, agent)) >= 2)
    causes = [turn["why"] for turn in failed_turns(server, agent)]
    assert [f"agents:{agent} raised SystemExit at " in cause for cause in causes] == [True, True]


def test_shutdown_waits_neither_for_half_a_request_nor_for_agents_that_do_not_stop(tmp_path: Path) -> None:
    """One test shuts all three servers down at the same time, because each takes seconds."""
    with ExitStack() as stack:
        idle = stack.enter_context(start_server(tmp_path / "idle", shutdown_grace=20))
        timeouts = {idle: HANG_UP_TIMEOUT}
        sender = stack.enter_context(HttpClient(idle))
        sender.send(chat_request()[:-5])
        assert sender.buffer == b""
        for model in ("uncancellable", "blocked_thread"):
            server = stack.enter_context(start_server(tmp_path / model, shutdown_grace=0))
            client = stack.enter_context(HttpClient(server))
            client.post_chat({"model": model})
            client.read_until(b'"content":"Well"')
            timeouts[server] = SHUTDOWN_TIMEOUT
        start = time.monotonic()
        for server in timeouts:
            server.send_signal(signal.SIGTERM)
        for server, seconds in timeouts.items():
            assert server.process.wait(max(0.1, start + seconds - time.monotonic())) == 0, server.log
        assert sender.is_closed()
