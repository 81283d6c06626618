"""Rules for list items: bullets, numbers and task boxes; a bullet may be the sign of an amount."""

from __future__ import annotations

import re

from voicegw.speech.blocks.line_start import begin_marked_block, begin_prose
from voicegw.speech.characters import BULLETS
from voicegw.speech.inline import signs
from voicegw.speech.inline.links import read_definition
from voicegw.speech.prose import SENTENCE_END
from voicegw.speech.state import WAIT, FilterState

BULLET = re.compile(f"[{re.escape(BULLETS)}](?=[ \\t\\r\\n])")
SIGNED = re.compile(r"[+–-][ \t]+(?:[$€£¥₹] ?\d|\d+(?:[.,]\d+)*[ \xa0\u202f]?[%€$£¥₹])")
SIGN_PART = re.compile(r"[+–-][ \t]*(?:[$€£¥₹] ?|\d[\d.,]*[ \xa0\u202f]?)?\Z")
AMOUNT_ABOVE = re.compile(r"\d[ \xa0\u202f]?[%€$£¥₹]?\W*\Z")
TASK_BOX = re.compile(r"\[[ xX]\](?=[ \t\r\n])")
TASK_BOX_PART = re.compile(r"\[(?:[ xX]\]?)?\Z")
ORDERED = re.compile(r"(\d{1,9})[.)](?=[ \t\r\n])")
NUMBERED = re.compile(r"\(\d{1,2}\)[ \t]|[①-⑳]|\d\ufe0f?\u20e3")
NUMBERED_PART = re.compile(r"\((?:\d{1,2}\)?)?\Z|\d\ufe0f?\Z")
ORDERED_PART = re.compile(r"\d{1,9}[.)]?\Z")


def read_bullet(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a character that is always a bullet, with or without a blank behind it."""
    begin_marked_block(state, item=True)
    return at + 1


def read_numbered_item(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read an item that begins with (1), ① or a keycap number; the number is spoken."""
    if NUMBERED.match(text, at, end):
        begin_marked_block(state, item=True)
        return begin_prose(state, at)
    return WAIT if NUMBERED_PART.match(text, at, end) and not must_decide else begin_prose(state, at)


def read_item(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a bullet with a blank behind it."""
    match = BULLET.match(text, at, end)
    if match:
        if SIGN_PART.match(text, at, end) and not must_decide:
            return WAIT
        is_signed = is_signed_number(state, text, at, end)
        begin_marked_block(state, item=True)
        if is_signed:
            state.output.say(text[at])
            return begin_prose(state, match.end())
        return match.end()
    if text[at] in BULLETS and end - at < 2 and not must_decide:
        return WAIT
    return begin_prose(state, at)


def is_signed_number(state: FilterState, text: str, at: int, end: int) -> bool:
    """Whether the bullet is the sign of an amount: "+ 19 %", or "- 10 %" below a line with an amount."""
    if not SIGNED.match(text, at, end):
        return False
    return text[at] == "+" or (not state.in_list and AMOUNT_ABOVE.search(state.speech.tail) is not None)


def read_ordered_item(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the number of a list item; within a paragraph only the number 1 begins a list."""
    match = ORDERED.match(text, at, end)
    if match and (
        state.output.gap == SENTENCE_END or state.in_list or match[1] == "1" or not state.speech.tail
    ):
        begin_marked_block(state, item=True)
        state.output.say(f"{match[1]}.")
        state.output.add_blank()
        return match.end()
    if ORDERED_PART.match(text, at, end) and not must_decide:
        return WAIT
    return read_numbered_item(state, text, at, end, must_decide)


def read_bracket(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the box of a task, or the definition of a link or a footnote."""
    if state.in_item:
        if TASK_BOX.match(text, at, end):
            if text[at + 1] != " ":
                signs.say_done(state)
            return at + 3
        if TASK_BOX_PART.match(text, at, end) and not must_decide:
            return WAIT
    position = read_definition(state, text, at, end, must_decide)
    return begin_prose(state, at) if position is None else position
