"""The rule for emphasis: a run of marks is silent where it opens or closes emphasis, and spoken elsewhere.

An opening mark needs no closing mark: when the filter decides about it, the text behind it is not known yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from voicegw.speech.inline import stars
from voicegw.speech.state import WAIT, FilterState

MARK_RUNS = {char: re.compile(re.escape(char) + "+") for char in "*_~="}
STAR_ENDS_WORD = re.compile(r"[^\s*]+\*")
"""The rest of a word that holds a second star: `un*frigging*real`, not `f*ck`."""

STAR_ENDS_WORD_PART = re.compile(r"[^\s*]*\Z")
STRUCK = re.compile(r"~~(?=[^\s~])(?:[^~|\n]|~(?!~))*(?<=[^\s~])~~(?!~)")
"""Struck text that the window holds, such as an old price. A longer one is spoken."""
NEEDS_OLD_VALUE = re.compile(
    r"(?:\b(?:was|were|originally|previously|formerly|before|instead of|in place of|usually|normally"
    r"|rather than|statt|anstatt|war|waren|vorher|früher|bisher|normalerweise"
    r"|au lieu de|était|étaient|avant|auparavant|en vez de|en lugar de|era|eran|antes|em vez de"
    r"|invece di|anziché|prima|in plaats van|was eerst|voorheen|zamiast|było|przedtem|istället för|förut"
    r"|вместо|было|раньше|eskiden|önce|पहले)|原价|原價|定価|通常価格|원래)[ :：]*\Z",
    re.IGNORECASE,
)
"""The end of the speech before struck text that its sentence needs, as in "was ~~50~~ 40"."""
PLAIN_VALUE = re.compile(r"\s*([\w$€£¥₹](?: ?[\w$€£¥₹.,:%+-])*)\s*")
STRUCK_PART = re.compile(r"~~(?:(?=[^\s~])(?:[^~|\n]|~(?!~))*~{0,2})?\Z")


def read_marks(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a run of `*`, `_`, `~` or `=`: silent where it opens or closes emphasis."""
    char = text[at]
    match = MARK_RUNS[char].match(text, at, end)
    assert match
    if match.end() == end and not must_decide:
        return WAIT
    after = text[match.end()] if match.end() < end else ""
    size = match.end() - at
    if char == "~" and size == 2 and not state.open_marks["~"]:
        struck = STRUCK.match(text, at, end)
        if struck and (struck.end() < end or must_decide):
            return read_struck(state, text[at + 2 : struck.end() - 2], struck.end())
        if (struck or STRUCK_PART.match(text, at, end)) and not must_decide:
            return WAIT
    if char == "*" and not state.open_marks["*"]:
        position = read_spoken_stars(state, text, at, match.end(), after, end, must_decide)
        if position is not None:
            return position
    if PAIRINGS[char](state, size, state.previous_char, after):
        state.output.say(match[0])
    return match.end()


def read_spoken_stars(
    state: FilterState, text: str, at: int, after_run: int, after: str, end: int, must_decide: bool
) -> int | None:
    """Say the stars `text[at:after_run]` of a key, a code, a mask or a word; return None for emphasis."""
    size, before = after_run - at, state.previous_char
    is_in_word = stars.is_word_char(before)
    if is_in_word or size > 2 or not after.isalpha():
        if not must_decide and stars.needs_more(text, at, end, is_in_word=is_in_word):
            return WAIT
        if stars.is_spoken(state, text, at, size, end):
            state.output.say(text[at:after_run])
            return after_run
    if size == 1 and is_in_word and is_within_word(before, after):
        if STAR_ENDS_WORD_PART.match(text, after_run, end) and not must_decide:
            return WAIT
        if not STAR_ENDS_WORD.match(text, after_run, end):
            state.output.say("*")
            return after_run
    return None


def read_struck(state: FilterState, content: str, after: int, *, apart: bool = False) -> int:
    """Leave out text that is struck through: its author took it back. Returns `after`.

    With `apart`, the words on both sides do not grow together.
    An old value that the words before it need is spoken, with a pause between both values.
    """
    state.has_visible = True
    value = PLAIN_VALUE.fullmatch(content)
    if value and NEEDS_OLD_VALUE.search(state.output.tail):
        if state.previous_char.isspace():
            state.output.add_blank()
        state.output.say(value[1])
        state.output.add_pause()
    else:
        state.output.omit(apart=apart)
    return after


def is_within_word(before: str, after: str) -> bool:
    """Whether these two characters are part of one word, in a script with blanks between words."""
    return before.isalnum() and before.isascii() and after.isalnum() and after.isascii()


def pair_stars(state: FilterState, size: int, before: str, after: str) -> bool:
    """Close or open emphasis by `size` stars between these two characters; return true if they are spoken."""
    opens, closes = bool(after) and not after.isspace(), not before.isspace()
    if not opens and not closes:
        return size < 3
    if before.isdigit() and after.isdigit():
        return size < 3
    if closes and state.open_marks["*"]:
        state.open_marks["*"] -= min(size, state.open_marks["*"])
        return False
    if not opens:
        return False
    state.open_marks["*"] += size
    return False


def pair_underscores(state: FilterState, size: int, before: str, after: str) -> bool:
    """Close or open emphasis by `size` underscores; return true if they are spoken.

    Within a word, underscores never open or close emphasis.
    """
    if size > 2:
        return before.isalnum() and after.isalnum()
    if before.isalnum() and after.isalnum():
        return True
    opens, closes = bool(after) and not after.isspace(), not before.isspace()
    if closes and state.open_marks["_"] and not after.isalnum():
        state.open_marks["_"] -= min(size, state.open_marks["_"])
        return False
    if opens and not before.isalnum():
        state.open_marks["_"] += size
        return False
    return opens == closes


OPENERS = "*_`[(\"'$€£¥₹+-"
"""Emphasis may begin with one of these, or with a letter or digit."""


def make_doubled_pairing(char: str) -> Callable[[FilterState, int, str, str], bool]:
    """Return the pairing function of a mark that is emphasis only when it is doubled."""

    def pair_doubled(state: FilterState, size: int, before: str, after: str) -> bool:
        opens = after.isalnum() or (after != "" and after in OPENERS)
        closes = not before.isspace()
        if size == 1 or not (opens or closes):
            return size < 3
        if closes and state.open_marks[char]:
            state.open_marks[char] = 0
            return False
        if opens and not (before.isalnum() and after.isalnum() and after.isascii()):
            state.open_marks[char] = size
            return False
        return size == 2

    return pair_doubled


PAIRINGS = {
    "*": pair_stars,
    "_": pair_underscores,
    "~": make_doubled_pairing("~"),
    "=": make_doubled_pairing("="),
}
"""For each mark the function that pairs it."""
