"""Start `voicegw serve` in a separate process, and read its answers byte by byte over a plain socket.

These helpers hold no tests. The HTTP client supports only the requests that the tests send.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.asgi import chunk_text, parse_chunks

ROOT = Path(__file__).parents[2]
TIMEOUT = 15.0
"""Seconds until a test fails because something that should happen at once has not happened."""
START_TIMEOUT = 4 * TIMEOUT
"""Seconds within which a server or a new worker starts: it imports everything anew, on a busy machine."""
DEFAULT_BODY: dict[str, Any] = {"stream": True, "messages": [{"role": "user", "content": "Hello?"}]}
"""The chat request of `chat_request` where a test gives no other fields."""
LAST_CHUNK = b"0\r\n\r\n"
"""The empty chunk that ends a chunked body."""


def wait_until(condition: Callable[[], object], timeout: float = TIMEOUT) -> None:
    """Poll `condition` until it is true; fail the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {timeout} seconds"
        time.sleep(0.01)


class Server:
    """Serve on a free port within a `with` block, and stop the server at its end.

    `config` is the TOML text of the configuration, `flags` are more options of `voicegw serve`. `agents` is
    the source of a module `agents` beside the configuration. `environ` is added to the environment. `url` and
    `port` are set once the server is ready. `log` is the text that the server has written to stderr, a file
    unless `stderr` is another descriptor. `max_files` limits the open files of the server.
    """

    def __init__(
        self,
        folder: Path,
        config: str,
        *flags: str,
        agents: str = "",
        environ: Mapping[str, str] | None = None,
        stderr: int | None = None,
        max_files: int | None = None,
    ) -> None:
        self.folder = folder
        (folder / "voicegw.toml").write_text(config, "utf-8")
        (folder / "agents.py").write_text(agents, "utf-8")
        self.stderr_file = folder / "stderr"
        command = [sys.executable, "-m", "voicegw", "serve", "--config", str(folder / "voicegw.toml")]
        if max_files is not None:
            command = ["sh", "-c", f'ulimit -n {max_files} && exec "$@"', "sh", *command]
        with self.stderr_file.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, "--port", "0", *flags],
                cwd=ROOT,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stderr=file if stderr is None else stderr,
            )
        self.tls_context: ssl.SSLContext | None = None
        """The trust store with which clients connect; None connects without TLS."""

    def __enter__(self) -> Server:
        try:
            wait_until(self._is_ready, START_TIMEOUT)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self.process.poll() is None:
            self.send_signal(signal.SIGTERM)
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            assert kind is not None, f"the server did not stop:\n{self.log}"

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"the server ended:\n{self.log}"
        found = re.search(r"answers at (https?://[^/]+:(\d+))/v1", self.log)
        if found is None:
            return False
        self.url, self.port = found[1], int(found[2])
        if self.url.startswith("https"):
            return True
        try:
            with HttpClient(self) as client:
                return client.get("/readyz").status == 200
        except (ConnectionRefusedError, TimeoutError):
            return False

    @property
    def log(self) -> str:
        return self.stderr_file.read_text("utf-8")

    def log_records(self, event: str) -> list[dict[str, Any]]:
        """Return the JSON records of one event: "turn", "call", "refusal" or "blocked"."""
        records = [json.loads(line) for line in self.log.splitlines() if line.startswith('{"event"')]
        return [record for record in records if record["event"] == event]

    def metric(self, sample: str) -> float:
        """Return the sum of the samples in `/metrics` whose line begins with `sample`."""
        with HttpClient(self) as client:
            text = client.get("/metrics").body.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(sample))

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


class HttpResponse:
    """One HTTP response as it was on the wire: `raw` is the body with its chunk framing."""

    def __init__(self, head: bytes, raw: bytes) -> None:
        first, *fields = head.decode("latin-1").split("\r\n")
        self.version, status, *_ = first.split(" ")
        self.status = int(status)
        self.headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        self.raw = raw

    @property
    def body(self) -> bytes:
        return decode_chunked(self.raw) if self.headers.get("transfer-encoding") == "chunked" else self.raw

    @property
    def error(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["error"])

    @property
    def text(self) -> str:
        """The text of all deltas of a chat completion stream."""
        return "".join(map(chunk_text, parse_chunks(self.body)))


