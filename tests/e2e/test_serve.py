"""HTTP of the served gateway, byte by byte on a socket."""

from __future__ import annotations

import os
import re
import resource
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.server import (
    LAST_CHUNK,
    HttpClient,
    HttpResponse,
    Server,
    chat_request,
    decode_chunked,
    request_head,
    wait_until,
)
from tests.support.chat_lint import lint

pytestmark = pytest.mark.wire

HEADER_BYTES = 4096
DELTAS = 3900
CONFIG = f"""
[limits]
max_header_bytes = {HEADER_BYTES}
max_body_bytes = 100_000

[agents.echo]
kind = "scripted"
script = "echo"

[agents.gated]
kind = "python"
target = "agents:gated"
options = {{ folder = "FOLDER" }}
[agents.gated.ack]
after = 0

[agents.threads]
kind = "python"
target = "agents:threads"
ack.after = "off"

[agents.waiting]
kind = "python"
target = "agents:waiting"
options = {{ folder = "FOLDER" }}

[agents.flood]
kind = "scripted"
script = "flood"
speech = "off"
options = {{ deltas = {DELTAS}, size = 1000 }}

[agents.endless]
kind = "python"
target = "agents:endless"
options = {{ folder = "FOLDER" }}
"""
AGENTS = """
import asyncio
import threading
import time
from pathlib import Path

barrier = threading.Barrier(40)


async def gated(turn, folder):
    deadline = time.monotonic() + 10
    while not Path(folder, "open").exists() and time.monotonic() < deadline:
        time.sleep(0.01)  # blocks the event loop: bytes that are not sent by now stay unsent
    yield "Open." if Path(folder, "open").exists() else "Late."


async def threads(turn):
    await asyncio.to_thread(barrier.wait, 10)
    yield "All here."


async def waiting(turn, folder):
    try:
        yield "Well"
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0)
        Path(folder, turn.said).touch()


async def endless(turn, folder):
    try:
        while True:  # until the gateway cancels the run
            yield "a" * 100_000
            await asyncio.sleep(0)
    finally:
        Path(folder, "stopped").touch()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serve")
    with Server(folder, CONFIG.replace("FOLDER", str(folder)), agents=AGENTS) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[HttpClient]:
    with HttpClient(server) as client:
        yield client


def user_message(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def test_stream_is_well_formed_server_sent_events(client: HttpClient) -> None:
    client.post_chat(
        user_message("All is well") | {"stream_options": {"include_usage": True}}, accept_encoding="gzip, br"
    )
    response = client.read_response()
    lint(response.body, usage=True)
    assert (response.version, response.status, response.text) == ("HTTP/1.1", 200, "One moment. All is well")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-accel-buffering"] == "no"
    assert not response.headers.keys() & {"content-encoding", "content-length", "server"}


def test_first_chunk_is_sent_before_the_agent_starts(server: Server, client: HttpClient) -> None:
    client.post_chat({"model": "gated"})
    client.read_until(b"\r\n\r\n")
    first = client.read_until(b"\n\n\r\n")
    assert b'"delta":{"role":"assistant","content":"One moment. "}' in first
    (server.folder / "open").touch()
    assert b'"content":"Open."' in client.read_until(LAST_CHUNK)


def test_done_and_the_last_chunk_arrive_in_one_read(client: HttpClient) -> None:
    client.post_chat({"model": "echo"})
    reads = []
    while not client.buffer.endswith(LAST_CHUNK):
        reads.append(client.read())
    [last] = [data for data in reads if b"[DONE]" in data]
    assert last.endswith(b"data: [DONE]\n\n\r\n" + LAST_CHUNK)


def test_pipelined_requests_are_answered_in_order(client: HttpClient) -> None:
    client.send(
        chat_request(user_message("first"))
        + chat_request(user_message("second"))
        + chat_request(user_message("third"))
    )
    responses = [client.read_response() for _ in range(3)]
    assert [response.text.removeprefix("One moment. ") for response in responses] == [
        "first",
        "second",
        "third",
    ]
    for response in responses:
        lint(response.body)


def read_to_end(client: HttpClient) -> HttpResponse:
    """Return the response whose body ends with the connection."""
    head = client.read_until(b"\r\n\r\n").removesuffix(b"\r\n\r\n")
    while client.read():
        pass
    return HttpResponse(head, client.buffer)


@pytest.mark.parametrize(("path", "status"), [("/v1/models", 403), ("/healthz", 200), ("/readyz", 200)])
def test_http_1_0_client_without_keys_is_refused(client: HttpClient, path: str, status: int) -> None:
    """A bare `proxy_pass` of nginx sends HTTP/1.0 and names this machine."""
    client.send(request_head(f"GET {path} HTTP/1.0"))
    assert read_to_end(client).status == status


def test_chunked_request_body_is_joined(client: HttpClient) -> None:
    first, _, body = chat_request(user_message("in pieces")).partition(b"\r\n\r\n")
    chunked = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", first) + b"\r\n\r\n"
    client.send(chunked + b"%x\r\n%b\r\n" % (20, body[:20]))
    client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 20, body[20:]))
    assert client.read_response().text == "One moment. in pieces"


def test_head_request_starts_no_turn_and_keeps_the_connection(server: Server, client: HttpClient) -> None:
    response = client.get("/v1/chat/completions", "HEAD")
    assert (response.status, response.body) == (204, b"")
    assert client.get("/v1/models", "HEAD").status == 200
    assert client.get("/readyz").status == 200


def test_expect_100_continue_is_answered(client: HttpClient) -> None:
    request = chat_request(user_message("go on"), expect="100-continue")
    split = request.index(b"\r\n\r\n") + 4
    client.send(request[:split])
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(request[split:])
    assert client.read_response().text == "One moment. go on"


def test_too_large_body_is_refused_before_it_is_sent(client: HttpClient) -> None:
    client.send(
        request_head("POST /v1/chat/completions HTTP/1.1", content_length="100001", expect="100-continue")
    )
    response = client.read_response()
    assert (response.status, response.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01\x00", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_bytes_that_are_not_http_are_refused_with_the_error_envelope(client: HttpClient, data: bytes) -> None:
    client.send(data)
    response = client.read_response()
    assert (response.status, response.headers["content-type"]) == (400, "application/json")
    assert response.error["type"] == "invalid_request_error"
    assert client.is_closed()


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("is_complete", [True, False])
def test_too_large_head_is_refused(client: HttpClient, pieces: int, is_complete: bool) -> None:
    request = request_head("GET /healthz HTTP/1.1", x_long="a" * HEADER_BYTES)
    request = request if is_complete else request.removesuffix(b"\r\n\r\n")
    size = -(-len(request) // pieces)
    for at in range(0, len(request), size):
        client.send(request[at : at + size])
    response = client.read_response()
    assert (response.status, response.error["code"]) == (431, "headers_too_large")
    assert client.is_closed()


def test_head_below_the_limit_is_accepted_on_every_request(client: HttpClient) -> None:
    for _ in range(5):
        assert client.get("/healthz", x_long="a" * (HEADER_BYTES // 2)).status == 200


def test_connection_reset_stops_the_agent(server: Server) -> None:
    with HttpClient(server) as client:
        client.post_chat(user_message("reset") | {"model": "waiting"})
        client.read_until(b'"content":"Well"')
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until((server.folder / "reset").exists)


def test_connection_close_stops_the_agent(server: Server) -> None:
    with HttpClient(server) as client:
        client.post_chat(user_message("close") | {"model": "waiting"})
        client.read_until(b'"content":"Well"')
    wait_until((server.folder / "close").exists)


def test_client_that_reads_late_delays_no_other_and_loses_no_delta(
    server: Server, client: HttpClient
) -> None:
    with HttpClient(server, receive_buffer=4096) as slow:
        slow.post_chat({"model": "flood"})
        wait_until(lambda: server.metric("voicegw_turns_running") == 1)
        for _ in range(20):
            client.post_chat(user_message("still there"))
            assert client.read_response().text == "One moment. still there"
        answer = bytearray()
        while not answer.endswith(LAST_CHUNK):
            answer += slow.socket.recv(1 << 20)
    body = decode_chunked(bytes(answer).partition(b"\r\n\r\n")[2])
    assert len(lint(body)) == DELTAS + 2
    assert body.count(b'"content":"' + b"a" * 999 + b' "') == DELTAS


def resident_bytes(server: Server) -> int:
    """Return the resident memory of the server process in bytes."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_agents_that_block_threads_do_not_wait_for_each_other(server: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(HttpClient(server)) for _ in range(40)]
        for client in clients:
            client.post_chat({"model": "threads"})
        assert {client.read_response().text for client in clients} == {"All here."}


