"""Hostile clients beside an innocent one: the longest gap in its stream, and the memory of the gateway.

    python -m loadtests.attacks [--seconds 3] [--only "websocket pings"] [--connections 4]

It starts a gateway with two keys. With one of them, or with none, a separate process attacks; with the other
one, a client reads a stream with a word every 50 ms. Memory is that of the gateway before the attack, at its
highest, and a second after it. The exit status is 1 if a gap reaches 300 ms. Each bound is in docs/deploy.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from loadtests.generate.cli_types import SECONDS, count
from loadtests.servers.launch import free_port, pin_to_cores, process_usage, run_server, split_cores

MAX_GAP = 0.3
"""Seconds: six times the pause between two words."""
SAMPLE_INTERVAL = 0.05
SETTLE_TIME = 1.0
"""Seconds between the end of an attack and the last sample of the memory."""
VICTIM, ATTACKER = "vgw_victim_0000000000000001", "vgw_attacker_00000000000001"
CONFIG = """
[keys.victim]
env = "VICTIM_KEY"
[keys.attacker]
env = "ATTACKER_KEY"
[agents.words]
kind = "python"
target = "attacked_agent:words"
[agents.echo]
kind = "scripted"
script = "echo"
"""
AGENT = """
import asyncio


async def words(turn):
    for _ in range(100_000):
        yield "word "
        await asyncio.sleep(0.05)
