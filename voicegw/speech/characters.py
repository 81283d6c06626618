"""The characters that matter to speech, by what they do. Ranges are Unicode's."""

from __future__ import annotations

import re

ENDS = frozenset(".!?…:;,。！？：；，、．؟،؛۔։።။។།।॥။።·—–-~～‥⋯")
"""After one of these a sentence needs no further stop."""

CLAUSES = frozenset(".!?…:;,。！？：；，、؟،؛۔։።။។།।")
"""After one of these a blank leaves at once: platforms wait for it, and nothing takes it back."""

CLOSERS = "\"')]}»”’›」』）】》〉"
"""May stand between the end of a sentence and its blank."""

TIGHT = frozenset(".,;:!?)]}»”’…。，、；：！？）؟،؛۔।%")
"""No blank is put before one of these where something silent stood between."""

EMOJI = (
    "\u20d0-\u20ff\u231a-\u231b\u2328\u23cf\u23e9-\u23fa\u2500-\u25c0\u25c2-\u266c\u2670-\u27bf\u2b08-\u2bff\u3030\u303d\u3297\u3299"
    "\ufe00-\ufe0f\U0001f000-\U0001faff\U000e0000-\U000e01ef"
)
"""Pictures, box drawing, enclosing marks, variation selectors, tags."""

ARROWS = "\u2190-\u21ff\u27a1\u27f0-\u27ff\u2794\u2798-\u279f\u2900-\u297f\u2b00-\u2b07"
INVISIBLE = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180e\u200b\u200e-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff0-\uffff"
)
"""Control characters, zero-width characters and direction marks."""

JOINERS = "\u200c\u200d"
PRIVATE = "\ue000-\uf8ff"
"""Private use: some models wrap their citations in such characters."""

BULLETS = "-+*•‣–·∙⁃"
"""Begin an item when a blank follows; so do pictures and arrows, always."""

UNHEARD_SET = INVISIBLE + JOINERS + EMOJI + PRIVATE + "\ud800-\udfff"
"""What nobody can say."""

SPECIAL_SET = UNHEARD_SET + ARROWS + r"\t\n\r\\*_`~=#\[\]!<&|$【◁"
SPECIAL = re.compile(f"[{SPECIAL_SET}]| (?=[{SPECIAL_SET} ]|\\Z)|(?<![A-Za-z0-9_])[hHwW](?=[tTwW]|\\Z)")
"""Where plain prose ends: a character with a rule of its own, a blank that waits, the start of an address."""

SURROGATE = re.compile("[\ud800-\udfff]")


def names(text: str) -> frozenset[str]:
    """A set of names, written with blanks between them."""
    return frozenset(text.split())


def wide(char: str) -> bool:
    """Does a script without blanks between words use this character?"""
    return "\u2e80" <= char <= "\ua4cf" or "\uf900" <= char <= "\ufaff" or "\uff00" <= char <= "\uffef"


def stop(char: str) -> str:
    """The full stop of the script to which a letter belongs."""
    if "\u2e80" <= char <= "\ua4cf" or "\uf900" <= char <= "\ufaff":
        return "。"
    if "\u0900" <= char <= "\u0dff":
        return "।" if char < "\u0a80" or "\u0b00" <= char <= "\u0b7f" else "."
    return (
        {"\u1000": "။", "\u1200": "።", "\u1780": "។", "\u0530": "։"}.get(chr(ord(char) & ~0x7F), ".")
        if char
        else "."
    )


def comma(char: str) -> str:
    """The comma of the script to which a letter belongs."""
    if wide(char):
        return "，"
    return "،" if "\u0600" <= char <= "\u07ff" else ","


def joined(text: str) -> str:
    """The text with its surrogate pairs joined, and without half ones."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
