"""Resources of the system that run out: file descriptors, threads, and local ports.

It frees nothing: it counts and logs what ran out, and says when it is available again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from voicegw.telemetry.metrics import Metrics

log = logging.getLogger("voicegw.error")

LOG_INTERVAL = 5.0
"""Seconds between two lines about one resource."""
CHECK_INTERVAL = 1.0
"""Seconds between two checks of a resource."""
MIN_DURATION = 2.0
"""Seconds for which a resource counts as exhausted after the last report."""
MAX_CAUSES = 8
"""Causes of a failure that are searched."""
PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range"), Path("/proc/net/sockstat")
"""Linux' range of local ports, and its counts of sockets."""

FIXES: Mapping[str, str] = {
    "files": "raise the limit of open files (LimitNOFILE), or find the client that opens so many connections",
    "threads": "raise the limit of tasks or processes (TasksMax, pids.max), or use agents that do not block",
    "ports": "widen net.ipv4.ip_local_port_range, or give the agent more addresses",
}
"""The resources, and the advice in their log lines."""


class ResourceMonitor:
    """Remembers which resources of this process are exhausted."""

    def __init__(self, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is a monotonic clock in seconds."""
        self._metrics = metrics
        self._now = now
        # When each exhausted resource was reported first and last.
        self._reports: dict[str, tuple[float, float]] = {}
        # When each subject was logged last.
        self._logged_at: dict[str, float] = {}
        self._checked_at = now() - CHECK_INTERVAL
        # The timer of the next check; None before `start`.
        self._timer: asyncio.TimerHandle | None = None
        for resource in FIXES:
            metrics.exhausted.labels(resource).set(0)

    def report(self, resource: str) -> None:
        """Note that a resource is exhausted: "files", "threads" or "ports"."""
        now = self._now()
        since, _ = self._reports.get(resource, (now, now))
        self._reports[resource] = (since, now)
        self._metrics.exhaustions.labels(resource).inc()
        self._metrics.exhausted.labels(resource).set(1)
        self._log(resource, f"out of {resource}: {FIXES[resource]}")

    def report_closed_connection(self) -> None:
        """Note that an idle connection was closed because files run low."""
        self._metrics.connections_closed.inc()
        self._log("connections", f"files run low, so idle connections are closed: {FIXES['files']}")

    def _log(self, subject: str, line: str) -> None:
        """Log a line, at most once per `LOG_INTERVAL` about each subject."""
        now = self._now()
        if subject not in self._logged_at or now - self._logged_at[subject] >= LOG_INTERVAL:
            self._logged_at[subject] = now
            log.error(line)

    def start(self) -> None:
        """Check every `CHECK_INTERVAL` in the running event loop, until `stop`."""
        self.check()
        self._timer = asyncio.get_running_loop().call_later(CHECK_INTERVAL, self.start)

    def stop(self) -> None:
        """Check no more."""
        if self._timer is not None:
            self._timer.cancel()

    def report_failure(self, failure: BaseException) -> None:
        """Note the resource whose lack caused a failure, if it is one of these."""
        resource = exhausted_resource(failure)
        if resource is not None and (resource != "ports" or not has_port()):
            self.report(resource)

    def check(self) -> None:
        """Test, at most once per `CHECK_INTERVAL`, whether files are left, and what is available again."""
        now = self._now()
        if now - self._checked_at < CHECK_INTERVAL / 2:
            return
        self._checked_at = now
        if not has_file():
            self.report("files")
        for resource, (since, last) in list(self._reports.items()):
            if now - last >= MIN_DURATION and TESTS[resource]():
                del self._reports[resource]
                self._metrics.exhausted.labels(resource).set(0)
                log.warning("%s are available again after %.0f seconds", resource, now - since)

    @property
    def exhausted(self) -> list[str]:
        """The resources that are exhausted now."""
        if self._reports:
            self.check()
        return sorted(self._reports)


def exhausted_resource(failure: BaseException) -> str | None:
    """Return the resource whose lack caused `failure`, directly or as a cause of a cause; None for none."""
    error: BaseException | None = failure
    for _ in range(MAX_CAUSES):
        if error is None:
            return None
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return "files"
        if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
            return "ports"
        if isinstance(error, RuntimeError) and "start new thread" in str(error):  # CPython's words
            return "threads"
        error = error.__cause__ or error.__context__
    return None


def has_file() -> bool:
    """Can this process open one more file?"""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def has_thread() -> bool:
    """Can this process start one more thread?"""
    try:
        threading.Thread(target=threading.get_ident).start()
    except RuntimeError:
        return False
    return True


def has_port() -> bool:
    """Return whether fewer than half of the local ports are in use.

    Where the system does not count them, return whether a port can be bound. An address that this machine
    cannot reach fails with the same error as a lack of ports.
    """
    with suppress(OSError, ValueError, IndexError):
        first, last = map(int, PORTS[0].read_text().split())
        words = next(line for line in PORTS[1].read_text().splitlines() if line.startswith("TCP:")).split()
        counts = dict(zip(words[1::2], map(int, words[2::2]), strict=False))
        return counts["inuse"] + counts["tw"] < (last - first) / 2
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError:
        return False
    return True


TESTS: Mapping[str, Callable[[], bool]] = {"files": has_file, "threads": has_thread, "ports": has_port}
"""Says for each resource whether it is available."""
