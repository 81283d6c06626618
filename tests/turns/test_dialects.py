"""Dialects end phrases as their platform needs."""

from __future__ import annotations

import pytest

from voicegw.turns.dialects import DIALECTS


@pytest.mark.parametrize(
    ("dialect", "phrase", "punctuated"),
    [
        ("voice", "One moment", "One moment. "),
        ("vapi", "One moment", "One moment. "),
        ("elevenlabs", "One moment", "One moment... "),
        ("elevenlabs", "One moment... ", "One moment... "),
        ("voice", "One moment,", "One moment. "),
        ("voice", "Really?", "Really? "),
        ("elevenlabs", "Sure!", "Sure! "),
        ("voice", "  ", ""),
        ("voice", "...", ""),
    ],
)
def test_phrase_gets_the_ending_of_its_dialect(dialect: str, phrase: str, punctuated: str) -> None:
    assert DIALECTS[dialect].punctuate(phrase) == punctuated


def test_phrase_gets_the_full_stop_of_its_language() -> None:
    assert DIALECTS["vapi"].punctuate("请稍等", "。") == "请稍等。 "


def test_chat_has_neither_phrases_nor_speech_filter() -> None:
    assert [dialect.name for dialect in DIALECTS.values() if not dialect.acknowledges] == ["chat"]
    assert [dialect.name for dialect in DIALECTS.values() if not dialect.filters_speech] == ["chat"]