def test_endless_answer_ends_at_the_limit_with_bounded_memory(server: Server) -> None:
    before = resident_bytes(server)
    with HttpClient(server, receive_buffer=4096) as slow:
        slow.post_chat({"model": "endless"})
        wait_until((server.folder / "stopped").exists)
        assert server.metric("voicegw_turns_running") == 1
        assert resident_bytes(server) - before < 30_000_000
        answer = bytearray()
        while not answer.endswith(LAST_CHUNK):
            answer += slow.socket.recv(1 << 20)
    assert b'"finish_reason":"length"' in answer


SECRET = "vgw_not-for-any-log"
USER_TEXT = "my-number-is-4711"


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with TLS and an API key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2"
    subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    config = f"""
        server = {{ tls_cert = "{certificate}", tls_key = "{key}" }}
        limits = {{ max_header_bytes = 4096 }}
        keys.shop.env = "SHOP_KEY"
        [agents.echo]
        kind = "scripted"
        script = "echo"
        [agents.broken]
        kind = "scripted"
        script = "error_midway"
        options = {{ say = "{USER_TEXT}" }}
        [agents.own]
        kind = "python"
        target = "agents:own"
    """
    agents = "async def own(turn):\n    yield turn.said\n    raise ValueError('a bug')\n"
    with Server(folder, config, agents=agents, environ={"SHOP_KEY": SECRET}) as server:
        server.tls_context = ssl.create_default_context(cafile=str(certificate))
        yield server


