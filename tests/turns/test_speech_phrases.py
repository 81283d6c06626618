"""Every language has words for signs, and ratings name their numbers."""

from __future__ import annotations

import pytest

from voicegw.turns.phrases import PHRASES
from voicegw.turns.speech_phrases import SPEECH_PHRASES, speech_phrases_for


def test_every_language_of_the_phrases_has_words_for_signs() -> None:
    assert SPEECH_PHRASES.keys() == PHRASES.keys()


@pytest.mark.parametrize("language", SPEECH_PHRASES)
def test_ratings_name_their_numbers(language: str) -> None:
    phrases = SPEECH_PHRASES[language]
    assert "3" in phrases.stars.format(count=3)
    assert {"3", "5"} <= set(phrases.rating.format(count=3, total=5))


def test_a_configured_sentence_replaces_the_one_of_its_language() -> None:
    assert speech_phrases_for("pt_BR") == SPEECH_PHRASES["pt"]
    assert speech_phrases_for("de-AT", {"de": "Ausgabe."}).output == "Ausgabe."
    assert speech_phrases_for("xx", {"en": ""}).output == ""
    assert speech_phrases_for("de", {"en": ""}) == SPEECH_PHRASES["de"]
