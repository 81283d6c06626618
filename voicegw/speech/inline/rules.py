"""Rules for the text of a line: plain prose is spoken, each mark within it has a rule.

Markers at the start of a line are in `blocks`.
"""

from __future__ import annotations

import html
import re

from voicegw.speech.blocks import tables
from voicegw.speech.characters import ARROWS, EMOJI, INVISIBLE, LINE_SEPARATORS, SPECIAL, UNSPEAKABLE_SET
from voicegw.speech.inline import addresses, code_spans, emphasis, links, signs
from voicegw.speech.markup import dollars, formula, paths, scripts, tags, terminal
from voicegw.speech.state import WAIT, FilterState, Rule

MAX_SHORT_LINE = 50
"""A line with fewer characters, without blanks, was broken on purpose."""

CELL_BORDERS = "│┃║"
"""Lines between the cells of a table that is drawn with characters."""
CLOSING_MARKS = re.compile(r"#+[ \t]*\r?\n")
CLOSING_MARKS_PART = re.compile(r"#+[ \t]*\r?\Z")
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
ENTITY_PART = re.compile(r"&(?:#(?:\d{0,7}|[xX][0-9a-fA-F]{0,6})|[A-Za-z][A-Za-z0-9]{0,31})?\Z")
UNSPEAKABLE = re.compile(f"[{UNSPEAKABLE_SET}]+")
SILENT_RUN = re.compile(
    f"(?:(?![{signs.MEANING}{CELL_BORDERS}{ARROWS}])[{INVISIBLE}{EMOJI}\ue000-\ue1ff\ue201-\uf8ff])+"
)
APART = re.compile(f"(?![\ufe00-\ufe0f])[{EMOJI}{LINE_SEPARATORS}\ue000-\uf8ff]")
"""A picture or a separator of lines: the words on both sides of it do not grow together."""
PRIVATE_CITATION = re.compile("\ue200[^\ue201\n]*\ue201")
PRIVATE_CITATION_PART = re.compile("\ue200[^\ue201\n]*\\Z")
ESCAPABLE = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def read_inline(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Say plain characters; call the rule of any other character."""
    match = SPECIAL.search(text, at)
    position = match.start() if match else len(text)
    if position > at:
        return state.say_plain(text, at, position)
    return INLINE_RULES.get(text[at], read_unspeakable)(state, text, at, end, must_decide)


def read_blank(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read one white space character, and count it."""
    state.blanks = state.blanks + 1 if state.previous_char in " \t" else 1
    state.output.add_blank()
    return at + 1


def read_line_end(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a line end: it ends a row, a heading or a bold line; in a paragraph it is a blank or a pause."""
    if state.in_row:
        tables.end_row(state)
    elif state.in_heading:
        state.begin_block()
        state.speech.full_stop_due, state.in_heading = True, False
    elif state.starts_bold and state.previous_char in "*_" and not state.open_brackets:
        state.output.end_sentence(full_stop_due=True)
    elif state.previous_char in " \t" and state.blanks > 1:
        state.output.add_pause()
    else:
        state.output.add_line_break()
    state.mode, state.has_marker, state.starts_bold, state.indent = "line_start", False, False, 0
    state.after_short_line, state.line_chars = state.line_chars < MAX_SHORT_LINE, 0
    state.previous_quote_level, state.quote_level = state.quote_level, 0
    return at + 1


def read_carriage_return(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a carriage return: silent before a line end, a pause elsewhere, as in lines of progress."""
    if at + 1 == end and not must_decide:
        return WAIT
    if at + 1 < end and text[at + 1] not in "\r\n":
        state.output.add_pause()
    return at + 1


def read_unspeakable(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Leave out a run of characters that cannot be spoken, such as emoji; read an arrow."""
    match = SILENT_RUN.match(text, at)
    if match is None:
        return signs.read_arrow(state, text, at, end, must_decide)
    state.output.omit(apart=APART.search(match[0]) is not None)
    state.has_visible = True
    return match.end()


def read_cell_border(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the line between two cells of a drawn table: a pause."""
    state.has_visible = True
    if state.line_chars:
        state.output.add_pause()
    return at + 1


def read_joiner(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a zero-width joiner: it is kept where scripts need it to shape letters, from U+0600 on."""
    if "\u0600" <= state.previous_char < "\u2000":
        state.output.say(text[at])
    return at + 1


def read_private_use(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Leave out a citation in characters of private use, or one such character."""
    match = PRIVATE_CITATION.match(text, at, end)
    if match:
        state.output.omit(apart=True)
        return match.end()
    if PRIVATE_CITATION_PART.match(text, at, end) and not must_decide:
        return WAIT
    state.output.omit()
    return at + 1


def read_hash(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `#`: silent among the closing marks of a heading, spoken elsewhere."""
    if state.in_heading and state.previous_char in " \t":
        if CLOSING_MARKS.match(text, at, end):
            return at + 1
        if CLOSING_MARKS_PART.match(text, at, end):
            return at + 1 if must_decide else WAIT
    elif state.in_heading and state.previous_char == "#" and not state.output.tail.endswith("#"):
        return at + 1
    state.output.say("#")
    return at + 1


def read_entity(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `&`: an HTML entity is spoken as its character, any other `&` as such."""
    match = ENTITY.match(text, at, end)
    character = html.unescape(match[0]) if match else ""
    if match and character != match[0]:
        if character.isspace():
            state.output.add_blank()
        elif UNSPEAKABLE.fullmatch(character):
            state.output.omit()
        else:
            state.output.say(character)
        return match.end()
    if match is None and ENTITY_PART.match(text, at, end) and not must_decide:
        return WAIT
    state.output.say("&")
    return at + 1


def read_tilde(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `~`: the home folder of a path, or a mark of struck text."""
    if at + 1 == end and not must_decide:
        return WAIT
    position = paths.read_home(state, text, at, end, must_decide)
    return emphasis.read_marks(state, text, at, end, must_decide) if position is None else position


def read_backslash(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a backslash: it begins a path or a formula, escapes a mark, breaks a line, or is spoken."""
    if at + 1 == end and not must_decide:
        return WAIT
    position = paths.read_backslash(state, text, at, end, must_decide)
    if position is not None:
        return position
    after = text[at + 1] if at + 1 < end else ""
    if after in ("(", "[") and not (state.previous_char.isascii() and state.previous_char.isalnum()):
        return formula.begin_formula(state, "\\)" if after == "(" else "\\]", at + 2)
    if after in ("n", "r"):
        position = terminal.read_literal_break(state, text, at, end, must_decide)
        if position is not None:
            return position
    if after in ("\r", "\n"):
        state.output.add_pause()
        return at + 1
    state.output.say(after if after in ESCAPABLE else "\\")
    return at + 2 if after in ESCAPABLE else at + 1


def read_pipe(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a pipe: it separates cells; in prose it is a pause between blanks, and spoken elsewhere."""
    if state.in_row:
        tables.next_cell(state)
        return at + 1
    if at + 1 == end and not must_decide:
        return WAIT
    after = text[at + 1] if at + 1 < end else " "
    if state.previous_char.isspace() and after.isspace():
        state.output.add_pause()
    else:
        state.output.say("|")
    return at + 1


INLINE_RULES: dict[str, Rule] = {
    " ": read_blank,
    "\t": read_blank,
    "\n": read_line_end,
    "\r": read_carriage_return,
    "*": emphasis.read_marks,
    "_": emphasis.read_marks,
    "~": read_tilde,
    "=": emphasis.read_marks,
    "#": read_hash,
    "`": code_spans.read_backticks,
    "\\": read_backslash,
    "[": links.read_opening_bracket,
    "]": links.read_closing_bracket,
    "!": links.read_exclamation_mark,
    "(": links.read_parenthesis,
    ":": links.read_colon,
    "/": paths.read_slash,
    "^": scripts.read_caret,
    "◁": links.read_opening_bracket,
    "【": links.read_lenticular_bracket,
    "<": tags.read_less_than,
    "&": read_entity,
    "|": read_pipe,
    "$": dollars.read_dollar,
    **signs.RULES,
    **dict.fromkeys(CELL_BORDERS, read_cell_border),
    "\ue200": read_private_use,
    "\u200c": read_joiner,
    "\u200d": read_joiner,
    **dict.fromkeys("hHwW", addresses.read_address),
}
"""The rule of each character that ends plain prose; all others are for `read_unspeakable`."""
