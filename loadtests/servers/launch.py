"""The servers that the benchmark compares: how each is started and stopped, and what it uses. Linux only."""

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
from loadtests.servers.peers import PEERS, LaunchSpec, NotReady

DEFAULT_TARGETS = ("direct", "nginx", "naive", "voicegw")
TARGET_NAMES = (*DEFAULT_TARGETS, *PEERS)
STOP_TIMEOUT = 5.0
"""Seconds that a server has to end after SIGTERM; then it is killed."""

VOICEGW_CONFIG = """\
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

NGINX_CONFIG = """\
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


class ResourceUsage(NamedTuple):
    """CPU seconds since the start and resident bytes now, of a process and its children."""

    cpu: float
    rss: int


NO_USAGE = ResourceUsage(0.0, 0)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `idle_usage` is its usage before the first request."""

    name: str
    port: int
    pid: int
    key: str = "none"
    idle_usage: ResourceUsage = NO_USAGE
    headers: Mapping[str, str] = field(default_factory=dict)

    def usage(self) -> ResourceUsage:
        return process_usage(self.pid)

    def sample(self, at: float, streams: int) -> Sample:
        """Return the usage now; CPU counts from the start of the server."""
        cpu, rss = self.usage()
        return Sample(at, cpu, rss, count_open_files(self.pid) or 0, streams)


def process_tree(pid: int) -> Iterator[int]:
    """Yield the process and all its descendants; none if the process is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = " ".join((task / "children").read_text() for task in tasks).split()
        yield pid
        for child in children:
            yield from process_tree(int(child))


def cpu_by_ticks(pid: int) -> float:
    """Return CPU seconds by system ticks: coarser than the sum over threads, but ended threads are in it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_usage(pid: int) -> ResourceUsage:
    """Return the usage of a process and its children; zeros for a process that is gone."""
    total = NO_USAGE
    for process in process_tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            tasks = Path(f"/proc/{process}/task").iterdir()
            cpu = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
            pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
            total = ResourceUsage(
                total.cpu + max(cpu, cpu_by_ticks(process)), total.rss + pages * os.sysconf("SC_PAGE_SIZE")
            )
    return total


def count_open_files(pid: int) -> int | None:
    """Return the open file descriptors of a process and its children; 0 for a process that is gone.

    Return None if a process of another user is among them.
    """
    count = 0
    for process in process_tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            try:
                count += len(os.listdir(f"/proc/{process}/fd"))
            except PermissionError:
                return None
    return count


@cache
def split_cores() -> tuple[set[int], set[int]]:
    """Return the cores of the server under test, and those of everything else.

    They differ where there are two. The result is cached, since the benchmark then moves to its own core.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return (set(allowed[:1]), set(allowed[1:2])) if len(allowed) > 1 else (set(allowed), set(allowed))


@contextlib.contextmanager
def pin_to_cores(core: set[int]) -> Iterator[None]:
    """Run on these cores for a while; processes started meanwhile stay there."""
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


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def prepare_launch(name: str, port: int, upstream: int, folder: Path) -> LaunchSpec:
    """Return how to start a target in front of the upstream. Raises NotReady when it is not installed."""
    key = secrets.token_urlsafe(32)
    if name in PEERS:
        return PEERS[name](port, upstream, folder, key)
    if name == "naive":
        url = f"http://127.0.0.1:{upstream}/v1"
        return LaunchSpec(
            [sys.executable, "-m", "loadtests.servers.naive", "--port", str(port), "--upstream", url]
        )
    if name == "voicegw":
        config = folder / "voicegw.toml"
        config.write_text(VOICEGW_CONFIG.format(port=port, upstream=upstream))
        argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config)]
        return LaunchSpec(argv, {"VOICEGW_BENCH_KEY": key}, key)
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not nginx:
        raise NotReady("nginx is not installed")
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(port=port, upstream=upstream, folder=folder))
    return LaunchSpec([nginx, "-p", str(folder), "-e", "stderr", "-c", str(config)])


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path, timeout: float) -> None:
    """Wait until the process listens. Raises NotReady with its last log line when it does not in time."""
    deadline = time.monotonic() + timeout
    while not is_listening(port):
        if process.poll() is not None or time.monotonic() > deadline:
            last_line = log.read_text(errors="replace").strip().splitlines()[-1:] or [
                "the server did not start, and its log is empty"
            ]
            raise NotReady(last_line[0])
        time.sleep(0.05)


@contextlib.contextmanager
def run_server(
    argv: list[str], port: int, core: set[int], log: Path, env: Mapping[str, str], ready_timeout: float = 15.0
) -> Iterator[int]:
    """Run a process that listens on `port`, pinned to cores; yield its pid and stop it at the end.

    Raises NotReady when it does not listen within `ready_timeout` seconds.
    """
    with log.open("wb") as out, pin_to_cores(core):
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
        )
    try:
        wait_until_ready(process, port, log, ready_timeout)
        yield process.pid
    finally:
        try:
            process.terminate()
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        finally:  # also after a second Ctrl-C
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its children, too
            process.wait()


@contextlib.contextmanager
def run_upstream(folder: Path) -> Iterator[Server]:
    """Run the upstream, on the core of the load generator."""
    port = free_port()
    argv = [sys.executable, "-m", "loadtests.servers.upstream", "--port", str(port)]
    with run_server(argv, port, split_cores()[1], folder / "upstream.log", dict(os.environ)) as pid:
        yield Server("direct", port, pid)


@contextlib.contextmanager
def run_target(name: str, upstream: Server, folder: Path) -> Iterator[Server]:
    """Run a target in front of the upstream; "direct" is the upstream itself. Raises NotReady."""
    if name == "direct":
        yield upstream
        return
    port = free_port()
    spec = prepare_launch(name, port, upstream.port, folder)
    spec_record = {
        "argv": spec.argv,
        "version": spec.version,
        "headers": dict(spec.headers),
        "env": sorted(spec.env),
    }
    (folder / f"{name}.json").write_bytes(orjson.dumps(spec_record, option=orjson.OPT_INDENT_2))
    env = {**os.environ, **spec.env}
    with run_server(
        spec.argv, port, split_cores()[0], folder / f"{name}.log", env, spec.ready_timeout
    ) as pid:
        yield Server(name, port, pid, spec.key, process_usage(pid), spec.headers)
