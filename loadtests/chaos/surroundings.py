"""Experiments with what surrounds the gateway: the reader of its log, a full disk, and the clock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loadtests.chaos.callers import ask, find_flaw
from loadtests.chaos.gateway import Gateway
from loadtests.chaos.lab import Lab, during, experiment

LOGGED_TURNS = 30
"""Turns that write more lines than the pipe holds."""
PIPE_BYTES = 4096
F_SETPIPE_SZ = 1031
"""The command of Linux's fcntl that sets the size of a pipe (fcntl.h)."""
FULL_DISK = "/dev/full"
"""A device on which every write fails because no space is left."""
CLOCK_LIBRARY = "libfaketimeMT.so.1"
JUMPS = ("+1d", "-2d", "+0")
"""The clock's offsets, one after the other, as libfaketime writes them."""


async def log_turns(lab: Lab, gateway: Gateway) -> None:
    """Let the attacker make turns that are logged; each must be answered."""
    for _ in range(LOGGED_TURNS):
        status, answer = await ask(gateway.attacker, "echo")
        if flaw := find_flaw(status, answer):
            return lab.expect(False, f"a turn while the log cannot be written: {flaw}")
    lab.expect(await gateway.status("/healthz") == 200, "/healthz is not answered")


@contextmanager
def small_pipe() -> Iterator[tuple[int, int]]:
    """Give a pipe that takes about 15 lines of the log; its ends are closed at the end, if they are open."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, PIPE_BYTES)
    try:
        yield reader, writer
    finally:
        for end in (reader, writer):
            with suppress(OSError):  # the experiment may have closed it
                os.close(end)


@experiment("log reader stops reading", short=True)
async def run_stopped_reader(lab: Lab) -> None:
    with small_pipe() as (_, writer):
        async with lab.gateway(lab.config(), stderr=writer) as gateway, lab.innocents(gateway):
            await log_turns(lab, gateway)


@experiment("log reader ends")
async def run_closed_reader(lab: Lab) -> None:
    with small_pipe() as (reader, writer):
        async with lab.gateway(lab.config(), stderr=writer) as gateway, lab.innocents(gateway):
            os.close(writer)
            os.close(reader)
            await log_turns(lab, gateway)


@experiment("disk of the log is full", short=True)
async def run_full_disk(lab: Lab) -> None:
    full = os.open(FULL_DISK, os.O_WRONLY)
    try:
        async with lab.gateway(lab.config(), stderr=full) as gateway, lab.innocents(gateway):
            await log_turns(lab, gateway)
    finally:
        os.close(full)


@experiment("clock jumps by days")
async def run_clock_jumps(lab: Lab) -> None:
    lab.counts.limits.silence = (
        2.0  # the library delays waits of threads by 0.7 s at times, without jumps, too
    )
    library = find_clock_library()
    if not library:
        lab.counts.skipped = "libfaketime is not installed"
        return
    offset = lab.folder / "offset"
    lab.folder.mkdir(parents=True, exist_ok=True)
    offset.write_text("+0")
    environ = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    async with lab.gateway(lab.config(), environ=environ) as gateway, lab.innocents(gateway):
        created = set()
        for jump in JUMPS:
            offset.write_text(jump)
            await during(1)
            created.add((await ask(gateway.target, "echo"))[1].partition(b'"created":')[2][:6])
        lab.expect(len(created) > 1, "the clock of the gateway did not jump, so nothing was tried")


def find_clock_library() -> str:
    """Return the path of libfaketime, "" if it is not installed."""
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{CLOCK_LIBRARY}"))
    return str(found[0]) if found else ""
