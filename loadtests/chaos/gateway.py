"""The gateway of an experiment: a process that can be killed, stopped, starved, and asked for its state."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path

from loadtests.generate.target import Target
from loadtests.report.results import ROOT
from loadtests.servers.launch import free_port, process_tree, process_usage, split_cores
from loadtests.servers.server_stats import get, parse_gauge

KEYS = {"innocent": "vgw_chaos_innocent_key_0001", "attacker": "vgw_chaos_attacker_key_0001"}
"""The clear text of the API keys by name."""
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 12.0
"""Seconds that a gateway has to end after SIGTERM; then its process group is killed."""
WORKER_MARK = b"spawn_main"
"""Stands in the command line of a worker, and in that of no other child of the supervisor."""


def key_sections() -> str:
    """Return the configuration of both API keys."""
    digests = {name: sha256(key.encode()).hexdigest() for name, key in KEYS.items()}
    return "".join(f'[keys.{name}]\nhash = "sha256:{digest}"\n' for name, digest in digests.items())


class Gateway:
    """A gateway process on a port of 127.0.0.1, with its folder and its log."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path, log: Path) -> None:
        self.process, self.port, self.folder, self._log = process, port, folder, log
        self.target = Target("voicegw", port, key=KEYS["innocent"])
        self.attacker = Target("voicegw", port, key=KEYS["attacker"])

    @property
    def config(self) -> Path:
        return self.folder / "voicegw.toml"

    @property
    def log(self) -> str:
        """The text that the gateway has written to stderr, if that is a file."""
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def memory(self) -> int:
        """Resident bytes of the process and its workers."""
        return process_usage(self.process.pid).rss

    def workers(self) -> list[int]:
        """Return the process ids of the workers; none with one worker."""
        found = []
        for pid in list(process_tree(self.process.pid))[1:]:
            with suppress(OSError):
                if WORKER_MARK in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    async def status(self, path: str) -> int:
        """Return the status of a GET request with the innocent callers' key, 0 without an answer."""
        lines = (f"GET {path} HTTP/1.1", "host: 127.0.0.1", f"authorization: Bearer {KEYS['innocent']}")
        head = "\r\n".join([*lines, "connection: close", "", ""])
        return (await request(self.port, head.encode()))[0]

    async def metric(self, name: str) -> float:
        """Return the value of a metric, summed over its labels; 0 if it is not there. Raises OSError."""
        return parse_gauge((await get(self.target, "/metrics")).decode(), name) or 0.0


async def wait_until(condition: Callable[[], bool], max_seconds: float) -> bool:
    """Poll the condition; return whether it held within the time."""
    deadline = time.monotonic() + max_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def request(port: int, data: bytes, max_seconds: float = 10.0) -> tuple[int, bytes]:
    """Send bytes on a new connection and read to its end; return status and answer, 0 without a status."""
    answer = b""
    with suppress(OSError):
        async with asyncio.timeout(max_seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data)
                while part := await reader.read(65536):
                    answer += part
            finally:
                writer.transport.abort()
    words = answer.split(b" ", 2)
    return (int(words[1]), answer) if len(words) > 2 and words[1].isdigit() else (0, answer)


@asynccontextmanager
async def run_gateway(
    folder: Path,
    config: str,
    *,
    agents: str = "",
    stderr: int | None = None,
    environ: Mapping[str, str] | None = None,
    max_files: int = 0,
) -> AsyncIterator[Gateway]:
    """Run `voicegw serve` with this configuration until the block ends.

    `agents` is the source of a module `agents` beside the configuration. `stderr` is a file descriptor that
    takes the log. `max_files` is its limit of open files, 0 for the inherited one. Raises TimeoutError when
    the gateway is not ready in time.
    """
    port = free_port()
    process, log = _start(folder, config, agents, port, stderr, environ or {}, max_files)
    gateway = Gateway(process, port, folder, log)
    try:
        deadline = time.monotonic() + READY_TIMEOUT
        while await gateway.status("/readyz") != 200:
            if time.monotonic() > deadline or not gateway.is_running:
                raise TimeoutError(f"the gateway is not ready: {gateway.log.strip()[-300:]}")
            await asyncio.sleep(0.05)
        yield gateway
    finally:
        await _stop(process)


def _start(
    folder: Path,
    config: str,
    agents: str,
    port: int,
    stderr: int | None,
    environ: Mapping[str, str],
    max_files: int,
) -> tuple[subprocess.Popen[bytes], Path]:
    """Write the files of a gateway and start it; return its process, and the file of its log."""
    folder.mkdir(parents=True)
    file, log = folder / "voicegw.toml", folder / "log"
    file.write_text(config)
    (folder / "agents.py").write_text(agents)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "voicegw", "serve", "--config", str(file), "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=out if stderr is None else stderr,
            start_new_session=True,
            preexec_fn=lambda: _prepare(max_files),
        )
    return process, log


def _prepare(max_files: int) -> None:
    """Run in the new process: take the core of servers, and the limit of open files."""
    os.sched_setaffinity(0, split_cores()[0])
    if max_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))


async def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    await wait_until(lambda: process.poll() is not None, STOP_TIMEOUT)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its workers, too
    process.wait()
