"""Decides whether a run of `*` is a key, a code, a rating or a mask, which is spoken, or emphasis.

It reads no closing marks: how emphasis is paired is in `emphasis`.
"""

from __future__ import annotations

import re

from voicegw.speech.characters import is_wide
from voicegw.speech.state import FilterState

KEY = re.compile(r"\*(?:[.,;:!?)\]}\"'»”“’،؛؟]+(?:\s|\Z)|[、。，；：！？）」』】]|\ufe0f?\u20e3)")
"""The key itself, before punctuation: no emphasis begins there."""
KEY_PART = re.compile(r"\*(?:[.,;:!?)\]}\"'»”“’،؛؟]*|\ufe0f)\Z")
CODE = re.compile(r"\*{1,2}#?\d+(?:\*\d+)*#|\*{1,2}#?\d+\*\d")
"""A service code of a telephone, such as *21*0301234#."""
CODE_PART = re.compile(r"\*{1,2}#?[\d*]*\Z")
NUMBER_AFTER = re.compile(r"(\*+)#?\d")
NUMBER_AFTER_PART = re.compile(r"\*+#?\Z|\*{3,}[ \t]\Z")
RATED = re.compile(r"(?:^|[\s(\[–-])[1-7](?:[.,]5)?\Z")
"""The end of the speech before a star that means stars, as in "a 5* hotel"."""
MASK_BEFORE = re.compile(r"(?:[\d*]|\+|\*\))[ \t]?-?\Z")
MASK_AFTER = re.compile(r"[ \t]?[\d*]")
MASK_GROUP = re.compile(r"[ \t]\*{3}")
"""The next group of a mask behind two stars: "DE** **** 12"."""
MASK_PART = re.compile(r"[ \t]?\*{0,2}\Z")
MAIL_BEFORE = re.compile(r"@[\w.*-]*\Z")
MAIL_AFTER = re.compile(r"\*{1,2}[\w.+-][\w.*+-]*@[\w*]")
"""Stars within the name before the `@` of an address: "a**7@example.com"."""
MAIL_AFTER_PART = re.compile(r"\*{1,2}[\w.*+-]*@?\Z")
MIN_MASK_STARS = 3
"""A mask between blanks, or at one side of a word, has this many stars; fewer may be emphasis."""
LONG_MASK_STARS = 4
"""So many stars are never emphasis."""


def needs_more(text: str, at: int, end: int, *, is_in_word: bool) -> bool:
    """Whether the window ends before it is clear what the run of stars at `at` is."""
    if is_in_word:
        stars = text[at:end].lstrip("*")
        return bool(MAIL_AFTER_PART.match(text, at, end) or MASK_PART.fullmatch(stars))
    if MASK_PART.fullmatch(text[at:end].lstrip("*")):
        return True
    if any(part.match(text, at, end) for part in (KEY_PART, CODE_PART, NUMBER_AFTER_PART)):
        return True
    number = NUMBER_AFTER.match(text, at, end)
    if number is None or len(number[1]) == 2 or CODE.match(text, at, end):
        return False
    closer = find_closer(text, number.end(1), len(number[1]), end)
    if closer is None:
        return "\n" not in text[at:end]
    return closer + len(number[1]) == end


def is_spoken(state: FilterState, text: str, at: int, size: int, end: int) -> bool:
    """Whether the run of `size` stars at `at` is spoken, for no emphasis is open."""
    before, after = state.previous_char, text[at + size : at + size + 1] if at + size < end else ""
    is_in_word = is_word_char(before)
    if is_in_word and (MAIL_AFTER.match(text, at, end) or masks_domain(state, after)):
        return True
    if is_in_group(state, text, at, size, end) or (before in ("(", "[") and after in (")", "]")):
        return True
    if size == 1 and KEY.match(text, at, end) and not is_in_word:
        return True
    if size <= 2 and not is_in_word and CODE.match(text, at, end):
        return True
    if is_in_word or before == "@":
        return ends_value(state, size, after)
    if size != 2 and NUMBER_AFTER.match(text, at, end):
        return not find_closer(text, at + size, size, end)
    if size >= MIN_MASK_STARS and after == "-":
        return MASK_BEFORE.search(state.output.tail.rstrip()) is not None
    if size < MIN_MASK_STARS or not (after == "" or after.isspace()):
        return size >= LONG_MASK_STARS
    return size >= LONG_MASK_STARS or is_between_digits(state, text, at + size, end)


def is_word_char(char: str) -> bool:
    """Whether the character belongs to a word, in a script with blanks between words."""
    return char.isalnum() and not is_wide(char)


def masks_domain(state: FilterState, after: str) -> bool:
    """Whether stars stand for letters of an address behind its `@`: "ada@g**l.com"."""
    return (after.isalnum() or after in (".", "*")) and MAIL_BEFORE.search(state.output.tail) is not None


def is_in_group(state: FilterState, text: str, at: int, size: int, end: int) -> bool:
    """Whether two stars belong to a mask in groups: "DE** **** **12"."""
    if size != 2:
        return False
    is_last = text[at + size : min(at + size + 1, end)].isdigit() and state.output.tail.rstrip().endswith("*")
    return is_last or MASK_GROUP.match(text, at + size, end) is not None


def ends_value(state: FilterState, size: int, after: str) -> bool:
    """Whether stars right behind a letter or digit belong to it: "5*", "j***@", "4***1"."""
    if after == "@" or size >= MIN_MASK_STARS:
        return True
    return size == 1 and not after.isalnum() and RATED.search(state.output.tail) is not None


def is_between_digits(state: FilterState, text: str, after: int, end: int) -> bool:
    """Whether stars between blanks stand for digits: "+49 *** *** 12"."""
    return bool(MASK_BEFORE.search(state.output.tail.rstrip()) or MASK_AFTER.match(text, after, end))


def find_closer(text: str, at: int, size: int, end: int) -> int | None:
    """Return the index of the run of `size` stars that may close emphasis in this line, or None."""
    mark, line_end = "*" * size, text.find("\n", at, end)
    limit = end if line_end < 0 else line_end
    position = text.find(mark, at, limit)
    while position >= 0:
        after = position + size
        if (
            not text[position - 1].isspace()
            and text[position - 1] != "*"
            and not (after < limit and (text[after] in "*@" or text[after].isalnum()))
        ):
            return position
        position = text.find(mark, after, limit)
    return None
