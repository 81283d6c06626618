"""The served gateway as bytes on a socket."""

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

from tests.e2e.server import LAST, Caller, Server, asking, dechunk, eventually, head
from tests.support.chat_lint import lint

pytestmark = pytest.mark.wire

HEADER_BYTES = 4096
DELTAS = 3900
CONFIG = f"""
[limits]
header_bytes = {HEADER_BYTES}
body_bytes = 100_000

[agents.echo]
kind = "scripted"
script = "echo"

[agents.gated]
kind = "python"
target = "agents:gated"
options = {{ folder = "FOLDER" }}
[agents.gated.ack]
after = 0

[agents.together]
kind = "python"
target = "agents:together"
ack.after = "off"

[agents.patient]
kind = "python"
target = "agents:patient"
options = {{ folder = "FOLDER" }}

[agents.flood]
kind = "scripted"
script = "flood"
speech = "off"
options = {{ deltas = {DELTAS}, size = 1000 }}

[agents.torrent]
kind = "python"
target = "agents:torrent"
options = {{ folder = "FOLDER" }}
"""
AGENTS = """
import asyncio
import threading
import time
from pathlib import Path

everybody = threading.Barrier(40)


async def gated(turn, folder):
    until = time.monotonic() + 10
    while not Path(folder, "open").exists() and time.monotonic() < until:
        time.sleep(0.01)  # the whole loop waits: what is not on the wire by now cannot leave
    yield "Open." if Path(folder, "open").exists() else "Late."


async def together(turn):
    await asyncio.to_thread(everybody.wait, 10)
    yield "All here."


async def patient(turn, folder):
    try:
        yield "Well"
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0)
        Path(folder, turn.said).touch()


async def torrent(turn, folder):
    try:
        while True:  # until somebody says that it is enough
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
def caller(server: Server) -> Iterator[Caller]:
    with Caller(server) as caller:
        yield caller


def said(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def test_a_stream_is_what_every_client_can_read(caller: Caller) -> None:
    caller.ask(said("All is well") | {"stream_options": {"include_usage": True}}, accept_encoding="gzip, br")
    reply = caller.reply()
    lint(reply.body, usage=True)
    assert (reply.version, reply.status, reply.text) == ("HTTP/1.1", 200, "One moment. All is well")
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["x-accel-buffering"] == "no"
    assert not reply.headers.keys() & {"content-encoding", "content-length", "server"}


def test_the_first_chunk_is_on_the_wire_before_the_agent_is_asked(server: Server, caller: Caller) -> None:
    caller.ask({"model": "gated"})
    caller.until(b"\r\n\r\n")
    first = caller.until(b"\n\n\r\n")
    assert b'"delta":{"role":"assistant","content":"One moment. "}' in first
    (server.folder / "open").touch()
    assert b'"content":"Open."' in caller.until(LAST)


def test_done_and_the_end_of_the_body_come_in_one_read(caller: Caller) -> None:
    caller.ask({"model": "echo"})
    reads = []
    while not caller.buffer.endswith(LAST):
        reads.append(caller.read())
    [last] = [data for data in reads if b"[DONE]" in data]
    assert last.endswith(b"data: [DONE]\n\n\r\n" + LAST)


def test_pipelined_requests_are_answered_in_order(caller: Caller) -> None:
    caller.send(asking(said("first")) + asking(said("second")) + asking(said("third")))
    replies = [caller.reply() for _ in range(3)]
    assert [reply.text.removeprefix("One moment. ") for reply in replies] == ["first", "second", "third"]
    for reply in replies:
        lint(reply.body)


def test_a_client_of_http_1_0_gets_its_answer_and_the_connection_ends(caller: Caller) -> None:
    caller.send(asking().replace(b"HTTP/1.1", b"HTTP/1.0"))
    reply = caller.reply()
    assert (reply.status, reply.headers["connection"], reply.text) == (200, "close", "One moment. Hello?")
    assert caller.gone()


def test_a_body_that_comes_in_pieces_is_one_question(caller: Caller) -> None:
    first, _, body = asking(said("in pieces")).partition(b"\r\n\r\n")
    chunked = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", first) + b"\r\n\r\n"
    caller.send(chunked + b"%x\r\n%b\r\n" % (20, body[:20]))
    caller.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 20, body[20:]))
    assert caller.reply().text == "One moment. in pieces"


def test_head_asks_nobody_and_keeps_the_connection(server: Server, caller: Caller) -> None:
    reply = caller.get("/v1/chat/completions", "HEAD")
    assert (reply.status, reply.body) == (204, b"")
    assert caller.get("/v1/models", "HEAD").status == 200
    assert caller.get("/readyz").status == 200


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(caller: Caller) -> None:
    request = asking(said("go on"), expect="100-continue")
    split = request.index(b"\r\n\r\n") + 4
    caller.send(request[:split])
    assert caller.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller.send(request[split:])
    assert caller.reply().text == "One moment. go on"


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(caller: Caller) -> None:
    caller.send(head("POST /v1/chat/completions HTTP/1.1", content_length="100001", expect="100-continue"))
    reply = caller.reply()
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01\x00", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_http_is_refused_in_the_one_envelope(caller: Caller, nonsense: bytes) -> None:
    caller.send(nonsense)
    reply = caller.reply()
    assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
    assert reply.error["type"] == "invalid_request_error"
    assert caller.gone()


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("ended", [True, False])
def test_a_head_that_is_too_large_is_refused(caller: Caller, pieces: int, ended: bool) -> None:
    request = head("GET /healthz HTTP/1.1", x_long="a" * HEADER_BYTES)
    request = request if ended else request.removesuffix(b"\r\n\r\n")
    size = -(-len(request) // pieces)
    for at in range(0, len(request), size):
        caller.send(request[at : at + size])
    reply = caller.reply()
    assert (reply.status, reply.error["code"]) == (431, "headers_too_large")
    assert caller.gone()


def test_a_head_of_the_usual_size_passes_every_time(caller: Caller) -> None:
    for _ in range(5):
        assert caller.get("/healthz", x_long="a" * (HEADER_BYTES // 2)).status == 200


def test_a_client_that_resets_the_connection_stops_the_agent(server: Server) -> None:
    with Caller(server) as caller:
        caller.ask(said("reset") | {"model": "patient"})
        caller.until(b'"content":"Well"')
        caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually((server.folder / "reset").exists)


def test_a_client_that_closes_stops_the_agent(server: Server) -> None:
    with Caller(server) as caller:
        caller.ask(said("close") | {"model": "patient"})
        caller.until(b'"content":"Well"')
    eventually((server.folder / "close").exists)


def test_a_client_that_does_not_read_disturbs_nobody_and_loses_nothing(
    server: Server, caller: Caller
) -> None:
    with Caller(server, receive=4096) as slow:
        slow.ask({"model": "flood"})
        eventually(lambda: server.count("voicegw_turns_running") == 1)
        for _ in range(20):
            caller.ask(said("still there"))
            assert caller.reply().text == "One moment. still there"
        answer = bytearray()
        while not answer.endswith(LAST):
            answer += slow.socket.recv(1 << 20)
    body = dechunk(bytes(answer).partition(b"\r\n\r\n")[2])
    assert len(lint(body)) == DELTAS + 2
    assert body.count(b'"content":"' + b"a" * 999 + b' "') == DELTAS


def resident(server: Server) -> int:
    """Bytes of memory that the server holds."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_agents_that_block_in_threads_do_not_wait_for_each_other(server: Server) -> None:
    with ExitStack() as stack:
        callers = [stack.enter_context(Caller(server)) for _ in range(40)]
        for caller in callers:
            caller.ask({"model": "together"})
        assert {caller.reply().text for caller in callers} == {"All here."}


