"""The real server in a separate process, and a caller who sees every byte."""

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
PATIENCE = 15.0
"""Seconds until a test gives up on something that should happen at once."""
HELLO: dict[str, Any] = {"stream": True, "messages": [{"role": "user", "content": "Hello?"}]}
LAST = b"0\r\n\r\n"
"""The chunk that ends a body."""


def eventually(happened: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait until something is true, or fail."""
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class Server:
    """`with Server(folder, toml) as server`: serves on a free port, and is stopped at the end.

    `agents` is the source of a module `agents` beside the configuration. `log` is what it wrote so far.
    """

    def __init__(
        self,
        folder: Path,
        config: str,
        *flags: str,
        agents: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        (folder / "voicegw.toml").write_text(config, "utf-8")
        (folder / "agents.py").write_text(agents, "utf-8")
        self.written = folder / "stderr"
        command = [sys.executable, "-m", "voicegw", "serve", "--config", str(folder / "voicegw.toml")]
        with self.written.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, "--port", "0", *flags],
                cwd=ROOT,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        self.trust: ssl.SSLContext | None = None

    def __enter__(self) -> Server:
        try:
            eventually(self._ready)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self.process.poll() is None:
            self.tell(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            assert kind is not None, f"the server did not stop:\n{self.log}"

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"the server ended:\n{self.log}"
        found = re.search(r"answers at (https?://[^/]+:(\d+))/v1", self.log)
        if found is None:
            return False
        self.url, self.port = found[1], int(found[2])
        if self.url.startswith("https"):
            return True
        try:
            with Caller(self) as caller:
                return caller.get("/readyz").status == 200
        except ConnectionRefusedError:
            return False

    @property
    def log(self) -> str:
        return self.written.read_text("utf-8")

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The journal's lines about turns or refusals."""
        found = [json.loads(line) for line in self.log.splitlines() if line.startswith('{"event"')]
        return [line for line in found if line["event"] == event]

    def count(self, sample: str) -> float:
        """The sum of the metric's samples whose line begins so."""
        with Caller(self) as caller:
            text = caller.get("/metrics").body.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(sample))

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


class Reply:
    """One HTTP answer as it was on the wire: `raw` is the body before chunks were joined."""

    def __init__(self, head: bytes, raw: bytes) -> None:
        first, *fields = head.decode("latin-1").split("\r\n")
        self.version, status, *_ = first.split(" ")
        self.status = int(status)
        self.headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        self.raw = raw

    @property
    def body(self) -> bytes:
        return dechunk(self.raw) if self.headers.get("transfer-encoding") == "chunked" else self.raw

    @property
    def error(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["error"])

    @property
    def text(self) -> str:
        return "".join(map(chunk_text, parse_chunks(self.body)))


class Caller:
    """One connection. `read` takes what came; `reply` reads one whole answer."""

    def __init__(self, server: Server, *, receive: int | None = None) -> None:
        self.socket = socket.socket()
        if receive is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(("127.0.0.1", server.port))
        except OSError:
            self.socket.close()
            raise
        if server.trust is not None:
            self.socket = server.trust.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.buffer = b""

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, body: dict[str, Any] | None = None, **headers: str) -> None:
        """Send one question; `body` is what differs from a plain one."""
        self.send(asking(body, **headers))

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        self.send(head(f"{method} {path} HTTP/1.1", **headers))
        return self.reply(bodiless=method == "HEAD")

    def read(self) -> bytes:
        """Return the bytes of the next read, b"" after the server hung up."""
        data = self.socket.recv(65_536)
        self.buffer += data
        return data

    def until(self, mark: bytes) -> bytes:
        """Read up to and with `mark`; what follows stays for later."""
        while mark not in self.buffer:
            assert self.read(), f"the server hung up after {self.buffer!r}"
        found, _, rest = self.buffer.partition(mark)
        self.buffer = rest
        return found + mark

    def reply(self, *, bodiless: bool = False) -> Reply:
        reply = Reply(self.until(b"\r\n\r\n").removesuffix(b"\r\n\r\n"), b"")
        if "transfer-encoding" in reply.headers:
            reply.raw = self._chunked()
        elif not bodiless:
            size = int(reply.headers.get("content-length", 0))
            while len(self.buffer) < size:
                assert self.read()
            reply.raw, self.buffer = self.buffer[:size], self.buffer[size:]
        return reply

    def _chunked(self) -> bytes:
        raw = []
        while not raw or raw[-1] != LAST:
            size = self.until(b"\r\n")
            wanted = int(size, 16) + 2
            while len(self.buffer) < wanted:
                assert self.read(), "the body was cut"
            raw.append(size + self.buffer[:wanted])
            self.buffer = self.buffer[wanted:]
        return b"".join(raw)

    def gone(self) -> bool:
        """Wait until the server hangs up; anything else that comes is a surprise."""
        try:
            return not self.buffer and not self.read()
        except ConnectionResetError:
            return True


def head(first: str, **headers: str) -> bytes:
    fields = {"host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in fields.items()), "\r\n"]).encode()


def asking(body: dict[str, Any] | None = None, **headers: str) -> bytes:
    """The bytes of one question."""
    data = json.dumps({**HELLO, **(body or {})}).encode()
    return head("POST /v1/chat/completions HTTP/1.1", content_length=str(len(data)), **headers) + data


def dechunk(raw: bytes) -> bytes:
    """The body of a chunked answer, which must end properly."""
    body, at = [], 0
    while raw[at : at + len(LAST) + 1] != LAST:
        line = raw.index(b"\r\n", at)
        start, end = line + 2, line + 2 + int(raw[at:line], 16)
        assert start < end, "a body ends once"
        assert raw[end : end + 2] == b"\r\n"
        body.append(raw[start:end])
        at = end + 2
    return b"".join(body)
