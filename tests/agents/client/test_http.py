"""The HTTP client against a scripted server: reuse, cancellation and every broken response."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from math import inf
from pathlib import Path

import pytest

from tests.agents.client.test_connection import read_piece
from tests.agents.upstream import Action, Upstream, chunk, chunked_head, http_response, wait_until
from voicegw import __version__
from voicegw.agents.client.connection import Connection
from voicegw.agents.client.http import HttpClient
from voicegw.errors import AgentBusy, AgentProtocolError, AgentUnavailable, ConfigError

pytestmark = pytest.mark.wire

OK = http_response(b"ok")


async def post_and_read(client: HttpClient, *, idempotent: bool = False) -> bytes:
    async with client.post("/x", {"a": "b"}, b"{}", idempotent=idempotent) as response:
        return await response.read(1000)


async def test_request_is_one_head_and_body() -> None:
    async with Upstream((http_response(b"ok", "X-A: 1", "x-a: 2"),)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/p?q=1", {"a": "b"}, b"body") as response:
            assert (response.status, response.headers["x-a"]) == (200, "1, 2")
            assert await response.read(2) == b"ok"
        host = f"127.0.0.1:{upstream.port}".encode()
        assert upstream.requests == [
            b"POST /p?q=1 HTTP/1.1\r\nhost: %b\r\nuser-agent: voicegw/%b\r\na: b\r\n"
            b"content-length: 4\r\n\r\nbody" % (host, __version__.encode())
        ]
        await client.aclose()


async def test_user_agent_of_the_request_replaces_the_own_one() -> None:
    async with Upstream((OK,)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {"user-agent": "desk/1"}, b"") as response:
            await response.read(2)
        assert upstream.requests[0].count(b"user-agent: ") == 1
        assert b"user-agent: desk/1\r\n" in upstream.requests[0]
        await client.aclose()


async def test_request_without_a_body_has_no_content_length() -> None:
    async with Upstream((OK,)) as upstream:
        client = HttpClient(upstream.url)
        async with client.request("GET", "/", {}) as response:
            assert await response.read(2) == b"ok"
        assert b"content-length" not in upstream.requests[0]
        await client.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        (OK,),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", OK),
        (chunked_head(), chunk(b"o"), chunk(b"k"), chunk(b"")),
        (chunked_head(), chunk(b"ok"), b"0\r\nx-trailer: 1\r\n\r\n"),
        tuple(bytes([byte]) for byte in chunked_head() + chunk(b"ok") + chunk(b"")),
    ],
)
async def test_connection_is_reused_after_a_body_read_to_its_end(reply: tuple[bytes, ...]) -> None:
    async with Upstream(*[reply] * 3) as upstream:
        client = HttpClient(upstream.url)
        assert [await post_and_read(client) for _ in range(3)] == [b"ok"] * 3
        assert upstream.connections == 1
        await client.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        (http_response(b"ok", "connection: close"),),
        (b"HTTP/1.1 200 OK\r\n\r\nok", Action.CLOSE),
        (b"HTTP/1.0 200 OK\r\n\r\no", b"k", Action.CLOSE),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",),
        (OK + b"HTTP/1.1 200 OK\r\n",),
    ],
)
async def test_connection_that_must_not_be_reused_is_closed(reply: tuple[bytes | Action, ...]) -> None:
    async with Upstream(reply, reply) as upstream:
        client = HttpClient(upstream.url)
        assert [await post_and_read(client) for _ in range(2)] == [b"ok"] * 2
        assert upstream.connections == 2
        await client.aclose()


async def test_leaving_before_the_end_closes_the_connection() -> None:
    async with Upstream((chunked_head() + chunk(b"a"), Action.HANG)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            assert await read_piece(response) == b"a"
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        await client.aclose()


@pytest.mark.parametrize("reply", [(Action.HANG,), (chunked_head() + chunk(b"a"), Action.HANG)])
async def test_cancellation_closes_the_connection(reply: tuple[bytes | Action, ...]) -> None:
    async with Upstream(reply) as upstream:
        client = HttpClient(upstream.url)
        task = asyncio.create_task(post_and_read(client))
        await wait_until(lambda: upstream.requests)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        await client.aclose()


async def test_discarded_body_that_ends_in_time_keeps_its_connection() -> None:
    slow = (chunked_head() + chunk(b"[DONE]"), 0.02, chunk(b"more"), chunk(b""))
    async with Upstream(slow, (OK,)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            assert await read_piece(response) == b"[DONE]"
            response.discard_rest()
        await asyncio.sleep(0.06)
        assert await post_and_read(client) == b"ok"
        assert upstream.connections == 1
        await client.aclose()


async def test_discarded_body_that_goes_on_loses_its_connection() -> None:
    async with Upstream((chunked_head() + chunk(b"[DONE]"), Action.HANG)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            await read_piece(response)
            response.discard_rest()
        assert not upstream.disconnected.is_set()
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        await client.aclose()


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
@pytest.mark.parametrize(
    ("method", "idempotent"), [("POST", True), ("GET", False), ("PUT", False), ("DELETE", False)]
)
async def test_idempotent_request_on_a_dying_kept_connection_is_sent_once_more(
    method: str, idempotent: bool, end: Action
) -> None:
    async with Upstream((OK,), (end,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        assert await post_and_read(client) == b"ok"
        async with client.request(method, "/x", {}, b"{}", idempotent=idempotent) as response:
            assert await response.read(2) == b"ok"
        assert (upstream.connections, len(upstream.requests)) == (2, 3)
        await client.aclose()


@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_request_on_a_dying_kept_connection_is_not_sent_again(method: str, end: Action) -> None:
    async with Upstream((OK,), (end,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        await post_and_read(client)
        with pytest.raises(AgentProtocolError, match=r"/x: connection (closed|reset) before any answer"):
            async with client.request(method, "/x", {}, b"{}"):
                pass
        assert len(upstream.requests) == 2
        await client.aclose()


async def test_idempotent_request_is_sent_at_most_twice() -> None:
    async with Upstream((OK,), (Action.CLOSE,), (Action.CLOSE,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        await post_and_read(client)
        with pytest.raises(AgentProtocolError, match="before any answer"):
            await post_and_read(client, idempotent=True)
        assert len(upstream.requests) == 3
        await client.aclose()


async def test_connection_that_closes_before_the_request_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Upstream((OK,)) as upstream:
        client = HttpClient(upstream.url)
        opened = client._open_connection

        async def open_and_lose() -> Connection:
            connection = await opened()
            connection.abort()
            return connection

        monkeypatch.setattr(client, "_open_connection", open_and_lose)
        with pytest.raises(AgentUnavailable, match="closed before the request was sent"):
            await post_and_read(client)
        assert not upstream.requests


async def test_close_that_the_event_loop_has_not_read_yet_is_noticed_before_the_request() -> None:
    """A server in another thread closes while the event loop is busy: no callback of the loop has run."""
    listener = socket.create_server(("127.0.0.1", 0))
    bodies: list[bytes] = []
    may_close, is_closed = threading.Event(), threading.Event()

    def serve() -> None:
        for _ in range(2):
            peer, _ = listener.accept()
            bodies.append(peer.recv(65536))
            peer.sendall(OK)
            may_close.wait(2)
            peer.close()
            is_closed.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = HttpClient(f"http://127.0.0.1:{listener.getsockname()[1]}")
    await post_and_read(client)
    may_close.set()
    assert is_closed.wait(2)  # blocks the event loop
    assert await post_and_read(client) == b"ok"
    assert len(bodies) == 2
    await client.aclose()
    thread.join(2)
    listener.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("keep-alive: timeout=5", 5.0),
        ("Keep-Alive: max=100, Timeout=7", 7.0),
        ("keep-alive: timeout=soon", inf),
        ("x: timeout=5", inf),
    ],
)
async def test_time_for_which_the_server_keeps_a_connection_is_read(header: str, seconds: float) -> None:
    async with Upstream((http_response(b"ok", header),)) as upstream:
        client = HttpClient(upstream.url)
        await post_and_read(client)
        assert client._idle[0].keepalive_timeout == seconds
        await client.aclose()


async def test_connection_is_closed_before_the_server_does_it() -> None:
    brief, plain = http_response(b"ok", "keep-alive: timeout=1"), OK
    async with Upstream((0.05, brief), (plain,)) as upstream:
        client = HttpClient(upstream.url)
        answers = await asyncio.gather(post_and_read(client), post_and_read(client))
        assert answers == [b"ok", b"ok"]
        await wait_until(lambda: upstream.ended_connections == 1)
        assert await client.prewarm(1) is None
        assert upstream.connections == 2
        await client.aclose()


async def test_kept_connection_that_closed_meanwhile_is_not_used() -> None:
    async with Upstream((OK, Action.CLOSE), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        await post_and_read(client)
        await wait_until(lambda: upstream.ended_connections)
        await asyncio.sleep(0.01)
        assert await post_and_read(client) == b"ok"
        assert upstream.connections == 2
        await client.aclose()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((Action.CLOSE,), "connection closed before any answer"),
        ((b"HTTP/1.1 200", Action.CLOSE), "connection closed in the middle"),
        ((http_response(b"ok")[:-1], Action.CLOSE), "connection closed in the middle"),
        ((chunked_head() + b"5\r\nab", Action.CLOSE), "connection closed in the middle"),
        ((chunked_head() + chunk(b"ab"), Action.RESET), "in the middle of an answer"),
        ((chunked_head() + b"nonsense\r\n", Action.HANG), "no HTTP"),
        ((b"SSH-2.0-OpenSSH_9\r\n", Action.HANG), "no HTTP"),
        ((b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Action.HANG), "no HTTP"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, Action.HANG), "a head of more than 65536 bytes"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, Action.HANG), "a head of more than 65536 bytes"),
        ((http_response(b"x" * 1001),), "a body of more than 1000 bytes"),
        ((http_response(b"ok", "content-encoding: gzip"),), "compressed"),
    ],
)
async def test_broken_response_raises_a_protocol_error_with_the_reason(
    reply: tuple[bytes | Action, ...], words: str
) -> None:
    async with Upstream(reply) as upstream:
        client = HttpClient(upstream.url)
        with pytest.raises(AgentProtocolError, match=words) as raised:
            await post_and_read(client)
        assert str(raised.value).count(upstream.url) == 1
        await client.aclose()


async def test_error_of_the_reader_names_the_address_once() -> None:
    async with Upstream((OK,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        for summary in ("no sense", f"{upstream.url}/x?secret=1: no sense"):
            with pytest.raises(AgentProtocolError) as raised:
                async with client.post("/x?secret=1", {}, b""):
                    raise AgentProtocolError(summary, "because")
            assert str(raised.value).count(upstream.url) == 1
            assert str(raised.value).endswith(": no sense: because")
        await client.aclose()


async def test_compressed_refusal_is_given_to_the_reader() -> None:
    async with Upstream((http_response(b"ok", "content-encoding: gzip", status="401 No"),)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/x", {}, b"") as response:
            assert (response.status, response.is_compressed) == (401, True)
        await client.aclose()


async def test_bytes_before_a_cut_are_read_before_the_error() -> None:
    async with Upstream((chunked_head() + chunk(b"ab"), Action.CLOSE)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            await asyncio.sleep(0.02)
            assert await read_piece(response) == b"ab"
            with pytest.raises(AgentProtocolError):
                await read_piece(response)
        await client.aclose()


async def test_redirect_raises_unavailable_with_its_target() -> None:
    moved = http_response(b"", "location: https://b.example/", status="301 Moved")
    async with Upstream((moved,)) as upstream:
        client = HttpClient(upstream.url)
        with pytest.raises(
            AgentUnavailable, match=r"redirects: configure the final address: https://b\.example/"
        ):
            await post_and_read(client)
        await client.aclose()


async def test_refused_connection_raises_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(AgentUnavailable, match=f"http://{host}:{port}: .*refused|Multiple|failed"):
            await post_and_read(HttpClient(f"http://{host}:{port}"))


async def test_unknown_host_raises_unavailable() -> None:
    with pytest.raises(AgentUnavailable, match=r"http://nowhere\.invalid: "):
        await post_and_read(HttpClient("http://nowhere.invalid"))


async def test_slow_handshake_raises_unavailable() -> None:
    tls = ssl.create_default_context()
    async with Upstream((Action.HANG,)) as upstream:  # speaks no TLS and never answers the greeting
        client = HttpClient(f"https://127.0.0.1:{upstream.port}", connect_timeout=0.05, ssl=tls)
        with pytest.raises(AgentUnavailable, match=r"no connection within 0.05 s"):
            await post_and_read(client)
        await client.aclose()


async def test_more_than_max_connections_raises_busy() -> None:
    async with Upstream((chunked_head(), Action.HANG), (OK,)) as upstream:
        client = HttpClient(upstream.url, max_connections=1)
        async with client.post("/", {}, b""):
            with pytest.raises(AgentBusy, match="1 connections are open"):
                await post_and_read(client)
        await wait_until(lambda: upstream.ended_connections)
        assert await post_and_read(client) == b"ok"
        await client.aclose()


async def test_prewarmed_connections_are_used() -> None:
    async with Upstream((OK,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        await client.prewarm(2)
        await client.prewarm(2)
        assert sorted(await asyncio.gather(post_and_read(client), post_and_read(client))) == [b"ok", b"ok"]
        assert upstream.connections == 2
        await client.aclose()


async def test_prewarming_without_a_server_raises_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AgentUnavailable):
        await HttpClient(f"http://127.0.0.1:{port}").prewarm(2)


async def test_connection_idle_for_too_long_is_closed() -> None:
    async with Upstream() as upstream:
        client = HttpClient(upstream.url, keepalive_expiry=0.05)
        await client.prewarm(2)
        await wait_until(lambda: upstream.ended_connections == 2)
        await client.aclose()


async def test_slow_reader_stops_the_server_from_sending() -> None:
    piece = chunk(b"x" * 65536)
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(chunked_head())
        for _ in range(400):
            writer.write(piece)
            await writer.drain()
            sent += 1
        writer.write(chunk(b""))
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with client.post("/", {}, b"") as response:
        before = -1
        while sent > before:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 400
        assert len(await response.read(400 * 65536)) == 400 * 65536
    await client.aclose()
    server.close()


async def test_closing_the_client_breaks_running_responses() -> None:
    async with Upstream((b"HTTP/1.1 200 OK\r\n\r\nendless", Action.HANG)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            assert await read_piece(response) == b"endless"
            await client.aclose()
            with pytest.raises(AgentProtocolError, match="hung up"):
                await read_piece(response)


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/a\r\nx: 1", {}), ("/", {"a": "b\nc: d"}), ("/", {"a\r": "b"}), ("/", {"a": "\r\n"})],
)
async def test_line_break_in_a_head_raises_a_value_error(path: str, headers: dict[str, str]) -> None:
    client = HttpClient("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="line break"):
        async with client.post(path, headers, b""):
            pass


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host", "http://", "http://h:x", "http://u:p@h", "http://h:99999", "http://[::1"],
)
async def test_wrong_address_raises_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError):
        HttpClient(url)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://Host/v1", "http://host"),
        ("http://h:80", "http://h"),
        ("https://h:443/", "https://h"),
        ("https://h:80", "https://h:80"),
        ("http://[::1]:8", "http://[::1]:8"),
        ("http://bücher.example", "http://xn--bcher-kva.example"),
    ],
)
async def test_origin_equals_the_host_header(url: str, origin: str) -> None:
    assert HttpClient(url).origin == origin


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([openssl, *made.split(), "-keyout", path, "-out", path.with_suffix(".crt")], check=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


async def test_tls_with_a_trusted_certificate(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    knowing = ssl.create_default_context(cafile=certificate)
    async with Upstream((OK,), (chunked_head() + chunk(b"a"), Action.HANG), tls=serving) as upstream:
        client = HttpClient(upstream.url, ssl=knowing)
        assert await post_and_read(client) == b"ok"
        async with client.post("/", {}, b"") as response:
            assert await read_piece(response) == b"a"
        await asyncio.wait_for(upstream.disconnected.wait(), 2)
        assert upstream.connections == 1
        await client.aclose()


async def test_tls_with_an_untrusted_certificate_raises_unavailable(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server logs the failed handshake
    async with Upstream((OK,), tls=serving) as upstream:
        client = HttpClient(upstream.url)
        with pytest.raises(AgentUnavailable, match=r"(?i)certificate verify failed"):
            await post_and_read(client)
        await client.aclose()
