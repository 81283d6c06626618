"""Rules for `<sup>`, `<sub>` and `^` in prose: raised numbers stay apart from the text before them."""

from __future__ import annotations

import re

from voicegw.speech.state import WAIT, FilterState

SUPERSCRIPTS = {**dict(zip("0123456789+-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", strict=True)), "'": "′", "−": "⁻"}
SUBSCRIPTS = dict(zip("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋", strict=True))
FRACTION = re.compile(
    r"<sup>\s?(\d{1,4})\s?</sup>\s?(?:[/⁄]|&frasl;)\s?<sub>\s?(\d{1,4})\s?</sub>", re.IGNORECASE
)
SCRIPT = re.compile(r"<(sup|sub)>\s?([+−-]?\d{1,4}|n)\s?</\1>", re.IGNORECASE)
SCRIPT_PART = re.compile(
    r"<su[pb]>\s?(?:(?:[+−-]?\d{0,4}|n)\s?(?:<(?:/(?:s(?:u[pb]?)?)?)?)?)?\Z", re.IGNORECASE
)
BEHIND_PART = re.compile(r"\s?(?:[/⁄&<][^\s]{0,30})?\s?\Z")
CURRENCY_BEHIND = re.compile(r"[ \xa0\u202f]?[€$£¥₹]")
PRICE = re.compile(r"[€$£¥₹] ?\d[\d.,]*\Z")
NOTED_WORD = re.compile(r"[^\W\d_]{4,}\Z|[.,;:!?)\"”]\Z")
"""Behind a long word or punctuation, a raised number is the mark of a footnote."""
CARET = re.compile(r"\^(?:\{([+−-]?[0-9n]{1,6})\}|\(([+−-]?[0-9]{1,6})\)|([+−-]?[0-9]{1,6})(?![0-9A-Za-z_]))")
CARET_PART = re.compile(r"\^(?:[{(]?[+−-]?[0-9n]{0,6}|[+−-]?[0-9]{0,6})\Z")


def read_script(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read `<sup>` or `<sub>` with the number that it holds; return None if it holds other text."""
    match = SCRIPT.match(text, at, end)
    if match is None:
        return WAIT if SCRIPT_PART.match(text, at, end) and not must_decide else None
    if match[1].lower() == "sub":
        return say_script(state, SUBSCRIPTS, match) if state.output.tail[-1:].isdigit() else None
    fraction = FRACTION.match(text, at, end)
    if fraction:
        if state.previous_char.isalnum():
            state.output.add_blank()
        state.output.say(f"{fraction[1]}/{fraction[2]}")
        return fraction.end()
    if BEHIND_PART.match(text, match.end(), end) and not must_decide:
        return WAIT
    tail, number = state.output.tail, match[2]
    if state.previous_char.isspace() or not tail:
        return None
    if number.isdigit() and len(number) == 2 and tail[-1].isdigit():
        if PRICE.search(tail):
            return say_cents(state, ".", match)
        if CURRENCY_BEHIND.match(text, match.end(), end):
            return say_cents(state, ",", match)
    if NOTED_WORD.search(tail):
        state.output.omit()
        return match.end()
    return say_script(state, SUPERSCRIPTS, match)


def say_script(state: FilterState, characters: dict[str, str], match: re.Match[str]) -> int:
    """Say a number in raised or lowered characters; return the index behind it."""
    state.output.say("".join(characters.get(char, char) for char in match[2].lower()))
    return match.end()


def say_cents(state: FilterState, mark: str, match: re.Match[str]) -> int:
    """Say the raised cents of a price behind a decimal mark; return the index behind them."""
    state.output.say(mark + match[2])
    return match.end()


def read_caret(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `^` in prose: a number behind a number, a unit or a variable becomes raised characters."""
    if state.previous_char.isalnum() or state.previous_char == ")":
        if CARET_PART.match(text, at, end) and not must_decide:
            return WAIT
        match = CARET.match(text, at, end)
        if match:
            number = match[1] or match[2] or match[3]
            state.output.say("".join(SUPERSCRIPTS[char] for char in number))
            return match.end()
    state.output.say("^")
    return at + 1