def test_what_is_said_without_end_is_ended_before_memory_is(server: Server) -> None:
    before = resident(server)
    with Caller(server, receive=4096) as deaf:
        deaf.ask({"model": "torrent"})
        eventually((server.folder / "stopped").exists)
        assert server.count("voicegw_turns_running") == 1
        assert resident(server) - before < 30_000_000
        answer = bytearray()
        while not answer.endswith(LAST):
            answer += deaf.socket.recv(1 << 20)
    assert b'"finish_reason":"length"' in answer


SECRET = "vgw_not-for-any-log"
WORDS = "my-number-is-4711"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With TLS and a key."""
    folder = tmp_path_factory.mktemp("private")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    make = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=test"
    subprocess.run(
        [
            *make.split(),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    config = f"""
        server = {{ tls_cert = "{certificate}", tls_key = "{key}" }}
        limits = {{ header_bytes = 4096 }}
        keys.shop.env = "SHOP_KEY"
        [agents.echo]
        kind = "scripted"
        script = "echo"
        [agents.broken]
        kind = "scripted"
        script = "error_midway"
        options = {{ say = "{WORDS}" }}
        [agents.own]
        kind = "python"
        target = "agents:own"
    """
    agents = "async def own(turn):\n    yield turn.said\n    raise ValueError('a bug')\n"
    with Server(folder, config, agents=agents, environ={"SHOP_KEY": SECRET}) as server:
        server.trust = ssl.create_default_context(cafile=str(certificate))
        yield server


def test_tls_is_served(private: Server) -> None:
    assert private.url == f"https://127.0.0.1:{private.port}"
    with Caller(private) as caller:
        caller.ask(said("Is this line safe?"), authorization=f"Bearer {SECRET}")
        reply = caller.reply()
    lint(reply.body)
    assert reply.text == "One moment. Is this line safe?"


def test_no_log_line_tells_a_word_a_key_or_a_path(private: Server) -> None:
    bearer = {"authorization": f"Bearer {SECRET}"}
    for model in ("echo", "broken", "own"):
        with Caller(private) as caller:
            caller.ask(said(WORDS) | {"model": model, "user": WORDS}, **bearer)
            assert WORDS in caller.reply().text
    for path in (f"/v1/{WORDS}", f"/v1/models/{WORDS}", f"/healthz?token={WORDS}"):
        with Caller(private) as caller:
            caller.get(path, **bearer)
    with Caller(private) as caller:
        assert caller.get("/v1/models", authorization=f"Bearer {SECRET}x").status == 401
    with Caller(private) as caller:
        caller.send(f"GET /{WORDS} HTTP/1.1\r\n{WORDS}\r\n\r\n".encode())
        assert caller.reply().status == 400
    eventually(lambda: len(private.lines("refusal")) >= 1)
    assert len(private.lines("turn")) >= 3
    assert WORDS not in private.log
    assert SECRET not in private.log


def test_it_opens_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
    try:
        server = Server(tmp_path, '[agents.desk]\nkind = "scripted"\n')
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    assert re.findall(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE) == [(str(before[1]),) * 2]
