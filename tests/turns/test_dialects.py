"""How phrases end."""

from __future__ import annotations

import pytest

from voicegw.turns.dialects import DIALECTS


@pytest.mark.parametrize(
    ("dialect", "phrase", "ended"),
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
def test_a_phrase_ends_so_that_speech_joins_well(dialect: str, phrase: str, ended: str) -> None:
    assert DIALECTS[dialect].punctuate(phrase) == ended


def test_a_phrase_ends_with_its_own_language_s_full_stop() -> None:
    assert DIALECTS["vapi"].punctuate("请稍等", "。") == "请稍等。 "


def test_chat_clients_read_and_hear_no_words() -> None:
    assert [dialect.name for dialect in DIALECTS.values() if not dialect.acknowledges] == ["chat"]
    assert [dialect.name for dialect in DIALECTS.values() if not dialect.speech] == ["chat"]
