"""Rules for the start of a line: a heading, a quote, a fence, a row, a thematic break, or prose.

They consume the markers of the line one by one. Items are in `items`, and the
text behind the markers is for `inline`.
"""

from __future__ import annotations

import re

from voicegw.speech.blocks import items, tables
from voicegw.speech.blocks.fences import begin_indented_code, read_fence
from voicegw.speech.blocks.line_start import begin_marked_block, begin_prose, read_empty_line
from voicegw.speech.characters import ARROWS, BULLETS, EMOJI, INVISIBLE, JOINERS
from voicegw.speech.inline import signs
from voicegw.speech.markup import model_tokens, tags, terminal
from voicegw.speech.prose import LINE_BREAK
from voicegw.speech.state import NESTED_QUOTE_LEVEL, QUOTE_LEVEL, WAIT, FilterState, Rule

INDENT = re.compile(r"[ \t]+")
HEADING = re.compile(r"#{1,6}(?=[ \t\r\n])|#{2,6}(?=[^\s\d#])|#{2,6}(?=\d{1,3}[.、)])")
"""The marks of a heading; models leave out the blank behind two or more."""
HEADING_PART = re.compile(r"#{1,6}\Z|#{2,6}\d{1,3}\Z")
THEMATIC_BREAK = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){2,}|=+[ \t]*)\r?\n")
LONG_THEMATIC_BREAK = re.compile(r"([-_=*])\1{7}")
THEMATIC_BREAK_PART = re.compile(r"(?:[*][* \t]*|[_][_ \t]*|[-][- \t]*|=+[ \t]*)\r?\Z")
OUTPUT_STARTS = frozenset("{[d@-+aF0123456789")
"""Characters with which a line of terminal output begins."""
BORDER = re.compile(r"(?:\+[-=]{2,})+\+?[ \t]*(?:\r?\n|\Z)")
LONG_BORDER = re.compile(r"(?:\+[-=]{2,}){2}|\+[-=]{8}")
BORDER_PART = re.compile(r"\+(?:[-=]+\+?)*[ \t]*\r?\Z")
BULLET_SYMBOL = re.compile(f"[{EMOJI}{ARROWS}]")
COMPARISON = re.compile(r">=?(?=[ \t]?[$€£¥₹]?\d+(?:[^\d.)]|[.)]\S|\Z))|>=(?=\s)")
"""A sign at the start of a line that compares: "> 30 days", ">= 18". A number of a list is no such number."""
COMPARISON_PART = re.compile(r">(?:=?[ \t]?[$€£¥₹]?\d*[.)]?)\Z")
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
    if not "!" <= char <= "~":
        invisible = INVISIBLE_RUN.match(text, at, end)
        if invisible or char == "\r":
            return invisible.end() if invisible else at + 1
    if state.output.gap == LINE_BREAK and state.after_short_line and begins_line(char):
        end_short_line(state)
    if state.kept_cells and char not in "|:-+":
        tables.say_first_row(state)
    if (
        state.indent >= MIN_CODE_INDENT + bool(state.quote_level)
        and state.after_empty_line
        and not state.in_list
        and state.speech.tail
    ):
        return begin_indented_code(state, at)
    if char > "~" and BULLET_SYMBOL.match(char):
        return read_bullet_symbol(state, at, char)
    if char in OUTPUT_STARTS and state.options.terminal == "note":
        position = terminal.read_output(state, text, at, end, must_decide)
        if position is not None:
            return position
    rule = LINE_START_RULES.get(char) or (items.read_ordered_item if "0" <= char <= "9" else None)
    if rule is not None:
        return rule(state, text, at, end, must_decide)
    return begin_prose(state, at)


def begins_line(char: str) -> bool:
    """Whether a line that begins with this character does not go on with the sentence of a short line.

    The letters of Georgian count as lower case, but its sentences begin with them.
    """
    return (
        char.isdigit()
        or char == "["
        or (char.isalpha() and (not char.islower() or "\u10d0" <= char <= "\u10ff"))
    )


def end_short_line(state: FilterState) -> None:
    """End a line that is so short that it was broken on purpose: a pause, after an item a full stop."""
    if state.in_item and not state.may_continue_item:
        state.begin_block()
    else:
        state.output.add_pause()


def read_bullet_symbol(state: FilterState, at: int, char: str) -> int:
    """Read a sign that serves as a bullet; one with a meaning is spoken by its rule."""
    state.has_visible = True
    if not state.has_marker:
        begin_marked_block(state)
    if char in signs.MEANING:
        return begin_prose(state, at)
    return at + 1


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
    """Read the `>` of a quote, or of a comparison; the first line of a quote begins a block."""
    if not (state.quote_level or state.previous_quote_level):
        if COMPARISON_PART.match(text, at, end) and not must_decide:
            return WAIT
        comparison = COMPARISON.match(text, at, end)
        if comparison:
            state.output.say(comparison[0])
            state.line_chars += 1
            begin_prose(state, at)
            return comparison.end()
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
    return items.read_item(state, text, at, end, must_decide)


def begin_bold_line(state: FilterState, at: int) -> int:
    """Begin a line with bold text: a sentence begins, and a line that is bold to its end is a heading."""
    if state.output.gap == LINE_BREAK:
        state.output.end_sentence()
    state.starts_bold = True
    return begin_prose(state, at)


def read_leading_tag(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a tag at the start of a line; a heading or another marker may follow it."""
    position = tags.read_tag(state, text, at, end, must_decide)
    return begin_prose(state, at) if position is None else position


def read_role(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a letter that may begin the role of the speaker, at the start of an answer."""
    position = model_tokens.read_role(state, text, at, end, must_decide)
    return begin_prose(state, at) if position is None else position


def read_border(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `+`: a border of a table that is drawn with characters is silent; else an item, or prose."""
    if BORDER_PART.match(text, at, end) and not must_decide:
        return WAIT
    if BORDER.match(text, at, end) or LONG_BORDER.match(text, at, end):
        if state.table_part == "header":
            tables.use_kept_cells_as_headers(state)
        elif not state.table_part:
            begin_marked_block(state)
        state.has_visible = True
        state.enter("line_rest")
        return at
    if state.kept_cells:
        tables.say_first_row(state)
    return items.read_item(state, text, at, end, must_decide)


LINE_START_RULES: dict[str, Rule] = {
    "#": read_heading,
    ">": read_quote,
    "-": read_thematic_break,
    "*": read_thematic_break,
    "_": read_thematic_break,
    "=": read_thematic_break,
    ":": read_thematic_break,
    "[": items.read_bracket,
    "`": read_fence,
    "~": read_fence,
    "|": tables.read_row_start,
    "<": read_leading_tag,
    **{char: items.read_item for char in BULLETS if char not in "-*"},
    **dict.fromkeys("aA", read_role),
    "+": read_border,
    **dict.fromkeys("•・‣⁃", items.read_bullet),
    **dict.fromkeys("(①②③④⑤⑥⑦⑧⑨⑩", items.read_numbered_item),
}
"""The rule of each character that may be a marker. Digits and bullet symbols are in `read_line_start`."""