class HttpClient:
    """One connection to the server. `read` does one read, `read_response` reads one whole response.

    `receive_buffer` is the size of the socket's receive buffer in bytes; None leaves it to the system.
    """

    def __init__(self, server: Server, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT)
        try:
            self.socket.connect(("127.0.0.1", server.port))
        except OSError:
            self.socket.close()
            raise
        if server.tls_context is not None:
            self.socket = server.tls_context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.buffer = b""

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def post_chat(self, body: dict[str, Any] | None = None, **headers: str) -> None:
        """Send a chat request without reading the response; `body` is added to `DEFAULT_BODY`."""
        self.send(chat_request(body, **headers))

    def get(self, path: str, method: str = "GET", **headers: str) -> HttpResponse:
        """Send a request without a body, and return the response."""
        self.send(request_head(f"{method} {path} HTTP/1.1", **headers))
        return self.read_response(bodiless=method == "HEAD")

    def read(self) -> bytes:
        """Do one read into the buffer, and return its bytes: none after the server closed the connection."""
        data = self.socket.recv(65_536)
        self.buffer += data
        return data

    def read_until(self, mark: bytes) -> bytes:
        """Return the bytes up to and with `mark`; later bytes stay in the buffer."""
        while mark not in self.buffer:
            assert self.read(), f"the server closed the connection after {self.buffer!r}"
        found, _, rest = self.buffer.partition(mark)
        self.buffer = rest
        return found + mark

    def read_response(self, *, bodiless: bool = False) -> HttpResponse:
        """Read one response; `bodiless` is for a request of HEAD, whose response has no body."""
        response = HttpResponse(self.read_until(b"\r\n\r\n").removesuffix(b"\r\n\r\n"), b"")
        if "transfer-encoding" in response.headers:
            response.raw = self._read_chunked_body()
        elif not bodiless:
            size = int(response.headers.get("content-length", 0))
            while len(self.buffer) < size:
                assert self.read()
            response.raw, self.buffer = self.buffer[:size], self.buffer[size:]
        return response

    def _read_chunked_body(self) -> bytes:
        raw = []
        while not raw or raw[-1] != LAST_CHUNK:
            size = self.read_until(b"\r\n")
            wanted = int(size, 16) + 2
            while len(self.buffer) < wanted:
                assert self.read(), "the server closed the connection within the body"
            raw.append(size + self.buffer[:wanted])
            self.buffer = self.buffer[wanted:]
        return b"".join(raw)

    def is_closed(self) -> bool:
        """Wait until the server closes the connection; return False if it sends something instead."""
        try:
            return not self.buffer and not self.read()
        except ConnectionResetError:
            return True


def request_head(first: str, **headers: str) -> bytes:
    """Return the head of a request: its first line and these headers, with `_` for `-` in their names."""
    fields = {"host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in fields.items()), "\r\n"]).encode()


def chat_request(body: dict[str, Any] | None = None, **headers: str) -> bytes:
    """Return the bytes of one chat request; `body` is added to `DEFAULT_BODY`."""
    data = json.dumps({**DEFAULT_BODY, **(body or {})}).encode()
    return request_head("POST /v1/chat/completions HTTP/1.1", content_length=str(len(data)), **headers) + data


def decode_chunked(raw: bytes) -> bytes:
    """Return the body of a chunked response; fail the test if the chunk framing is wrong."""
    body, at = [], 0
    while raw[at : at + len(LAST_CHUNK) + 1] != LAST_CHUNK:
        line = raw.index(b"\r\n", at)
        start, end = line + 2, line + 2 + int(raw[at:line], 16)
        assert start < end, "an empty chunk stands before the end of the body"
        assert raw[end : end + 2] == b"\r\n"
        body.append(raw[start:end])
        at = end + 2
    return b"".join(body)
