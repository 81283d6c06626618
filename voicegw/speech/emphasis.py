"""Emphasis: which runs of marks are silent, and which are meant."""

from __future__ import annotations

import re
from collections.abc import Callable

from voicegw.speech.state import WAIT, FilterState

RUNS = {char: re.compile(re.escape(char) + "+") for char in "*_~="}
WORD_END = re.compile(r"[^\s*]+\*")
WORD_PART = re.compile(r"[^\s*]*\Z")


def marks(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A run of `*`, `_`, `~` or `=`: silent where it opens or closes emphasis."""
    char = text[at]
    found = RUNS[char].match(text, at, end)
    assert found
    if found.end() == end and not sure:
        return WAIT
    after = text[found.end()] if found.end() < end else ""
    size = found.end() - at
    if char == "*" and size == 1 and within(s.prev, after) and not s.opened["*"]:
        if WORD_PART.match(text, found.end(), end) and not sure:
            return WAIT
        if not WORD_END.match(text, found.end(), end):
            s.prose.say("*")
            return found.end()
    if KINDS[char](s, size, s.prev, after):
        s.prose.say(found[0])
    return found.end()


def within(before: str, after: str) -> bool:
    """Is this in the middle of a word with blanks around it?"""
    return before.isalnum() and before.isascii() and after.isalnum() and after.isascii()


def stars(s: FilterState, size: int, before: str, after: str) -> bool:
    """Is a run of `*` between these two characters to be spoken?"""
    opens, closes = bool(after) and not after.isspace(), not before.isspace()
    if not opens and not closes:
        return size < 3
    if before.isdigit() and after.isdigit():
        return size < 3
    if closes and s.opened["*"]:
        s.opened["*"] -= min(size, s.opened["*"])
        return False
    if not opens:
        return False
    s.opened["*"] += size
    return False


def underscores(s: FilterState, size: int, before: str, after: str) -> bool:
    """The same for `_`, which never opens or closes within a word."""
    if size > 2:
        return before.isalnum() and after.isalnum()
    if before.isalnum() and after.isalnum():
        return True
    opens, closes = bool(after) and not after.isspace(), not before.isspace()
    if closes and s.opened["_"] and not after.isalnum():
        s.opened["_"] -= min(size, s.opened["_"])
        return False
    if opens and not before.isalnum():
        s.opened["_"] += size
        return False
    return opens == closes


def doubled(char: str) -> Callable[[FilterState, int, str, str], bool]:
    """The same for marks that come in twos."""

    def spoken(s: FilterState, size: int, before: str, after: str) -> bool:
        opens = after.isalnum() or (after != "" and after in "*_`[(\"'")
        closes = not before.isspace()
        if size == 1 or not (opens or closes):
            return size < 3
        if closes and s.opened[char]:
            s.opened[char] = 0
            return False
        if opens and not (before.isalnum() and after.isalnum() and after.isascii()):
            s.opened[char] = size
            return False
        return size == 2

    return spoken


KINDS = {"*": stars, "_": underscores, "~": doubled("~"), "=": doubled("=")}
