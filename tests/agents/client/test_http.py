"""The client against a scripted server: reuse, hanging up, and everything that breaks."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.agents.upstream import Act, Upstream, answer, chunk, chunked, until
from voicegw.agents.client.http import HttpClient
from voicegw.errors import AgentBusy, AgentProtocolError, AgentUnavailable, ConfigError

pytestmark = pytest.mark.wire

OK = answer(b"ok")


async def ask(client: HttpClient, *, again: bool = True) -> bytes:
    async with client.post("/x", {"a": "b"}, b"{}", retry=again) as response:
        return await response.read(1000)


async def test_a_request_is_one_head_and_body() -> None:
    async with Upstream((answer(b"ok", "X-A: 1", "x-a: 2"),)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/p?q=1", {"a": "b"}, b"body") as response:
            assert (response.status, response.headers["x-a"]) == (200, "1, 2")
            assert await response.read(2) == b"ok"
        host = f"127.0.0.1:{upstream.port}".encode()
        assert upstream.requests == [
            b"POST /p?q=1 HTTP/1.1\r\nhost: " + host + b"\r\na: b\r\ncontent-length: 4\r\n\r\nbody"
        ]
        await client.aclose()


async def test_a_request_without_a_body_has_no_length() -> None:
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
        (chunked(), chunk(b"o"), chunk(b"k"), chunk(b"")),
        (chunked(), chunk(b"ok"), b"0\r\nx-trailer: 1\r\n\r\n"),
        tuple(bytes([byte]) for byte in chunked() + chunk(b"ok") + chunk(b"")),
    ],
)
async def test_a_body_read_to_its_end_gives_the_connection_back(reply: tuple[bytes, ...]) -> None:
    async with Upstream(*[reply] * 3) as upstream:
        client = HttpClient(upstream.url)
        assert [await ask(client) for _ in range(3)] == [b"ok"] * 3
        assert upstream.connections == 1
        await client.aclose()


@pytest.mark.parametrize(
    "reply",
    [
        (answer(b"ok", "connection: close"),),
        (b"HTTP/1.1 200 OK\r\n\r\nok", Act.CLOSE),
        (b"HTTP/1.0 200 OK\r\n\r\no", b"k", Act.CLOSE),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",),
        (OK + b"HTTP/1.1 200 OK\r\n",),
    ],
)
async def test_a_connection_that_must_not_be_reused_is_closed(reply: tuple[bytes | Act, ...]) -> None:
    async with Upstream(reply, reply) as upstream:
        client = HttpClient(upstream.url)
        assert [await ask(client) for _ in range(2)] == [b"ok"] * 2
        assert upstream.connections == 2
        await client.aclose()


async def test_leaving_before_the_end_hangs_up() -> None:
    async with Upstream((chunked() + chunk(b"a"), Act.HANG)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            assert await anext(response) == b"a"
        await asyncio.wait_for(upstream.gone.wait(), 2)
        await client.aclose()


@pytest.mark.parametrize("reply", [(Act.HANG,), (chunked() + chunk(b"a"), Act.HANG)])
async def test_cancelling_hangs_up(reply: tuple[bytes | Act, ...]) -> None:
    async with Upstream(reply) as upstream:
        client = HttpClient(upstream.url)
        task = asyncio.create_task(ask(client))
        await until(lambda: upstream.requests)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(upstream.gone.wait(), 2)
        await client.aclose()


async def test_a_body_that_is_over_ends_by_itself_and_its_connection_is_kept() -> None:
    slow = (chunked() + chunk(b"[DONE]"), 0.02, chunk(b"more"), chunk(b""))
    async with Upstream(slow, (OK,)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            assert await anext(response) == b"[DONE]"
            response.discard_rest()
        await asyncio.sleep(0.06)
        assert await ask(client) == b"ok"
        assert upstream.connections == 1
        await client.aclose()


async def test_a_body_that_is_over_but_goes_on_is_hung_up_on() -> None:
    async with Upstream((chunked() + chunk(b"[DONE]"), Act.HANG)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            await anext(response)
            response.discard_rest()
        assert not upstream.gone.is_set()
        await asyncio.wait_for(upstream.gone.wait(), 2)
        await client.aclose()


@pytest.mark.parametrize("end", [Act.CLOSE, Act.RESET])
async def test_a_kept_connection_that_died_is_replaced_once(end: Act) -> None:
    async with Upstream((OK,), (end,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        assert await ask(client) == b"ok"
        assert await ask(client) == b"ok"
        assert (upstream.connections, len(upstream.requests)) == (2, 3)
        await client.aclose()


async def test_what_must_not_be_asked_twice_is_not() -> None:
    async with Upstream((OK,), (Act.CLOSE,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        await ask(client)
        with pytest.raises(AgentProtocolError, match="/x: connection closed before any answer"):
            await ask(client, again=False)
        assert len(upstream.requests) == 2
        await client.aclose()


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with Upstream((OK, Act.CLOSE), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        await ask(client)
        await until(lambda: upstream.ended)
        await asyncio.sleep(0.01)
        assert await ask(client, again=False) == b"ok"
        assert upstream.connections == 2
        await client.aclose()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((Act.CLOSE,), "connection closed before any answer"),
        ((b"HTTP/1.1 200", Act.CLOSE), "connection closed in the middle"),
        ((answer(b"ok")[:-1], Act.CLOSE), "connection closed in the middle"),
        ((chunked() + b"5\r\nab", Act.CLOSE), "connection closed in the middle"),
        ((chunked() + chunk(b"ab"), Act.RESET), "in the middle of an answer"),
        ((chunked() + b"nonsense\r\n", Act.HANG), "no HTTP"),
        ((b"SSH-2.0-OpenSSH_9\r\n", Act.HANG), "no HTTP"),
        ((b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Act.HANG), "no HTTP"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, Act.HANG), "a head of more than 65536 bytes"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, Act.HANG), "a head of more than 65536 bytes"),
        ((answer(b"x" * 1001),), "a body of more than 1000 bytes"),
        ((answer(b"ok", "content-encoding: gzip"),), "compressed"),
    ],
)
async def test_an_answer_that_breaks_is_garbled_and_says_how(
    reply: tuple[bytes | Act, ...], words: str
) -> None:
    async with Upstream(reply) as upstream:
        client = HttpClient(upstream.url)
        with pytest.raises(AgentProtocolError, match=words) as raised:
            await ask(client)
        assert str(raised.value).count(upstream.url) == 1
        await client.aclose()


async def test_an_error_of_whoever_reads_names_the_address_once() -> None:
    async with Upstream((OK,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        for summary in ("no sense", f"{upstream.url}/x?secret=1: no sense"):
            with pytest.raises(AgentProtocolError) as raised:
                async with client.post("/x?secret=1", {}, b""):
                    raise AgentProtocolError(summary, "because")
            assert str(raised.value).count(upstream.url) == 1
            assert str(raised.value).endswith(": no sense: because")
        await client.aclose()


async def test_a_refusal_counts_although_it_is_compressed() -> None:
    async with Upstream((answer(b"ok", "content-encoding: gzip", status="401 No"),)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/x", {}, b"") as response:
            assert (response.status, response.compressed) == (401, True)
        await client.aclose()


async def test_what_arrived_before_the_cut_is_read_first() -> None:
    async with Upstream((chunked() + chunk(b"ab"), Act.CLOSE)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            await asyncio.sleep(0.02)
            assert await anext(response) == b"ab"
            with pytest.raises(AgentProtocolError):
                await anext(response)
        await client.aclose()


async def test_a_redirect_is_the_operators_business() -> None:
    moved = answer(b"", "location: https://b.example/", status="301 Moved")
    async with Upstream((moved,)) as upstream:
        client = HttpClient(upstream.url)
        with pytest.raises(AgentUnavailable, match=r"redirects to https://b\.example/"):
            await ask(client)
        await client.aclose()


async def test_nobody_listening_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(AgentUnavailable, match=f"http://{host}:{port}: .*refused|Multiple|failed"):
            await ask(HttpClient(f"http://{host}:{port}"))


async def test_no_name_is_unavailable() -> None:
    with pytest.raises(AgentUnavailable, match=r"http://nowhere\.invalid: "):
        await ask(HttpClient("http://nowhere.invalid"))


async def test_a_connection_that_takes_too_long_is_unavailable() -> None:
    tls = ssl.create_default_context()
    async with Upstream((Act.HANG,)) as upstream:  # speaks no TLS and never answers the greeting
        client = HttpClient(f"https://127.0.0.1:{upstream.port}", connect=0.05, ssl=tls)
        with pytest.raises(AgentUnavailable, match=r"no connection within 0.05 s"):
            await ask(client)
        await client.aclose()


async def test_more_connections_than_allowed_are_refused_at_once() -> None:
    async with Upstream((chunked(), Act.HANG), (OK,)) as upstream:
        client = HttpClient(upstream.url, most=1)
        async with client.post("/", {}, b""):
            with pytest.raises(AgentBusy, match="1 connections are open"):
                await ask(client)
        await until(lambda: upstream.ended)
        assert await ask(client) == b"ok"
        await client.aclose()


async def test_prewarmed_connections_are_used() -> None:
    async with Upstream((OK,), (OK,)) as upstream:
        client = HttpClient(upstream.url)
        await client.prewarm(2)
        await client.prewarm(2)
        assert sorted(await asyncio.gather(ask(client), ask(client))) == [b"ok", b"ok"]
        assert upstream.connections == 2
        await client.aclose()


async def test_prewarming_nobody_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AgentUnavailable):
        await HttpClient(f"http://127.0.0.1:{port}").prewarm(2)


async def test_connections_that_rest_too_long_are_closed() -> None:
    async with Upstream() as upstream:
        client = HttpClient(upstream.url, idle=0.05)
        await client.prewarm(2)
        await until(lambda: upstream.ended == 2)
        await client.aclose()


async def test_a_slow_reader_holds_the_upstream_back() -> None:
    piece = chunk(b"x" * 65536)
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(chunked())
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


async def test_closing_the_client_ends_what_runs() -> None:
    async with Upstream((b"HTTP/1.1 200 OK\r\n\r\nendless", Act.HANG)) as upstream:
        client = HttpClient(upstream.url)
        async with client.post("/", {}, b"") as response:
            assert await anext(response) == b"endless"
            await client.aclose()
            with pytest.raises(AgentProtocolError, match="hung up"):
                await anext(response)


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/a\r\nx: 1", {}), ("/", {"a": "b\nc: d"}), ("/", {"a\r": "b"}), ("/", {"a": "\r\n"})],
)
async def test_line_breaks_in_a_head_are_refused(path: str, headers: dict[str, str]) -> None:
    client = HttpClient("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="line break"):
        async with client.post(path, headers, b""):
            pass


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host", "http://", "http://h:x", "http://u:p@h", "http://h:99999", "http://[::1"],
)
async def test_an_address_that_is_none_is_a_configuration_error(url: str) -> None:
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
async def test_the_origin_is_what_the_host_header_says(url: str, origin: str) -> None:
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


async def test_tls_with_a_known_certificate(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    knowing = ssl.create_default_context(cafile=certificate)
    async with Upstream((OK,), (chunked() + chunk(b"a"), Act.HANG), tls=serving) as upstream:
        client = HttpClient(upstream.url, ssl=knowing)
        assert await ask(client) == b"ok"
        async with client.post("/", {}, b"") as response:
            assert await anext(response) == b"a"
        await asyncio.wait_for(upstream.gone.wait(), 2)
        assert upstream.connections == 1
        await client.aclose()


async def test_tls_with_an_unknown_certificate_is_unavailable(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of the refusal
    async with Upstream((OK,), tls=serving) as upstream:
        client = HttpClient(upstream.url)
        with pytest.raises(AgentUnavailable, match=r"(?i)certificate verify failed"):
            await ask(client)
        await client.aclose()
