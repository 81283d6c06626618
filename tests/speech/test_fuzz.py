"""The fuzzer of the speech filter repeats its examples with their seed, and reports a broken property."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from tests.speech import fuzz
from tests.speech.texts import REPLACED
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions


def test_examples_repeat_with_their_seed() -> None:
    sources = [random.Random(seed) for seed in (7, 7, 8)]
    first, again, other = [
        [(fuzz.draw_text(source), fuzz.draw_options(source)) for _ in range(50)] for source in sources
    ]
    assert first == again != other
    assert any(options.words == REPLACED for _, options in first)


def test_short_run_finds_no_flaw() -> None:
    command = [sys.executable, "-m", "tests.speech.fuzz", "--seed", "3", "--minutes", "0.02"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("seed 3: ")
    assert done.stdout.endswith(" examples in 0.02 minutes, no property broken\n")


class CutDependent(SpeechFilter):
    """A filter with a fault: it drops the second delta's first character."""

    def feed(self, text: str) -> str:
        return super().feed(text[1:] if self._state.line_chars else text)


def test_broken_property_ends_the_run_with_its_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "SpeechFilter", CutDependent)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--seed", "1", "--minutes", "1"])
    assert fuzz.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 1, example ")
    assert "depends on the cuts" in lines[0]
    assert lines[2].startswith("SpeechOptions(")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a\x07", "cannot be spoken"), ("a  b", "two blanks"), (" a", "begins with a blank")],
)
def test_speech_that_no_voice_can_speak_is_found(
    text: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "speak", lambda pieces, options: "".join(pieces))
    with pytest.raises(AssertionError, match=problem):
        fuzz.check(text, SpeechOptions(), random.Random(1))
