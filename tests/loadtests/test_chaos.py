"""The chaos suite: its verdicts, its callers' counts, and the short form against a real gateway."""

from __future__ import annotations

import re
import subprocess
import sys
from math import nan

import pytest

from loadtests.chaos import __main__ as chaos
from loadtests.chaos.callers import count_stream, find_flaw
from loadtests.chaos.counts import COLUMNS, Counts, Limits, format_table, is_passed
from loadtests.chaos.lab import EXPERIMENTS
from loadtests.generate.closed_loop import LAST_CHUNK, NO_ANSWER
from loadtests.generate.streams import Stream
from loadtests.report.results import ROOT

MAX_SILENCE = 0.3


def test_each_experiment_has_its_own_name_and_the_short_form_has_some() -> None:
    names = [each.name for each in EXPERIMENTS]
    assert len(set(names)) == len(names) > 30
    assert 5 <= sum(each.is_short for each in EXPERIMENTS) <= 8


@pytest.mark.parametrize(
    ("counts", "reasons"),
    [
        (Counts("calm", turns=9), []),
        (Counts("busy", refused=1), ["1 refused, at most 0 allowed"]),
        (Counts("busy", refused=1, limits=Limits(refused=1)), []),
        (Counts("lost", lost=2), ["2 lost, at most 0 allowed"]),
        (Counts("twice", doubled=1), ["1 doubled, at most 0 allowed"]),
        (Counts("cut", broken=1), ["1 broken, at most 0 allowed"]),
        (Counts("silent", silence=0.31), ["310 ms of silence, at most 300 allowed"]),
        (Counts("silent", silence=0.31, limits=Limits(silence=1.0)), []),
        (Counts("silent", silence=0.39, lateness=0.1), []),
        (Counts("silent", silence=0.41, lateness=0.1), ["410 ms of silence, at most 400 allowed"]),
        (Counts("large", growth=60e6), ["60 MB of memory, at most 50 allowed"]),
        (Counts("wrong", failures=["no log line"]), ["no log line"]),
    ],
)
def test_each_count_above_its_limit_fails_an_experiment(counts: Counts, reasons: list[str]) -> None:
    assert counts.judge(MAX_SILENCE) == reasons
    assert is_passed([counts], MAX_SILENCE) is not bool(reasons)


def test_lost_turns_are_explained() -> None:
    counts = Counts("lost")
    stream = Stream(first_chunk=nan, failure="the connection closed in the middle of a stream")
    count_stream(counts, stream, 20)
    assert (counts.lost, counts.broken, counts.silence) == (1, 1, 0.0)
    assert counts.judge(MAX_SILENCE)[-1] == "1 x the connection closed in the middle of a stream"


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (Stream(first_chunk=0.1, gap=0.2, tokens=20), (0, 0, 0, 0.2)),
        (Stream(first_chunk=0.1, tokens=19), (0, 1, 0, 0.1)),
        (Stream(first_chunk=0.1, failure=NO_ANSWER), (0, 1, 0, 0.1)),
        (Stream(failure="HTTP/1.1 503 Service Unavailable"), (1, 0, 0, 0.0)),
    ],
)
def test_streams_are_counted_by_their_end(stream: Stream, found: tuple[int, int, int, float]) -> None:
    counts = Counts("stream")
    count_stream(counts, stream, 20)
    assert (counts.refused, counts.lost, counts.broken, counts.silence) == found


WORDS = b'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n'
END = b"data: [DONE]\n\n\r\n" + LAST_CHUNK


@pytest.mark.parametrize(
    ("status", "answer", "flaw"),
    [
        (200, WORDS + END, ""),
        (200, END, "no words"),
        (200, WORDS, "no proper end"),
        (200, WORDS + LAST_CHUNK, "no proper end"),
        (0, b"", "status 0"),
        (429, WORDS + END, "status 429"),
    ],
)
def test_answers_need_words_and_a_proper_end(status: int, answer: bytes, flaw: str) -> None:
    assert find_flaw(status, answer) == flaw


def test_table_names_failed_and_skipped_experiments_and_counts_reasons() -> None:
    wrong = Counts("wrong", lateness=0.2, failures=["no log line", "no log line"])
    skipped = Counts("clock", skipped="libfaketime is not installed")
    table = format_table([Counts("calm", turns=9, notes=["as ever"]), wrong, skipped], MAX_SILENCE)
    head, calm, failed, absent, *_ = table.splitlines()
    assert head.split() == ["fault", *COLUMNS]
    assert calm.split() == ["calm", "9", "0", "0", "0", "0", "0", "+0", "as", "ever"]
    assert failed.endswith("FAILED; this machine paused for 200 ms")
    assert absent.endswith("SKIPPED: libfaketime is not installed")
    assert table.endswith("wrong: no log line (2 times)")
    assert not is_passed([skipped], MAX_SILENCE)


def test_options_without_an_experiment_fail(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        chaos.main(["--only", "earthquake"])
    assert "no experiment has 'earthquake' in its name" in capsys.readouterr().err


def test_page_has_the_command_and_a_row_for_each_experiment() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    assert "```sh\nmake chaos\n```" in page
    done = subprocess.run(["make", "-n", "chaos"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "bin/python -m loadtests.chaos" in done.stdout
    [table] = re.findall(r"^fault  [^\n]*\n(.*?)\n```", page, re.M | re.S)
    names = [re.split(r"  +", line)[0] for line in table.splitlines()]
    assert names == [each.name for each in EXPERIMENTS]


@pytest.mark.wire
def test_short_form_passes() -> None:
    """The limit of silence is that of a hang: other work on the machine must not fail this test."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.chaos", "--short", "--max-silence", "15000"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(any(line.startswith(each.name) for line in lines) for each in EXPERIMENTS if each.is_short)
