"""What cannot be meant is refused before anything is asked, and no secret is written down."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from loadtests import load
from loadtests.callers.options import redact_command
from loadtests.generate import open_loop
from loadtests.generate.cli_types import RATE, count, redact_secrets, writable


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf", "0", "-1", "1e9", "many", ""])
def test_a_rate_is_a_number_above_nothing_and_within_reason(wrong: str) -> None:
    with pytest.raises(ArgumentTypeError):
        RATE(wrong)
    assert RATE("20") == 20.0


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "9" * 5000, "nan"])
def test_a_count_is_a_whole_number_in_its_bounds(wrong: str) -> None:
    with pytest.raises(ArgumentTypeError):
        count(1, 64)(wrong)
    assert count(1, 64)("64") == 64


def test_a_file_that_cannot_be_written_is_refused_and_one_that_can_is_left_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("kept")
    assert writable(str(kept)).read_text() == "kept"
    assert not writable(str(tmp_path / "new" / "results.json")).exists()
    with pytest.raises(ArgumentTypeError, match="cannot be written"):
        writable(str(kept / "results.json"))


@pytest.mark.parametrize(
    "wrong",
    [
        *("--rate 0", "--rate nan", "--seconds inf", "--steps 0", "--barge-in 2", "--added nan"),
        *("--json /dev/null/results.json", "--rate 20000 --seconds 80000"),
    ],
)
def test_an_open_loop_that_would_never_end_does_not_begin(wrong: str) -> None:
    with pytest.raises(SystemExit) as refused:
        open_loop.main(["--target", "http://127.0.0.1:1", *wrong.split()])
    assert refused.value.code == 2


@pytest.mark.parametrize("wrong", ["--seconds 0", "--seconds nan", "--settle -1", "--pid 0", "--pid 4194304"])
def test_a_load_of_no_length_or_on_no_process_does_not_begin(wrong: str) -> None:
    given = ["--target", "http://127.0.0.1:1", "--upstream", "http://127.0.0.1:1"]
    with pytest.raises(SystemExit) as refused:
        load.main([*given, *wrong.split()])
    assert refused.value.code == 2


def test_a_command_line_is_written_without_its_secrets() -> None:
    assert redact_secrets(["load", "--key", "s3cret", "--key=s3cret"], "s3cret", "none", "") == [
        *("load", "--key", "***", "--key=***")
    ]
    assert redact_command(["-u", "2", "--twilio-t", "a", "--ke=b", "--turns", "3"]) == [
        *("-u", "2", "--twilio-t", "***", "--ke=***", "--turns", "3")
    ]