"""

Attack = Callable[[int, float], None]
"""Attacks the gateway on a port until a time of `time.monotonic`."""


class Row(NamedTuple):
    """The result of one attack: the longest gap in seconds, and the memory in bytes."""

    attack: str
    gap: float
    before: int
    peak: int
    after: int


# Attacks


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, "Host: 127.0.0.1", *fields, "\r\n"]).encode()


WITH_KEY = f"Authorization: Bearer {ATTACKER}"
CHUNKED = "Transfer-Encoding: chunked"
POST = "POST /v1/chat/completions HTTP/1.1"


def chat(content: bytes) -> bytes:
    """Return a request of the attacker with this content, which is JSON."""
    body = b'{"model":"echo","messages":[{"role":"user","content":%b}]}' % content
    return head(POST, WITH_KEY, f"Content-Length: {len(body)}") + body


def frame(data: bytes, opcode: int, *, fin: bool = True) -> bytes:
    """Return a short websocket frame of a client, with a mask of zeros."""
    return struct.pack("!BB4x", (fin << 7) | opcode, 0x80 | len(data)) + data


def flood(start: bytes, piece: bytes) -> Attack:
    """Return an attack that sends `start` and then the same piece again and again, and never reads."""
    pieces = piece * max(1, 65_536 // len(piece))

    def attack(port: int, end: float) -> None:
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.settimeout(0.5)
                connection.sendall(start)
                while time.monotonic() < end:
                    connection.sendall(pieces)

    return attack


def flood_websocket(piece: bytes, start: bytes = b"") -> Attack:
    """Return an attack that opens a call, and sends the same frame again and again."""
    handshake = head(
        "GET /v1/realtime?model=echo HTTP/1.1",
        *("Upgrade: websocket", "Connection: upgrade", WITH_KEY),
        *("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13"),
    )

    def attack(port: int, end: float) -> None:
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.settimeout(0.5)
                connection.sendall(handshake)
                connection.recv(4096)
                connection.sendall(start)
                while time.monotonic() < end:
                    connection.sendall(piece * (65_536 // len(piece)))

    return attack


def repeat(request: bytes) -> Attack:
    """Return an attack that sends one request after another, each on a new connection."""

    def attack(port: int, end: float) -> None:
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.settimeout(2)
                connection.sendall(request)
                connection.recv(4096)

    return attack


def hold(start: bytes, connections: int = 200) -> Attack:
    """Return an attack that opens connections, sends the same beginning on each, and keeps them open."""

    def attack(port: int, end: float) -> None:
        opened = []
        with suppress(OSError):
            for _ in range(connections):
                opened.append(socket.create_connection(("127.0.0.1", port), 5))
                opened[-1].sendall(start)
        time.sleep(max(0.0, end - time.monotonic()))
        for connection in opened:
            connection.close()

    return attack


PIECE = json.dumps({"type": "input_audio_buffer.clear"}).encode()
ATTACKS: dict[str, Attack] = {
    "pipelined requests": flood(b"", head("GET /healthz HTTP/1.1")),
    "refused body in 1-byte chunks": flood(head(POST, CHUNKED), b"1\r\n \r\n"),
    "body in 1-byte chunks": flood(head(POST, CHUNKED, WITH_KEY), b"1\r\n \r\n"),
    "refused body of known length": flood(head(POST, "Content-Length: 99999999999"), b" " * 65_536),
    "heads of tiny fields": flood(b"", b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 900 + b"\r\n"),
    "endless trailers": flood(head(POST, CHUNKED, WITH_KEY) + b"2\r\n{}\r\n0\r\n", b"a: b\r\n"),
    "bytes that are no HTTP": flood(b"", b"\x00\xff\r\n\r\n"),
    "websocket pings": flood_websocket(frame(b"", 9)),
    "websocket fragments": flood_websocket(frame(b"", 0, fin=False), frame(b"", 1, fin=False)),
    "websocket messages": flood_websocket(frame(b"{}", 1)),
    "websocket events": flood_websocket(frame(PIECE, 1)),
    "340 000 message parts": repeat(chat(b"[" + b",".join([b'""'] * 340_000) + b"]")),
    "nested lists": repeat(chat(b"[" * 500_000)),
    "backslashes and half an emoji": repeat(chat(b'"' + b"\\\\" * 500_000 + b'\\ud800"')),
    "halves of emojis": repeat(chat(b'"' + b"\\ud83d" * 160_000 + b'"')),
    "idle connections": hold(b""),
    "half requests": hold(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x"),
}
"""The attacks by name."""


def run_attack(name: str, port: int, seconds: float, connections: int) -> None:
    """Attack with several connections at the same time. It is the main function of the attacking process."""
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=ATTACKS[name], args=(port, end)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# The innocent client and the measurement


class InnocentClient:
    """Reads one stream in a thread, and notes the longest gap between two reads."""

    def __init__(self, port: int) -> None:
        body = json.dumps({"model": "words", "stream": True, "messages": [{"role": "user", "content": "Go"}]})
        self.connection = socket.create_connection(("127.0.0.1", port), 5)
        self.connection.settimeout(30)
        key = f"Authorization: Bearer {VICTIM}"
        self.connection.sendall(head(POST, key, f"Content-Length: {len(body)}") + body.encode())
        self.connection.recv(65_536)
        self.longest_gap = 0.0
        self.read_count = 0
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        last = time.monotonic()
        with suppress(OSError):
            while self.connection.recv(65_536):
                now = time.monotonic()
                self.longest_gap, last = max(self.longest_gap, now - last), now
                self.read_count += 1

    def close(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.connection.close()


def measure(name: str, port: int, pid: int, seconds: float, connections: int) -> Row:
    """Run one attack beside an innocent client. Raises RuntimeError if its stream ended."""
    before = peak = process_usage(pid).rss
    attacker = multiprocessing.get_context("spawn").Process(
        target=run_attack, args=(name, port, seconds, connections)
    )
    with closing(InnocentClient(port)) as client:
        attacker.start()
        while attacker.is_alive():
            peak = max(peak, process_usage(pid).rss)
            attacker.join(SAMPLE_INTERVAL)
        time.sleep(SETTLE_TIME)
        reads = client.read_count
        time.sleep(4 * SAMPLE_INTERVAL)
        if client.read_count == reads:
            raise RuntimeError(f"{name}: the stream of the innocent client ended")
        gap = client.longest_gap
    return Row(name, gap, before, peak, process_usage(pid).rss)


@contextmanager
def run_gateway(folder: Path) -> Iterator[tuple[int, int]]:
    """Run a gateway with a core to itself; yield its port and pid."""
    port = free_port()
    (folder / "voicegw.toml").write_text(CONFIG)
    (folder / "attacked_agent.py").write_text(AGENT)
    argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(folder / "voicegw.toml")]
    env = {**os.environ, "VICTIM_KEY": VICTIM, "ATTACKER_KEY": ATTACKER}
    core = split_cores()[0]
    with run_server([*argv, "--port", str(port)], port, core, folder / "log", env) as pid:
        yield port, pid


def run(names: list[str], seconds: float, connections: int) -> Iterator[Row]:
    """Yield the row of each attack. All of them meet the same gateway."""
    with tempfile.TemporaryDirectory(prefix="voicegw-") as folder, run_gateway(Path(folder)) as (port, pid):
        with pin_to_cores(split_cores()[1]), closing(InnocentClient(port)):  # the first stream costs memory
            time.sleep(SETTLE_TIME)
        for name in names:
            with pin_to_cores(split_cores()[1]):
                yield measure(name, port, pid, seconds, connections)


def format_row(row: Row) -> str:
    """Return a row as a line: milliseconds, and megabytes before, at the peak and after."""
    memory = "".join(f"{size / 2**20:8.1f}" for size in (row.before, row.peak, row.after))
    return f"{row.attack:32}{row.gap * 1000:8.0f}{memory}"


def main(argv: list[str] | None = None) -> int:
    """Run the attacks and print a table; return 1 if a gap is too long."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=SECONDS, default=3.0, help="duration of each attack")
    parser.add_argument("--connections", type=count(1, 100), default=4, help="attacking connections")
    parser.add_argument(
        "--only", choices=ATTACKS, nargs="*", default=list(ATTACKS), help="the attacks to run"
    )
    options = parser.parse_args(argv)
    print(f"{'attack':32}{'gap ms':>8}{'before':>8}{'peak':>8}{'after':>8}  MB")
    rows = []
    for row in run(options.only, options.seconds, options.connections):
        rows.append(row)
        print(format_row(row), flush=True)
    return int(any(row.gap >= MAX_GAP for row in rows))


if __name__ == "__main__":
    sys.exit(main())
