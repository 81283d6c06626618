"""Files, threads and ports that run out are counted, logged at most every few seconds, and found again."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from voicegw.errors import AgentError, AgentUnavailable
from voicegw.telemetry import resources
from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.resources import (
    LOG_INTERVAL,
    MIN_DURATION,
    ResourceMonitor,
    exhausted_resource,
    has_file,
    has_port,
    has_thread,
)


class Clock:
    """A clock that a test sets."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def without_files() -> Iterator[list[int]]:
    """Use up the files of this process; the test may close some of them."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, limits[1]))
    files: list[int] = []
    try:
        while has_file():
            files.append(os.dup(2))
        yield files
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def no_files() -> Iterator[list[int]]:
    with without_files() as files:
        yield files


def sample(metrics: Metrics, name: str, kind: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"resource": kind})


def test_files_that_run_out_are_noticed_and_found_again(
    clock: Clock, no_files: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    monitor = ResourceMonitor(metrics, clock)
    for _ in range(20):
        monitor.check()
        clock.seconds += 1
    assert monitor.exhausted == ["files"]
    assert sample(metrics, "voicegw_exhausted", "files") == 1
    assert (sample(metrics, "voicegw_exhaustions_total", "files") or 0) >= 20
    assert 2 <= len(caplog.messages) <= 20 / LOG_INTERVAL + 1
    assert "out of files: raise the limit of open files (LimitNOFILE)" in caplog.messages[0]
    while no_files:
        os.close(no_files.pop())
    clock.seconds += MIN_DURATION
    assert monitor.exhausted == []
    assert sample(metrics, "voicegw_exhausted", "files") == 0
    assert "files are available again after 2" in caplog.messages[-1]


@pytest.mark.parametrize("kind", ["threads", "ports"])
def test_a_reported_resource_counts_as_exhausted_until_it_is_available(
    clock: Clock, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_available = False
    monkeypatch.setattr(resources, "TESTS", {kind: lambda: is_available})
    monitor = ResourceMonitor(Metrics(), clock)
    monitor.report(kind)
    clock.seconds += 60
    assert monitor.exhausted == [kind]
    is_available = True
    clock.seconds += 60
    assert monitor.exhausted == []


def caused_by(cause: BaseException, failure: BaseException) -> BaseException:
    failure.__cause__ = cause
    return failure


NO_FILE = OSError(errno.EMFILE, "Too many open files")
NO_PORT = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
NO_THREAD = RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (NO_FILE, "files"),
        (OSError(errno.ENFILE, "File table overflow"), "files"),
        (caused_by(NO_PORT, AgentUnavailable("no connection")), "ports"),
        (caused_by(caused_by(NO_THREAD, OSError("no thread")), AgentError("failed")), "threads"),
        (AgentUnavailable("refused"), None),
        (RuntimeError("another"), None),
    ],
)
def test_the_resource_is_found_among_the_causes_of_a_failure(
    failure: BaseException, kind: str | None
) -> None:
    assert exhausted_resource(failure) == kind


def test_an_endless_chain_of_causes_has_no_resource() -> None:
    first, second = OSError("a"), OSError("b")
    first.__context__, second.__context__ = second, first
    assert exhausted_resource(first) is None


@pytest.mark.parametrize(
    ("in_use", "is_free"), [(0, True), (5, True), (60, False)], ids=["none", "few", "most"]
)
def test_an_address_that_cannot_be_reached_is_no_lack_of_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_use: int, is_free: bool
) -> None:
    (tmp_path / "range").write_text("40000\t40100\n")
    (tmp_path / "sockets").write_text(f"sockets: used 9\nTCP: inuse {in_use} orphan 0 tw 2 alloc 9 mem 1\n")
    monkeypatch.setattr(resources, "PORTS", (tmp_path / "range", tmp_path / "sockets"))
    assert has_port() is is_free
    monitor = ResourceMonitor(Metrics())
    monitor.report_failure(caused_by(NO_PORT, AgentUnavailable("no connection")))
    assert monitor.exhausted == ([] if is_free else ["ports"])


def test_ports_are_tried_where_the_system_does_not_count_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "PORTS", (tmp_path / "none", tmp_path / "none"))
    assert has_port()


def test_lack_of_files_hides_the_count_of_ports(no_files: list[int]) -> None:
    assert not has_port()


def test_a_thread_that_cannot_start_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_thread()

    def fail(thread: threading.Thread) -> None:
        raise NO_THREAD

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert not has_thread()


async def test_checks_run_until_they_are_stopped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    monitor = ResourceMonitor(Metrics(), asyncio.get_running_loop().time)
    monitor.stop()
    with without_files():
        monitor.start()
        await asyncio.sleep(9)
    monitor.stop()
    await asyncio.sleep(60)
    assert len(caplog.messages) == 2


def test_closed_connections_are_counted_and_logged_rarely(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    monitor = ResourceMonitor(metrics, clock)
    for _ in range(50):
        monitor.report_closed_connection()
    assert metrics.registry.get_sample_value("voicegw_idle_connections_closed_total") == 50
    assert len(caplog.messages) == 1
    assert monitor.exhausted == []