def test_http_1_0_client_with_a_key_gets_its_answer_and_the_connection_closes(tls_server: Server) -> None:
    """HTTP/1.0 has no chunks: the body ends with the connection."""
    with HttpClient(tls_server) as client:
        request = chat_request({"model": "echo"}, authorization=f"Bearer {SECRET}")
        client.send(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        response = read_to_end(client)
    assert (response.status, response.headers["connection"]) == (200, "close")
    assert response.text == "One moment. Hello?"
    assert "transfer-encoding" not in response.headers


def test_tls_is_served(tls_server: Server) -> None:
    assert tls_server.url == f"https://127.0.0.1:{tls_server.port}"
    with HttpClient(tls_server) as client:
        client.post_chat(user_message("Is this line safe?"), authorization=f"Bearer {SECRET}")
        response = client.read_response()
    lint(response.body)
    assert response.text == "One moment. Is this line safe?"


def test_log_holds_no_user_text_no_key_and_no_path(tls_server: Server) -> None:
    bearer = {"authorization": f"Bearer {SECRET}"}
    for model in ("echo", "broken", "own"):
        with HttpClient(tls_server) as client:
            client.post_chat(user_message(USER_TEXT) | {"model": model, "user": USER_TEXT}, **bearer)
            assert USER_TEXT in client.read_response().text
    for path in (f"/v1/{USER_TEXT}", f"/v1/models/{USER_TEXT}", f"/healthz?token={USER_TEXT}"):
        with HttpClient(tls_server) as client:
            client.get(path, **bearer)
    with HttpClient(tls_server) as client:
        assert client.get("/v1/models", authorization=f"Bearer {SECRET}x").status == 401
    with HttpClient(tls_server) as client:
        client.send(f"GET /{USER_TEXT} HTTP/1.1\r\n{USER_TEXT}\r\n\r\n".encode())
        assert client.read_response().status == 400
    wait_until(lambda: len(tls_server.log_records("refusal")) >= 1)
    wait_until(lambda: len(tls_server.log_records("turn")) >= 3)
    assert USER_TEXT not in tls_server.log
    assert SECRET not in tls_server.log


def test_serve_raises_the_limit_of_open_files_to_the_hard_limit(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
    try:
        server = Server(tmp_path, '[agents.desk]\nkind = "scripted"\n')
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    assert re.findall(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE) == [(str(before[1]),) * 2]
