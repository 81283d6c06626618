"""The gateway's phrases by language."""

from __future__ import annotations

import pytest

from voicegw.turns.phrases import PHRASES, Phrases, phrases_for


@pytest.mark.parametrize(
    ("language", "expected"),
    [("de", "de"), ("DE", "de"), ("pt-BR", "pt"), ("zh_CN", "zh"), ("en-GB", "en"), ("xx", "en"), ("", "en")],
)
def test_language_falls_back_to_its_primary_tag_and_then_to_english(language: str, expected: str) -> None:
    assert phrases_for(language) == PHRASES[expected]


def test_configured_acknowledgements_replace_those_of_their_language_only() -> None:
    configured = {"en": ("Hold on",), "de-AT": ("Moment bitte",)}
    assert phrases_for("en", configured).ack == ("Hold on",)
    assert phrases_for("en", configured).failure == PHRASES["en"].failure
    assert phrases_for("de-at", configured).ack == ("Moment bitte",)
    assert phrases_for("de", configured).ack == PHRASES["de"].ack
    assert phrases_for("xx", configured).ack == ("Hold on",)


def test_configured_code_sentence_replaces_that_of_its_language_only_and_may_be_silence() -> None:
    configured = {"en": "", "de-AT": "Hier steht Code."}
    assert [phrases_for(tag, code=configured).code for tag in ("en", "en-GB", "xx")] == ["", "", ""]
    assert phrases_for("de_AT", code=configured).code == "Hier steht Code."
    assert phrases_for("de", code=configured) == PHRASES["de"]
    assert phrases_for("en", code=configured).ack == PHRASES["en"].ack


@pytest.mark.parametrize(("language", "phrases"), PHRASES.items())
def test_every_language_has_speakable_phrases(language: str, phrases: Phrases) -> None:
    assert len(phrases.ack) >= 3
    assert len(set(phrases.ack)) == len(phrases.ack)
    sentences = (phrases.failure, phrases.busy, phrases.shutdown, phrases.code)
    for sentence in sentences:
        assert sentence[-1] in ".?。？।!！", sentence
    for text in (*phrases.ack, *phrases.progress, *sentences):
        assert text == text.strip()
        assert not set(text) & set("*_#`<>[]{}|~/\\\n")
    assert len(phrases.progress) >= 3
    short_phrases = (*phrases.ack, *phrases.progress)
    for phrase in short_phrases:
        assert phrase[-1] not in ".…!?,;:。！？।", "dialects add the punctuation"
        assert not any(other != phrase and other.startswith(phrase) for other in short_phrases)
