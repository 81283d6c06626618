"""Rules and steps for tables: each row is a sentence, "Name: Ada, Age: 36.", or its cells alone, "Ada, 36."

`FilterState.table_part` is "" outside of tables, "header" after a first row that may be the header, "rows"
in the body, "bare" in the body of a table whose lines do not begin with a pipe. The cells of a possible
header are kept until the next line shows what they are.
"""

from __future__ import annotations

import re

from voicegw.speech.characters import is_wide
from voicegw.speech.prose import SentenceBuilder
from voicegw.speech.state import MAX_HEADER_CHARS, WAIT, FilterState

DELIMITER_ROW = re.compile(r"[|: \t]*-[-|: \t]*\r?\n")
DELIMITER_ROW_PART = re.compile(r"[-|: \t]+\r?\Z")
MAX_COLUMNS = 64
"""Cells of a row that are kept as headers; a longer row is spoken."""


def read_row_start(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the pipe at the start of a line: it begins a row, or the delimiter row under the first one."""
    if state.table_part == "header":
        position = read_delimiter_row(state, text, at, end, must_decide)
        if position is not None:
            return position
        say_first_row(state)
    if not state.table_part:
        state.begin_block()
        state.table_part, state.headers = "header", []
        begin_row(state)
        if state.options.tables == "headers":
            state.kept_chars_left = MAX_HEADER_CHARS
            keep_cell(state)
    else:
        state.table_part = "rows" if state.table_part != "bare" else "bare"
        begin_row(state)
    state.after_empty_line, state.in_list = False, state.in_list and state.may_continue_item
    state.mode = "inline"
    return at + 1


def read_delimiter_row(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read the row of dashes that makes the row above it a header; return None if the line is no such row."""
    match = DELIMITER_ROW.match(text, at, end)
    if not match and DELIMITER_ROW_PART.match(text, at, end):
        if not must_decide:
            return WAIT
    elif not match or "|" not in match[0]:
        return None
    if state.table_part == "header":
        use_kept_cells_as_headers(state)
    elif "|" in text[at:end]:
        state.table_part = state.table_part or "bare"
    else:
        return None
    state.begin_block()
    state.enter("line_rest")
    return at


def use_kept_cells_as_headers(state: FilterState) -> None:
    """Make the kept first row the header of the table."""
    state.headers = [cell.take().rstrip() for cell in state.kept_cells]
    state.kept_cells, state.output = [], state.speech
    state.table_part = "rows"


def say_first_row(state: FilterState) -> None:
    """Say the kept first row: no delimiter row follows it."""
    state.in_row = False
    state.say_kept_cells()


def end_table(state: FilterState) -> None:
    """End the table, if there is one."""
    if state.kept_cells:
        say_first_row(state)
    state.table_part, state.in_row = "", False


def begin_row(state: FilterState) -> None:
    """Begin a row and its first cell."""
    state.begin_block()
    state.in_row, state.column = True, 0
    begin_cell(state)


def note_tick(state: FilterState) -> None:
    """Remember the word for a tick; `end_cell` says it if the cell holds nothing else."""
    state.answer_mark = state.options.yes


def end_cell(state: FilterState) -> None:
    """End a cell; say its answer if it holds only a sign."""
    if state.answer_mark and state.output.piece_count == state.pieces_before_cell:
        state.output.say(state.answer_mark)
    state.answer_mark = ""


def begin_cell(state: FilterState) -> None:
    """Begin a cell: a comma separates it from the one before, and its header precedes its first word."""
    state.pieces_before_cell = state.output.piece_count
    if state.column:
        state.output.add_pause()
    header = state.headers[state.column] if state.column < len(state.headers) else ""
    state.output.prefix = header and (f"{header}：" if is_wide(header[-1]) else f"{header}: ")


def keep_cell(state: FilterState) -> None:
    """Keep the next cell of a possible header instead of saying it."""
    state.output = SentenceBuilder()
    state.pieces_before_cell = 0
    state.kept_cells.append(state.output)


def next_cell(state: FilterState) -> None:
    """End a cell at a pipe, and begin the next one."""
    end_cell(state)
    state.column += 1
    state.open_marks.clear()
    state.open_brackets.clear()
    if len(state.kept_cells) == MAX_COLUMNS:
        state.say_kept_cells()
    if state.kept_cells:
        keep_cell(state)
    else:
        begin_cell(state)


def end_row(state: FilterState) -> None:
    """End the row at the end of its line."""
    end_cell(state)
    state.in_row = False
    state.output = state.speech
    state.output.end_sentence(full_stop_due=True)
