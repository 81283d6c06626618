"""Lines reach the reader whole and in order; without a reader they are dropped, counted and reported once."""

from __future__ import annotations

import json
import os
import resource
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voicegw.telemetry.log_output import MAX_WAITING_BYTES, LogOutput


class Pipe:
    """A pipe whose writing end is the log. `lost` is the number of lines that were reported as lost."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.lost = 0
        self.output = LogOutput(self.writer, self.count)

    def count(self, lines: int) -> None:
        self.lost += lines

    def read_all(self) -> list[bytes]:
        """Write and read until nothing is left; return the lines."""
        data = b""
        while True:
            self.output.write()
            if not select.select([self.reader], [], [], 0)[0]:
                return data.splitlines()
            data += os.read(self.reader, 1 << 20)

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def numbered(number: int, size: int = 100) -> bytes:
    return str(number).encode().ljust(size - 1, b".") + b"\n"


def report_of(line: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    assert record.pop("event") == "telemetry"
    assert record.pop("seconds") >= 0
    return record


def test_lines_arrive_in_order_while_the_reader_reads(pipe: Pipe) -> None:
    for number in range(200):
        pipe.output.add(numbered(number))
    assert pipe.read_all() == [numbered(number).rstrip(b"\n") for number in range(200)]
    assert pipe.output.is_clear
    assert pipe.lost == 0


def test_line_longer_than_the_pipe_arrives_in_pieces_and_whole(pipe: Pipe) -> None:
    long = b"x" * 200_000
    pipe.output.add(long + b"\n")
    pipe.output.add(b"next\n")
    pipe.output.write()
    assert not pipe.output.is_clear, "the pipe is full"
    assert pipe.read_all() == [long, b"next"]


def test_stopped_reader_loses_the_oldest_lines_and_gets_one_report(pipe: Pipe) -> None:
    count = 10_000
    for number in range(count):
        pipe.output.add(numbered(number))
        pipe.output.write()
    waiting = MAX_WAITING_BYTES // 100
    lines = pipe.read_all()
    reports = [line for line in lines if line.startswith(b"{")]
    assert [report_of(line) for line in reports] == [
        {"lost_lines": pipe.lost, "why": "the reader of the log does not read"}
    ]
    numbers = [int(line.rstrip(b".")) for line in lines if not line.startswith(b"{")]
    assert numbers == sorted(numbers)
    assert len(numbers) + pipe.lost == count
    assert numbers[-waiting:] == list(range(count - waiting, count)), "the newest lines are kept"
    pipe.output.add(b"later\n")
    assert pipe.read_all() == [b"later"], "the loss is reported once"


def test_closed_pipe_loses_every_line(pipe: Pipe) -> None:
    os.close(pipe.reader)
    pipe.reader = -1
    for number in range(3):
        pipe.output.add(numbered(number))
        pipe.output.write()
    assert pipe.lost == 3


def test_full_disk_loses_lines_until_there_is_space(tmp_path: Path) -> None:
    """A limit of the file's size stands for the disk: writes fail in the same way, one of them partly."""
    lost = 0

    def count(lines: int) -> None:
        nonlocal lost
        lost += lines

    file = tmp_path / "log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with file.open("wb") as stream:
        output = LogOutput(stream.fileno(), count)
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, before[1]))
        try:
            for number in range(10):
                output.add(numbered(number))
                output.write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        output.add(b"later\n")
        output.write()
        assert output.is_clear
    lines = file.read_bytes().splitlines()
    assert [int(line.rstrip(b".")) for line in lines[:3]] == [0, 1, 2], "the cut line is continued"
    assert report_of(lines[3]) == {"lost_lines": 7, "why": "File too large"}
    assert (lines[4:], lost) == ([b"later"], 7)


def test_device_without_space_loses_lines(pipe: Pipe) -> None:
    output = LogOutput(os.open("/dev/full", os.O_WRONLY), pipe.count)
    output.add(b"one\n")
    output.write()
    os.close(output.descriptor)
    assert pipe.lost == 1
    output.add(b"two\n")
    output.write()
    assert pipe.lost == 2, "a closed descriptor raises nothing either"


def test_descriptor_that_another_process_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    for number in range(2000):
        pipe.output.add(numbered(number))
    assert len(pipe.read_all()) == 2000
