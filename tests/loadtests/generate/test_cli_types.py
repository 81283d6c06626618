"""Invalid options are refused before any request is sent, and secrets are not written."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from loadtests import load
from loadtests.callers.options import redact_command
from loadtests.generate import open_loop
from loadtests.generate.cli_types import RATE, count, redact_secrets, writable


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf", "0", "-1", "1e9", "many", ""])
def test_a_rate_is_a_positive_number_below_its_maximum(wrong: str) -> None:
    with pytest.raises(ArgumentTypeError):
        RATE(wrong)
    assert RATE("20") == 20.0


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "9" * 5000, "nan"])
def test_a_count_is_a_whole_number_in_its_range(wrong: str) -> None:
    with pytest.raises(ArgumentTypeError):
        count(1, 64)(wrong)
    assert count(1, 64)("64") == 64


def test_a_file_must_be_writable_and_is_not_changed(tmp_path: Path) -> None:
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
def test_an_open_loop_without_end_is_refused(wrong: str) -> None:
    with pytest.raises(SystemExit) as refused:
        open_loop.main(["--target", "http://127.0.0.1:1", *wrong.split()])
    assert refused.value.code == 2


@pytest.mark.parametrize("wrong", ["--seconds 0", "--seconds nan", "--settle -1", "--pid 0", "--pid 4194304"])
def test_a_load_test_without_length_or_process_is_refused(wrong: str) -> None:
    given = ["--target", "http://127.0.0.1:1", "--upstream", "http://127.0.0.1:1"]
    with pytest.raises(SystemExit) as refused:
        load.main([*given, *wrong.split()])
    assert refused.value.code == 2


def test_a_command_line_is_redacted() -> None:
    assert redact_secrets(["load", "--key", "s3cret", "--key=s3cret"], "s3cret", "none", "") == [
        *("load", "--key", "***", "--key=***")
    ]
    assert redact_command(["-u", "2", "--twilio-t", "a", "--ke=b", "--turns", "3"]) == [
        *("-u", "2", "--twilio-t", "***", "--ke=***", "--turns", "3")
    ]
