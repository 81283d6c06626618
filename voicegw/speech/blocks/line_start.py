"""Steps that the rules for the start of a line share. The rules are in `markers`, `items` and `fences`."""

from __future__ import annotations

from voicegw.speech.blocks import tables
from voicegw.speech.state import FilterState


def read_empty_line(state: FilterState, at: int) -> int:
    """Consume the line end of an empty line: it ends the paragraph, the row and the table."""
    state.begin_block()
    tables.end_table(state)
    state.after_empty_line, state.has_marker, state.indent = True, False, 0
    state.quote_level = state.previous_quote_level = 0
    return at + 1


def begin_prose(state: FilterState, at: int) -> int:
    """Hand the rest of the line to the rules of prose: there is no marker at `at`. Returns `at`."""
    if state.after_empty_line and not (state.in_item or state.may_continue_item):
        state.in_list = False
    state.after_empty_line = False
    if state.table_part == "bare":
        tables.begin_row(state)
    elif state.table_part and not state.in_row:
        tables.end_table(state)
        state.begin_block()
    state.mode = "inline"
    return at


def begin_marked_block(state: FilterState, *, item: bool = False) -> None:
    """End the open block and table: a marker begins a block, which is a list item if `item` is true."""
    tables.end_table(state)
    state.begin_block()
    state.in_item = item
    state.in_list = item or (state.in_list and state.may_continue_item)
    state.has_marker, state.after_empty_line, state.indent = True, False, 0
