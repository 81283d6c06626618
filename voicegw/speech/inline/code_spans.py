"""Rules for code spans: their words are spoken as they are, and long paths by their name."""

from __future__ import annotations

import re

from voicegw.speech.characters import UNSPEAKABLE_SET
from voicegw.speech.markup import paths
from voicegw.speech.state import WAIT, FilterState

BACKTICKS = re.compile(r"`+")
CODE_RUN = re.compile(rf"[^`\s{UNSPEAKABLE_SET}]+")


def read_backticks(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Begin a code span."""
    match = BACKTICKS.match(text, at, end)
    assert match
    if match.end() == end and not must_decide:
        return WAIT
    state.enter("code_span")
    state.code_span_ticks = match.end() - at
    return match.end()


def read_code_span(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a code span: all is spoken as it is, up to the backticks that end it."""
    position = paths.read_code_path(state, text, at, end, must_decide)
    if position is not None:
        return position
    match = CODE_RUN.match(text, at)
    if match:
        return state.say_plain(text, at, match.end())
    char = text[at]
    if char == "`":
        backticks = BACKTICKS.match(text, at, end)
        assert backticks
        if backticks.end() == end and not must_decide:
            return WAIT
        if backticks.end() - at == state.code_span_ticks:
            state.mode = "inline"
        else:
            state.output.say(backticks[0])
        return backticks.end()
    if char == "\n":
        if state.in_row or state.in_heading:
            state.mode = "inline"
            return at
        return read_code_span_line_end(state, text, at, end, must_decide)
    if char.isspace():
        state.output.add_blank()
    return at + 1


def read_code_span_line_end(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a line end within a code span: it goes on only if its end is within the window."""
    rest, empty_line, _ = text[at:end].partition("\n\n")
    if "`" * state.code_span_ticks in rest:
        state.output.add_blank()
        return at + 1
    if not empty_line and not must_decide:
        return WAIT
    state.mode = "inline"
    return at
