"""The thread of telemetry: jobs and lines in order, a bounded queue, no wait for a reader that stopped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from voicegw.telemetry import writer as module
from voicegw.telemetry.writer import TelemetryWriter

pytestmark = pytest.mark.wire


class LoggedWriter(TelemetryWriter):
    """A writer into a pipe. `dropped` holds what was dropped, by kind."""

    def __init__(self) -> None:
        self.reader, self.descriptor = os.pipe()
        self.dropped: dict[str, int] = {}
        super().__init__(self.descriptor, self.count)

    def count(self, kind: str, number: int) -> None:
        self.dropped[kind] = self.dropped.get(kind, 0) + number

    def lines(self) -> list[str]:
        return os.read(self.reader, 1 << 20).decode().splitlines()


@pytest.fixture
def writer() -> Iterator[LoggedWriter]:
    writer = LoggedWriter()
    yield writer
    writer.close(0.0)
    os.close(writer.reader)
    os.close(writer.descriptor)


def test_lines_and_jobs_keep_their_order_and_run_in_the_thread(writer: LoggedWriter) -> None:
    writer.start()
    threads = set()

    def job() -> None:
        threads.add(threading.current_thread().name)
        writer.write_line("from the job")

    for _ in range(25):
        writer.submit("record", job)
    writer.write_line("half \ud83d")
    assert writer.flush()
    assert writer.lines() == ["half ?", *["from the job"] * 25]
    assert threads == {"voicegw-telemetry"}


def test_without_the_thread_a_line_is_written_at_once(writer: LoggedWriter) -> None:
    writer.write_line("before the start")
    assert writer.lines() == ["before the start"]
    writer.start()
    writer.write_line("meanwhile")
    writer.close()
    assert writer.lines() == ["meanwhile"]
    writer.write_line("after the end")
    assert writer.lines() == ["after the end"]


def test_full_queue_drops_the_oldest_and_counts_it_by_kind(
    writer: LoggedWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED", 3)
    gate = threading.Event()
    writer.start()
    writer.submit("record", gate.wait)
    while writer._queue:
        time.sleep(0.001)  # the thread waits in the first job now
    for number in range(5):
        writer.write_line(str(number))
    writer.submit("record", lambda: None)
    gate.set()
    assert writer.flush()
    assert writer.lines() == ["3", "4"]
    assert writer.dropped == {"log": 3}


def test_job_that_fails_is_logged_and_the_next_one_runs(
    writer: LoggedWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer.start()
    writer.submit("record", lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    writer.write_line("next")
    assert writer.flush()
    assert writer.lines() == ["next"]
    assert [record.getMessage() for record in caplog.records] == ["telemetry failed"]


def test_flush_gives_up_on_a_reader_that_stopped(writer: LoggedWriter) -> None:
    writer.start()
    writer.write_line("x" * 100_000)
    assert not writer.flush(0.05)
    rest = "".join(writer.lines())
    assert writer.flush()
    assert rest + "".join(writer.lines()) == "x" * 100_000


def test_forked_process_writes_its_own_lines_at_once_and_none_of_the_parent_s(writer: LoggedWriter) -> None:
    gate = threading.Event()
    writer.start()
    writer.submit("record", gate.wait)
    writer.write_line("parent")
    pid = os.fork()
    if not pid:
        writer.write_line("child")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert writer.lines() == ["child"]
    gate.set()
    assert writer.flush()
    assert writer.lines() == ["parent"]
