"""How a block begins, a line goes on, and an empty line ends everything."""

from __future__ import annotations

from voicegw.speech import tables
from voicegw.speech.state import FilterState


def empty(s: FilterState, at: int) -> int:
    """An empty line ends the paragraph, the row, the table."""
    s.begin_block()
    tables.over(s)
    s.blank, s.marked, s.indent, s.quoted, s.was_quoted = True, False, 0, 0, 0
    return at + 1


def prose(s: FilterState, at: int) -> int:
    """No mark, or no further one: the rest of the line is prose."""
    if s.blank and not (s.item or s.indented):
        s.listed = False
    s.blank = False
    if s.table == "bare":
        tables.begin_row(s)
    elif s.table and not s.row:
        tables.over(s)
        s.begin_block()
    s.mode = "inline"
    return at


def marker(s: FilterState, *, item: bool = False) -> None:
    """A mark that begins a block of its own was consumed."""
    tables.over(s)
    s.begin_block()
    s.item = item
    s.listed = item or (s.listed and s.indented)
    s.marked, s.blank, s.indent = True, False, 0
