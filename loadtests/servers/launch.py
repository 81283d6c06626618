"""The servers that the benchmark compares: how each is started, stopped, and what it uses. Linux only."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import orjson

from loadtests.report.results import Sample
from loadtests.servers.peers import PEERS, Launch, NotReady

USUAL = ("direct", "nginx", "naive", "voicegw")
NAMES = (*USUAL, *PEERS)
STOP = 5.0
"""Seconds that a server has to end when told to; then it is killed."""

VOICEGW = """\
[server]
port = {port}
[limits]
concurrent_turns = 4000
[keys.bench]
env = "VOICEGW_BENCH_KEY"
[agents.upstream]
kind = "openai"
url = "http://127.0.0.1:{upstream}/v1"
[agents.upstream.ack]
after = 0
"""

NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  upstream agent {{ server 127.0.0.1:{upstream}; keepalive 4096; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://agent;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


class Used(NamedTuple):
    """CPU seconds since the start and resident bytes now, of a process and its children."""

    cpu: float
    rss: int


NOTHING = Used(0.0, 0)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `idle` is what it used before the first request."""

    name: str
    port: int
    pid: int
    key: str = "none"
    idle: Used = NOTHING
    headers: Mapping[str, str] = field(default_factory=dict)

    def used(self) -> Used:
        return used(self.pid)

    def sample(self, at: float, streams: int) -> Sample:
        """What it uses now, CPU since its start."""
        cpu, rss = self.used()
        return Sample(at, cpu, rss, files(self.pid), streams)


def family(pid: int) -> Iterator[int]:
    """The process and its children, theirs too; nothing of one that is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = " ".join((task / "children").read_text() for task in tasks).split()
        yield pid
        for child in children:
            yield from family(int(child))


def ticked(pid: int) -> float:
    """CPU seconds of a process by the system's ticks: coarser than its threads', but with the dead ones."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used(pid: int) -> Used:
    """What a process and its children use; a process that is gone uses nothing."""
    total = NOTHING
    for one in family(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            tasks = Path(f"/proc/{one}/task").iterdir()
            cpu = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
            pages = int(Path(f"/proc/{one}/statm").read_text().split()[1])
            total = Used(total.cpu + max(cpu, ticked(one)), total.rss + pages * os.sysconf("SC_PAGE_SIZE"))
    return total


def files(pid: int) -> int:
    """How many files and sockets a process and its children have open."""
    count = 0
    for one in family(pid):
        with contextlib.suppress(OSError):  # gone, or another user's
            count += len(os.listdir(f"/proc/{one}/fd"))
    return count


@cache
def cores() -> tuple[set[int], set[int]]:
    """Where the server under test runs, and where everything else does: apart when there are two cores.

    Found out once, because the benchmark then moves to its own.
    """
    mine = sorted(os.sched_getaffinity(0))
    return (set(mine[:1]), set(mine[1:2])) if len(mine) > 1 else (set(mine), set(mine))


@contextlib.contextmanager
def pinned(core: set[int]) -> Iterator[None]:
    """Run here for a while; what is started meanwhile stays here."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def launch(name: str, port: int, upstream: int, folder: Path) -> Launch:
    """What starts a target in front of the upstream. Raises NotReady when it is not installed."""
    key = secrets.token_urlsafe(32)
    if name in PEERS:
        return PEERS[name](port, upstream, folder, key)
    if name == "naive":
        url = f"http://127.0.0.1:{upstream}/v1"
        return Launch(
            [sys.executable, "-m", "loadtests.servers.naive", "--port", str(port), "--upstream", url]
        )
    if name == "voicegw":
        config = folder / "voicegw.toml"
        config.write_text(VOICEGW.format(port=port, upstream=upstream))
        argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config)]
        return Launch(argv, {"VOICEGW_BENCH_KEY": key}, key)
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not nginx:
        raise NotReady("nginx is not installed")
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(port=port, upstream=upstream, folder=folder))
    return Launch([nginx, "-p", str(folder), "-e", "stderr", "-c", str(config)])


def await_ready(process: subprocess.Popen[bytes], port: int, log: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not listening(port):
        if process.poll() is not None or time.monotonic() > until:
            said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
            raise NotReady(said[0])
        time.sleep(0.05)


@contextlib.contextmanager
def started(
    argv: list[str], port: int, core: set[int], log: Path, env: Mapping[str, str], ready: float = 15.0
) -> Iterator[int]:
    """The pid of a process that listens on the port, pinned to a core and stopped at the end.

    Raises NotReady when it does not listen within `ready` seconds.
    """
    with log.open("wb") as out, pinned(core):
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
        )
    try:
        await_ready(process, port, log, ready)
        yield process.pid
    finally:
        try:
            process.terminate()
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also when Ctrl-C is pressed once more
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it has started, too
            process.wait()


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[Server]:
    """The upstream, on the core of the load generator."""
    port = free_port()
    argv = [sys.executable, "-m", "loadtests.servers.upstream", "--port", str(port)]
    with started(argv, port, cores()[1], folder / "upstream.log", dict(os.environ)) as pid:
        yield Server("direct", port, pid)


@contextlib.contextmanager
def target(name: str, upstream: Server, folder: Path) -> Iterator[Server]:
    """A server under test in front of the upstream; "direct" is the upstream itself."""
    if name == "direct":
        yield upstream
        return
    port = free_port()
    how = launch(name, port, upstream.port, folder)
    told = {"argv": how.argv, "version": how.version, "headers": dict(how.headers), "env": sorted(how.env)}
    (folder / f"{name}.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    env = {**os.environ, **how.env}
    with started(how.argv, port, cores()[0], folder / f"{name}.log", env, how.ready) as pid:
        yield Server(name, port, pid, how.key, used(pid), how.headers)
