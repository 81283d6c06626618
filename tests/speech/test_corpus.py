"""Every case of the corpus is spoken as it says, however its text was cut into deltas."""

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
FROZEN = ("keep_tags", "silent_tags")

Case = dict[str, Any]


def named(cases: list[tuple[str, Case]]) -> list[Any]:
    return [pytest.param(case, id=f"{theme}: {case['name']}") for theme, case in cases]


def style(case: Case) -> SpeechOptions:
    options = dict(case.get("style", {}))
    options |= {name: frozenset(options[name]) for name in FROZEN if name in options}
    return SpeechOptions(**options)


def said(case: Case, size: int) -> str:
    """What is spoken of the text if it comes in pieces of `size` characters."""
    speakable, text = SpeechFilter(style(case)), case["text"]
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return "".join([speakable.feed(piece) for piece in pieces] + [speakable.flush()])


def shorn(speech: str) -> str:
    """Without the one blank that may have left behind the last punctuation, before the text was over."""
    ends = len(speech) > 1 and speech[-1] == " " and unicodedata.category(speech[-2]).startswith("P")
    return speech[:-1] if ends else speech


@pytest.mark.parametrize("size", [10**6, 1, 3], ids=["whole", "by character", "by threes"])
@pytest.mark.parametrize("case", named(CASES))
def test_a_text_is_spoken_as_the_corpus_says_however_it_was_cut(case: Case, size: int) -> None:
    assert shorn(said(case, size)) == case["speech"]


@pytest.mark.parametrize("case", named([(theme, case) for theme, case in CASES if theme == "plain"]))
def test_plain_text_leaves_unchanged_and_nearly_all_of_it_at_once(case: Case) -> None:
    speakable = SpeechFilter()
    at_once = speakable.feed(case["text"])
    rest = speakable.flush()
    assert at_once + rest == case["text"] == case["speech"]
    assert len(rest) <= SpeechOptions().max_held_chars


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 300
    counts = Counter((theme, case["name"]) for theme, case in CASES)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("case", named(CASES))
def test_an_expected_speech_has_single_blanks_and_none_at_its_ends(case: Case) -> None:
    assert case.keys() <= {"name", "text", "speech", "style"}
    assert case["speech"] == " ".join(case["speech"].split())
