"""What the gateway itself says."""

from __future__ import annotations

import pytest

from voicegw.turns.phrases import PHRASES, Phrases, phrases_for


@pytest.mark.parametrize(
    ("asked", "found"),
    [("de", "de"), ("DE", "de"), ("pt-BR", "pt"), ("zh_CN", "zh"), ("en-GB", "en"), ("xx", "en"), ("", "en")],
)
def test_a_language_falls_back_to_its_family_and_then_to_english(asked: str, found: str) -> None:
    assert phrases_for(asked) == PHRASES[found]


def test_configured_acknowledgements_replace_ours_for_their_language_only() -> None:
    own = {"en": ("Hold on",), "de-AT": ("Moment bitte",)}
    assert phrases_for("en", own).ack == ("Hold on",)
    assert phrases_for("en", own).failed == PHRASES["en"].failed
    assert phrases_for("de-at", own).ack == ("Moment bitte",)
    assert phrases_for("de", own).ack == PHRASES["de"].ack
    assert phrases_for("xx", own).ack == ("Hold on",)


def test_configured_notes_for_code_replace_ours_for_their_language_only_even_by_silence() -> None:
    own = {"en": "", "de-AT": "Hier steht Code."}
    assert [phrases_for(tag, code=own).code for tag in ("en", "en-GB", "xx")] == ["", "", ""]
    assert phrases_for("de_AT", code=own).code == "Hier steht Code."
    assert phrases_for("de", code=own) == PHRASES["de"]
    assert phrases_for("en", code=own).ack == PHRASES["en"].ack


@pytest.mark.parametrize(("language", "words"), PHRASES.items())
def test_every_language_has_speakable_words(language: str, words: Phrases) -> None:
    assert len(words.ack) >= 3
    assert len(set(words.ack)) == len(words.ack)
    sentences = (words.failed, words.busy, words.closing, words.code)
    for sentence in sentences:
        assert sentence[-1] in ".?。？।!！", sentence
    for text in (*words.ack, *words.progress, *sentences):
        assert text == text.strip()
        assert not set(text) & set("*_#`<>[]{}|~/\\\n")
    assert len(words.progress) >= 3
    lines = (*words.ack, *words.progress)
    for phrase in lines:
        assert phrase[-1] not in ".…!?,;:。！？।", "dialects end a phrase"
        assert not any(
            other != phrase and other.startswith(phrase) for other in (*words.ack, *words.progress)
        )
