"""Tables: rows read as sentences, with their headers or as joined cells.

`State.table` is "" outside of tables, "header" after a first row that may be a header, "rows" in the
body, "bare" in the body of a table whose lines do not begin with a pipe.
"""

from __future__ import annotations

import re

from voicegw.speech.characters import wide
from voicegw.speech.prose import SentenceBuilder
from voicegw.speech.state import MOST_HEADER, WAIT, FilterState

DASHES = re.compile(r"[|: \t]*-[-|: \t]*\r?\n")
DASHES_PART = re.compile(r"[-|: \t]+\r?\Z")
MOST_COLUMNS = 64
YES, NO = frozenset("✅✔✓☑"), frozenset("❌✗✘✖☒")


def pipe(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A line that begins with a pipe is a row, or the dashes under the first one."""
    if s.table == "header":
        found = under_header(s, text, at, end, sure)
        if found is not None:
            return found
        no_header(s)
    if not s.table:
        s.begin_block()
        s.table, s.headers = "header", []
        begin_row(s)
        if s.options.tables == "headers":
            s.room = MOST_HEADER
            keep_cell(s)
    else:
        s.table = "rows" if s.table != "bare" else "bare"
        begin_row(s)
    s.blank, s.listed = False, s.listed and s.indented
    s.mode = "inline"
    return at + 1


def under_header(s: FilterState, text: str, at: int, end: int, sure: bool) -> int | None:
    """The row of dashes that makes the row above it a header; None if this line is none."""
    found = DASHES.match(text, at, end)
    if not found and DASHES_PART.match(text, at, end):
        if not sure:
            return WAIT
    elif not found or "|" not in found[0]:
        return None
    if s.table == "header":
        s.headers = [cell.take().rstrip() for cell in s.cells]
        s.cells, s.prose = [], s.speech
        s.table = "rows"
    elif "|" in text[at:end]:
        s.table = s.table or "bare"
    else:
        return None
    s.begin_block()
    s.enter("skip")
    return at


def no_header(s: FilterState) -> None:
    """No dashes came under the first row: what was kept of it is spoken."""
    s.row = False
    s.speak_cells()


def over(s: FilterState) -> None:
    """The table is over."""
    if s.cells:
        no_header(s)
    s.table, s.row = "", False


def begin_row(s: FilterState) -> None:
    s.begin_block()
    s.row, s.column = True, 0
    begin_cell(s)


def mark(s: FilterState, signs: str) -> None:
    """A mark that is the whole cell is its answer."""
    s.mark = s.options.yes if set(signs) & YES else s.options.no if set(signs) & NO else s.mark


def end_cell(s: FilterState) -> None:
    if s.mark and s.prose.said == s.begun:
        s.prose.say(s.mark)
    s.mark = ""


def begin_cell(s: FilterState) -> None:
    """The cells of a row are joined by commas; a cell's header is said only if the cell is not empty."""
    s.begun = s.prose.said
    if s.column:
        s.prose.pause()
    header = s.headers[s.column] if s.column < len(s.headers) else ""
    s.prose.lead = header and (f"{header}：" if wide(header[-1]) else f"{header}: ")


def keep_cell(s: FilterState) -> None:
    """Keep the next cell of what may be a header, instead of saying it."""
    s.prose = SentenceBuilder()
    s.begun = 0
    s.cells.append(s.prose)


def next_cell(s: FilterState) -> None:
    """A pipe within a row."""
    end_cell(s)
    s.column += 1
    s.opened.clear()
    s.brackets.clear()
    if len(s.cells) == MOST_COLUMNS:
        s.speak_cells()
    if s.cells:
        keep_cell(s)
    else:
        begin_cell(s)


def end_row(s: FilterState) -> None:
    """The end of a row's line."""
    end_cell(s)
    s.row = False
    s.prose = s.speech
    s.prose.rest(due=True)
