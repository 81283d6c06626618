"""Rules for the start of a line: a heading, an item, a quote, a fence, a row, a thematic break, or prose.

They consume the markers of the line one by one. The text behind the markers is for `inline`.
"""

from __future__ import annotations

import re

from voicegw.speech import tables, tags
from voicegw.speech.characters import ARROWS, BULLETS, EMOJI, INVISIBLE, JOINERS
from voicegw.speech.fences import begin_indented_code, read_fence
from voicegw.speech.line_start import begin_marked_block, begin_prose, read_empty_line
from voicegw.speech.links import read_definition
from voicegw.speech.prose import LINE_BREAK, SENTENCE_END
from voicegw.speech.state import NESTED_QUOTE_LEVEL, QUOTE_LEVEL, WAIT, FilterState, Rule

INDENT = re.compile(r"[ \t]+")
HEADING = re.compile(r"#{1,6}(?=[ \t\r\n])")
HEADING_PART = re.compile(r"#{1,6}\Z")
THEMATIC_BREAK = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){2,}|=+[ \t]*)\r?\n")
LONG_THEMATIC_BREAK = re.compile(r"([-_=*])\1{7}")
THEMATIC_BREAK_PART = re.compile(r"(?:[*][* \t]*|[_][_ \t]*|[-][- \t]*|=+[ \t]*)\r?\Z")
BULLET = re.compile(f"[{re.escape(BULLETS)}](?=[ \\t\\r\\n])")
BULLET_SYMBOL = re.compile(f"[{EMOJI}{ARROWS}]")
TASK_BOX = re.compile(r"\[[ xX]\](?=[ \t\r\n])")
TASK_BOX_PART = re.compile(r"\[(?:[ xX]\]?)?\Z")
ORDERED = re.compile(r"(\d{1,9})[.)](?=[ \t\r\n])")
NUMBERED = re.compile(r"\(\d{1,2}\)[ \t]|[①-⑳]|\d\ufe0f?\u20e3")
NUMBERED_PART = re.compile(r"\((?:\d{1,2}\)?)?\Z|\d\ufe0f?\Z")
ORDERED_PART = re.compile(r"\d{1,9}[.)]?\Z")
TAB_COLUMNS = 4
"""A tab counts as this many blanks."""
MIN_CODE_INDENT = 4
"""Blanks before a line of indented code."""

INVISIBLE_RUN = re.compile(f"[{INVISIBLE}{JOINERS}]+")


def read_line_start(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Consume one marker at the start of a line, or begin its prose."""
    char = text[at]
    if char in " \t":
        indent = INDENT.match(text, at, end)
        assert indent
        state.indent += sum(TAB_COLUMNS if blank == "\t" else 1 for blank in indent[0])
        return indent.end()
    if char == "\n":
        return read_empty_line(state, at)
    invisible = INVISIBLE_RUN.match(text, at, end)
    if invisible or char == "\r":
        return invisible.end() if invisible else at + 1
    if (
        state.output.gap == LINE_BREAK
        and state.after_short_line
        and (char.isupper() or char.isdigit() or char == "[")
    ):
        state.output.add_pause()  # the line above is so short that it was broken on purpose
    if state.kept_cells and char not in "|:-":
        tables.say_first_row(state)
    if (
        state.indent >= MIN_CODE_INDENT + bool(state.quote_level)
        and state.after_empty_line
        and not state.in_list
        and state.speech.tail
    ):
        return begin_indented_code(state, at)
    if BULLET_SYMBOL.match(char):
        state.has_visible = True
        if not state.has_marker:
            begin_marked_block(state)
        return at + 1
    rule = LINE_START_RULES.get(char) or (read_ordered_item if char.isdecimal() and char.isascii() else None)
    if rule is not None:
        return rule(state, text, at, end, must_decide)
    return begin_prose(state, at)


def read_heading(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the `#` marks of a heading."""
    match = HEADING.match(text, at, end)
    if match:
        begin_marked_block(state)
        state.in_heading = True
        state.mode = "inline"
        return match.end()
    if HEADING_PART.match(text, at, end) and not must_decide:
        return WAIT
    return begin_prose(state, at)


def read_quote(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the `>` of a quote; the first line of a quote begins a block."""
    if not state.quote_level:
        state.quote_level = NESTED_QUOTE_LEVEL if state.indent > 1 else QUOTE_LEVEL
        if not state.previous_quote_level:
            before = state.after_empty_line, state.in_list
            begin_marked_block(state)
            state.after_empty_line, state.in_list = before
    state.indent = 0
    return at + 1


def read_thematic_break(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a thematic break (`---`), a line under a heading or a table's header, an item, or prose."""
    if text[at] in ":-":
        position = tables.read_delimiter_row(state, text, at, end, must_decide)
        if position is not None:
            return position
    if state.kept_cells:
        tables.say_first_row(state)
    match = THEMATIC_BREAK.match(text, at, end)
    if (
        match
        or LONG_THEMATIC_BREAK.match(text, at, end)
        or (must_decide and THEMATIC_BREAK_PART.match(text, at, end) and end - at > 2)
    ):
        if text[at] != "=" or state.speech.tail:
            begin_marked_block(state)
            state.speech.full_stop_due = True
        state.has_visible = True
        state.mode = "thematic_break"
        return at
    if THEMATIC_BREAK_PART.match(text, at, end) and not must_decide:
        return WAIT
    if text[at] in "*_" and text.startswith(text[at], at + 1):
        return begin_bold_line(state, at)
    return read_item(state, text, at, end, must_decide)


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


def begin_bold_line(state: FilterState, at: int) -> int:
    """Begin a line with bold text: a sentence begins, and a line that is bold to its end is a heading."""
    if state.output.gap == LINE_BREAK:
        state.output.end_sentence()
    state.starts_bold = True
    return begin_prose(state, at)


def read_item(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a bullet with a blank behind it."""
    match = BULLET.match(text, at, end)
    if match:
        begin_marked_block(state, item=True)
        return match.end()
    if text[at] in BULLETS and end - at < 2 and not must_decide:
        return WAIT
    return begin_prose(state, at)


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
            return at + 3
        if TASK_BOX_PART.match(text, at, end) and not must_decide:
            return WAIT
    position = read_definition(state, text, at, end, must_decide)
    return begin_prose(state, at) if position is None else position


def read_leading_tag(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a tag at the start of a line; a heading or another marker may follow it."""
    position = tags.read_tag(state, text, at, end, must_decide)
    return begin_prose(state, at) if position is None else position


LINE_START_RULES: dict[str, Rule] = {
    "#": read_heading,
    ">": read_quote,
    "-": read_thematic_break,
    "*": read_thematic_break,
    "_": read_thematic_break,
    "=": read_thematic_break,
    ":": read_thematic_break,
    "[": read_bracket,
    "`": read_fence,
    "~": read_fence,
    "|": tables.read_row_start,
    "<": read_leading_tag,
    **{char: read_item for char in BULLETS if char not in "-*"},
    **dict.fromkeys("•・‣⁃", read_bullet),
    **dict.fromkeys("(①②③④⑤⑥⑦⑧⑨⑩", read_numbered_item),
}
"""The rule of each character that may be a marker. Digits and bullet symbols are in `read_line_start`."""
