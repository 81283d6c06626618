"""The filter speaks every case of the corpus as the case says, for every cut of its text into deltas."""

from __future__ import annotations

import tomllib
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions

FILES = sorted((Path(__file__).parent / "corpus").glob("*.toml"))
CASES = [(file.stem, case) for file in FILES for case in tomllib.loads(file.read_text("utf-8"))["case"]]
SETS = ("keep_tags", "silent_tags", "spell")

Case = dict[str, Any]


def as_params(cases: list[tuple[str, Case]]) -> list[Any]:
    return [pytest.param(case, id=f"{theme}: {case['name']}") for theme, case in cases]


def make_options(case: Case) -> SpeechOptions:
    options = dict(case.get("style", {}))
    options |= {name: frozenset(options[name]) for name in SETS if name in options}
    return SpeechOptions(**options)


def speak(case: Case, size: int) -> str:
    """Return the speech of a case whose text comes in deltas of `size` characters."""
    speech_filter, text = SpeechFilter(make_options(case)), case["text"]
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return "".join([speech_filter.feed(piece) for piece in pieces] + [speech_filter.flush()])


def without_last_blank(speech: str) -> str:
    """Return the speech without a blank after its last punctuation: it is said before the text is over."""
    ends = len(speech) > 1 and speech[-1] == " " and unicodedata.category(speech[-2]).startswith("P")
    return speech[:-1] if ends else speech


@pytest.mark.parametrize("size", [10**6, 1, 3], ids=["whole", "by character", "by threes"])
@pytest.mark.parametrize("case", as_params(CASES))
def test_speech_is_that_of_the_corpus_for_every_cut(case: Case, size: int) -> None:
    assert without_last_blank(speak(case, size)) == case["speech"]


@pytest.mark.parametrize("case", as_params([(theme, case) for theme, case in CASES if theme == "plain"]))
def test_plain_text_is_returned_unchanged_and_nearly_all_at_once(case: Case) -> None:
    speech_filter = SpeechFilter()
    at_once = speech_filter.feed(case["text"])
    rest = speech_filter.flush()
    assert at_once + rest == case["text"] == case["speech"]
    assert len(rest) <= SpeechOptions().max_held_chars


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 1000
    counts = Counter((theme, case["name"]) for theme, case in CASES)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("case", as_params(CASES))
def test_expected_speech_has_single_blanks_and_none_at_its_ends(case: Case) -> None:
    assert case.keys() <= {"name", "text", "speech", "style"}
    assert case["speech"] == " ".join(case["speech"].split())
