"""The rule for `$`: it begins a formula, or it is money. Formulas themselves are in `formula`."""

from __future__ import annotations

import re

from voicegw.speech.markup.formula import begin_formula
from voicegw.speech.state import WAIT, FilterState

DIGIT_FORMULA = re.compile(r"\$\d[\d.,]*(?:\s?[\\^_{=+]|[A-Za-z]{0,2}\$)")
DIGIT_FORMULA_PART = re.compile(r"\$(?:\d[\d.,]*(?:\s|[A-Za-z]{1,2})?)?\Z")
INLINE_FORMULA = re.compile(r"\$(?![\s$])[^$`\n]*(?<![\s\\])\$(?=[^\d$])")
INLINE_FORMULA_END = re.compile(r"\$(?![\s$])[^$`\n]*(?<![\s\\])\$\Z")
INLINE_FORMULA_PART = re.compile(r"\$[^$`\n]*\Z")
CASHTAG = re.compile(r"\$[A-Z]{2}")
"""The symbol of a share, such as $AAPL: no formula."""
AMOUNT_ENDS = frozenset(".,;:!?)/-+")


def read_dollar(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `$`: it begins a formula if the text looks like one; otherwise it is money, and spoken."""
    if at + 1 == end and not must_decide:
        return WAIT
    if is_behind_amount(state, text, at, end):
        return say_dollar(state, at)
    if text.startswith("$$", at):
        return read_double_dollar(state, text, at, end, must_decide)
    if at + 1 < end and text[at + 1].isdigit():
        if DIGIT_FORMULA.match(text, at, end) is None:
            if DIGIT_FORMULA_PART.match(text, at, end) and not must_decide:
                return WAIT
            return say_dollar(state, at)
    elif CASHTAG.match(text, at, end):
        return say_dollar(state, at)
    if INLINE_FORMULA.match(text, at, end) or (must_decide and INLINE_FORMULA_END.match(text, at, end)):
        return begin_formula(state, "$", at + 1)
    if not must_decide and (
        INLINE_FORMULA_END.match(text, at, end) or INLINE_FORMULA_PART.match(text, at, end)
    ):
        return WAIT if at + 1 == end or not text[at + 1].isspace() else say_dollar(state, at)
    return say_dollar(state, at)


def is_behind_amount(state: FilterState, text: str, at: int, end: int) -> bool:
    """Whether the `$` is the currency of the number before it: "5$", "5 $/mois"."""
    after = text[at + 1] if at + 1 < end else ""
    if state.previous_char.isdigit():
        return after not in ("\\", "$")
    return state.previous_char in " \xa0\u202f" and state.output.tail[-1:].isdigit() and after in AMOUNT_ENDS


def read_double_dollar(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read `$$`: it begins a displayed formula if text, a line end or a closed formula follows."""
    if at + 2 == end:
        if not must_decide:
            return WAIT
    elif text[at + 2] == "\n" or not (text[at + 2].isspace() or text[at + 2] in "$.,;:!?)-0123456789"):
        return begin_formula(state, "$$", at + 2)
    elif text[at + 2] == " ":
        line, line_end, _ = text[at + 2 : end].partition("\n")
        content, closing, _ = line.partition("$$")
        if closing and "\\" in content:
            return begin_formula(state, "$$", at + 2)
        if not closing and not line_end and not must_decide:
            return WAIT
    state.output.say("$$")
    return at + 2


def say_dollar(state: FilterState, at: int) -> int:
    """Say the `$` at `at`; return the index behind it."""
    state.output.say("$")
    return at + 1
