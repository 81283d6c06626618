"""Written forms become words: properties of every text and cut. The corpus has the words of each language."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.speech.texts import CUTS, FORMS, TEXTS, cut_text, speak
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions, Spelling
from voicegw.speech.spelling.cldr import missing_packages
from voicegw.speech.spelling.speller import Speller, load_languages, make_parts
from voicegw.speech.spelling.words import WORDS

KINDS: tuple[Spelling, ...] = get_args(Spelling)
LANGUAGES = sorted(WORDS)
FORM_TEXTS = st.lists(st.sampled_from(FORMS), max_size=16).map("".join)


def spell(pieces: Iterable[str], language: str = "en", kinds: Iterable[Spelling] = KINDS) -> str:
    """Return the speech of these pieces without the rules of the filter."""
    speller = Speller(frozenset(kinds), language, 64)
    return "".join([*map(speller.feed, pieces), speller.flush()])


@settings(max_examples=500)
@given(FORM_TEXTS, CUTS, st.sampled_from(LANGUAGES), st.frozensets(st.sampled_from(KINDS)))
def test_words_do_not_depend_on_the_cuts(
    text: str, cuts: list[int], language: str, kinds: frozenset[Spelling]
) -> None:
    whole = spell([text], language, kinds)
    assert spell(cut_text(text, cuts), language, kinds) == whole
    assert spell(text, language, kinds) == whole


@settings(max_examples=300)
@given(TEXTS, CUTS, st.sampled_from(LANGUAGES))
def test_words_behind_markup_do_not_depend_on_the_cuts(text: str, cuts: list[int], language: str) -> None:
    options = SpeechOptions(spell=frozenset(KINDS), language=language, words={"api": "A P 1"})
    assert speak(cut_text(text, cuts), options) == speak([text], options)


@settings(max_examples=300)
@given(FORM_TEXTS, st.sampled_from(LANGUAGES), st.integers(8, 64))
def test_held_speech_never_exceeds_max_held_chars(text: str, language: str, max_held_chars: int) -> None:
    speller = Speller(KINDS, language, max_held_chars)
    for char in text:
        speller.feed(char)
        assert len(speller.pending) < max_held_chars


@given(FORM_TEXTS, st.sampled_from(LANGUAGES))
def test_without_kinds_the_speech_stays_as_it_is_written(text: str, language: str) -> None:
    assert spell([text], language, ()) == text


@given(FORM_TEXTS, CUTS, st.sampled_from(LANGUAGES), st.sets(st.integers(0, 12)))
def test_release_leaves_nothing_pending(text: str, cuts: list[int], language: str, pauses: set[int]) -> None:
    speller = Speller(KINDS, language, 64)
    for place, piece in enumerate(cut_text(text, cuts)):
        speller.feed(piece)
        if place in pauses:
            speller.release()
            assert speller.pending == ""
    speller.flush()
    assert speller.pending == ""


def test_plain_words_pass_at_once() -> None:
    speller = Speller(KINDS, "en", 64)
    for text in ("Hello ", "there, ", "I am ", "Ada", "."):
        assert speller.feed(text) == text


def test_a_number_in_a_pause_keeps_its_digits_together() -> None:
    """The pause may be within the number: "1" and "5" must not become "one" and "five"."""
    speller = Speller(KINDS, "en", 64)
    assert speller.feed("It costs $1") + speller.release() == "It costs $1"
    assert speller.feed("5 now.") == "5 now."


def test_a_number_before_a_blank_is_spelled_in_a_pause() -> None:
    speech_filter = SpeechFilter(SpeechOptions(spell=frozenset(KINDS)))
    assert speech_filter.feed("It takes 5 ") == "It takes "
    assert speech_filter.feed("k") == ""
    assert speech_filter.has_held_words
    assert speech_filter.release() == "5 k"
    speller = Speller(KINDS, "en", 64)
    assert speller.feed("It takes 5 ") + speller.release() + speller.feed("or so.") == "It takes five or so."


def test_words_follow_a_change_of_the_options() -> None:
    speech_filter = SpeechFilter(SpeechOptions(spell=frozenset(KINDS)))
    first = speech_filter.feed("5 km") + speech_filter.flush()
    speech_filter.change_options(SpeechOptions(spell=frozenset(KINDS), language="de"))
    assert first + speech_filter.feed("5 km") + speech_filter.flush() == "five kilometers fünf Kilometer"


def test_replaced_words_are_spelled() -> None:
    options = SpeechOptions(spell=frozenset(KINDS), words={"dozen": "12", "24/7": "always"})
    assert speak("Two dozen, 24/7, a dozen", options) == "Two twelve, always, a twelve"


def test_words_and_numbers_are_released_in_a_pause() -> None:
    options = SpeechOptions(spell=frozenset(KINDS), words={"New York": "the city"})
    speech_filter = SpeechFilter(options)
    assert speech_filter.feed("It is 5 ") + speech_filter.feed("New") == "It is "
    assert speech_filter.has_held_words
    assert speech_filter.release() == "5 New"
    assert not speech_filter.has_held_words


@pytest.mark.parametrize(("languages", "count"), [((), len(WORDS)), (("de", "hi", "xx"), 3)])
def test_languages_are_loaded_before_the_first_call(languages: tuple[str, ...], count: int) -> None:
    make_parts.cache_clear()
    load_languages(languages)
    loaded = make_parts.cache_info().misses
    assert loaded == count
    for language in languages or WORDS:
        Speller(KINDS, language, 64)
    assert make_parts.cache_info().misses == loaded


def test_no_package_of_the_extra_is_missing() -> None:
    assert missing_packages() == []


def count_calls(text: str) -> int:
    """Return the number of functions that run while the text is spelled, character by character."""
    calls = 0

    def count(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event == "call"

    speller = Speller(KINDS, "en", 64)
    sys.setprofile(count)
    try:
        for char in text:
            speller.feed(char)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "unit", ["5", "5 ", "$", "5-", "+", "(", "5 Main ", "EU", "1,234 ", "5 km ", "word "]
)
def test_work_grows_linearly_with_the_text(unit: str) -> None:
    spell([unit * 100])
    assert count_calls(unit * 400) <= 2.2 * count_calls(unit * 200)
