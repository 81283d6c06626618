"""Sets of characters by their effect on speech, and punctuation by script. Ranges are those of Unicode.

It decides nothing: the rules of the filter use the sets.
"""

from __future__ import annotations

import codecs
import re

codecs.lookup("utf-16-le")  # imports it now: later there may be no file descriptor for that

NEEDS_NO_FULL_STOP = frozenset(".!?…:;,。！？：；，、．؟،؛۔։።။។།।॥။።·—–-~～‥⋯")
"""A sentence that ends with one of these gets no full stop."""

ENDS_CLAUSE = frozenset(".!?…:;,。！？：；，、؟،؛۔։።။។།।")
"""A blank after one of these is said at once: speech platforms wait for it, and no later text drops it."""

CLOSERS = "\"')]}»”’›」』）】》〉"
"""May stand between the end of a sentence and the blank after it."""

NO_BLANK_BEFORE = frozenset(".,;:!?)]}»”’…。，、；：！？）؟،؛۔।%")
"""The blank before silent text is dropped if one of these follows that text."""

EMOJI = (
    "\u20d0-\u20ff\u231a-\u231b\u2328\u23cf\u23e9-\u23fa\u2500-\u25c0\u25c2-\u266c\u2670-\u27bf\u2b08-\u2bff\u3030\u303d\u3297\u3299"
    "\ufe00-\ufe0f\U0001f000-\U0001faff\U000e0000-\U000e01ef"
)
"""Emoji and other pictures, box drawing, enclosing marks, variation selectors, tag characters."""

ARROWS = "\u2190-\u21ff\u27a1\u27f0-\u27ff\u2794\u2798-\u279f\u2900-\u297f\u2b00-\u2b07"
"""Arrows: a pause between two words."""

INVISIBLE = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180e\u200b\u200e-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff0-\uffff"
)
"""Control characters, zero-width characters and direction marks."""

LINE_SEPARATORS = "\x0b\x0c\x1c-\x1f\x85\u2028\u2029"
"""Invisible characters that separate lines, pages or fields: a blank."""

JOINERS = "\u200c\u200d"
"""Shape letters in some scripts; elsewhere they are left out."""

PRIVATE_USE = "\ue000-\uf8ff"
"""The private use area: some models wrap their citations in such characters."""

BULLETS = "-+*•‣–·∙⁃"
"""Each begins a list item when a blank follows."""

UNSPEAKABLE_SET = INVISIBLE + JOINERS + EMOJI + PRIVATE_USE + "\ud800-\udfff"
"""Characters that cannot be spoken."""

SPECIAL_SET = UNSPEAKABLE_SET + ARROWS + r"\t\n\r\\*_`~=#\[\]!<&|$【◁^"
SPECIAL = re.compile(
    f"[{SPECIAL_SET}]| (?=[{SPECIAL_SET} (:]|\\Z)|[hHwW](?<![A-Za-z0-9_][hHwW])(?=[tTwW]|\\Z)"
    r"|\((?=\[|\Z)|:(?<![^ ]:)(?=c|\Z)|/(?<![A-Za-z0-9/]/)(?=[A-Za-z0-9_.]|\Z)"
)
"""The end of plain prose: a character that has a rule, a blank that waits, or the start of an address.

Each alternative begins with a character, so that the pattern is searched by a set of first characters.
"""

SURROGATE = re.compile("[\ud800-\udfff]")
"""One half of a character beyond the basic plane: JSON escapes may be cut between the two halves."""


def split_names(text: str) -> frozenset[str]:
    """Return the set of the names in a text that separates them by blanks."""
    return frozenset(text.split())


def is_wide(char: str) -> bool:
    """Whether this character belongs to a script without blanks between words."""
    return "\u2e80" <= char <= "\ua4cf" or "\uf900" <= char <= "\ufaff" or "\uff00" <= char <= "\uffef"


def full_stop_for(char: str) -> str:
    """Return the full stop of the script of a letter; "." for ""."""
    if "\u2e80" <= char <= "\ua4cf" or "\uf900" <= char <= "\ufaff":
        return "。"
    if "\u0900" <= char <= "\u0dff":
        return "।" if char < "\u0a80" or "\u0b00" <= char <= "\u0b7f" else "."
    return (
        {"\u1000": "။", "\u1200": "።", "\u1780": "។", "\u0530": "։"}.get(chr(ord(char) & ~0x7F), ".")
        if char
        else "."
    )


def comma_for(char: str) -> str:
    """Return the comma of the script of a letter; "," for ""."""
    if is_wide(char):
        return "，"
    return "،" if "\u0600" <= char <= "\u07ff" else ","


def join_surrogates(text: str) -> str:
    """Return the text with each surrogate pair joined into one character, and without single halves."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
