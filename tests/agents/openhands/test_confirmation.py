"""Answers that count as a yes, and the question before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.openhands.confirmation import (
    DOUBT_WORDS,
    QUESTIONS,
    YES_WORDS,
    confirmation_question,
    is_yes,
)


@pytest.mark.parametrize(
    "user_text",
    [
        *(
            "Yes.",
            "yes please",
            "Yeah, go ahead!",
            "Okay.",
            "OK, do it.",
            "Sure, thank you.",
            "Go ahead, please",
        ),
        *(
            "Uh, yes, I think so.",
            "Absolutely!",
            "Yes, delete the file.",
            "Ja, bitte.",
            "Ja, mach das.",
            "Klar.",
        ),
        *("Oui, s’il vous plaît.", "D'accord, allez-y.", "Sí, por favor.", "Vale.", "Sim.", "Certo, grazie."),
        *("Ja graag.", "Да.", "はい。", "好的", "네", "Va bene.", "ＹＥＳ", "Si\u0301"),
    ],
)
def test_a_clear_agreement_is_a_yes(user_text: str) -> None:
    assert is_yes(user_text)


@pytest.mark.parametrize(
    "user_text",
    [
        *(
            "",
            "...",
            "No.",
            "No, yes, no.",
            "Yes? What was it?",
            "Yes but not the second one",
            "Are you sure",
        ),
        *(
            "I'm not sure",
            "okay so what does it do",
            "Don't do it.",
            "Do it later.",
            "Wait.",
            "Thank you.",
            "it",
        ),
        *("Yes and then tell me what the weather is like", "yes I would rather have it done by you tomorrow"),
        *("Nein.", "Ja, aber später.", "Mach das nicht.", "Non merci.", "Oui, mais pas maintenant.", "Sí?"),
        *(
            "No, gracias.",
            "Não.",
            "いいえ",
            "不要",
            "Yesterday.",
            "Janet",
            "Sim, na\u0303o",
            "Ja, AUSSER Anna",
            "Yes, hold on",
            "What is the capital of France",
        ),
    ],
)
def test_anything_else_is_a_no(user_text: str) -> None:
    assert not is_yes(user_text)


@given(st.sampled_from(sorted(YES_WORDS)), st.sampled_from(sorted(DOUBT_WORDS)), st.booleans())
def test_a_word_of_doubt_makes_any_yes_a_no(yes: str, doubt: str, first: bool) -> None:
    assert not is_yes(f"{doubt} {yes}" if first else f"{yes}, {doubt}")


@given(st.text())
def test_any_text_is_a_yes_or_a_no(user_text: str) -> None:
    assert is_yes(user_text) in (True, False)


def test_the_question_names_the_actions() -> None:
    assert confirmation_question(["Delete the file"], "en") == "Delete the file: Shall I go ahead?"
    assert confirmation_question(["Eins", "Zwei"], "de-AT") == "Eins, Zwei: Soll ich das tun?"
    assert confirmation_question([], "xx") == "…: Shall I go ahead?"
    assert all(text.format(what="x").endswith("?") for text in QUESTIONS.values())
