"""Rules for text that is left out: comments, link targets, addresses, thematic breaks, the rest of a line.

Tags and the text that they silence are in `markup`, blocks of code in `blocks.fences`.
"""

from __future__ import annotations

import re

from voicegw.speech.state import WAIT, FilterState


def skip_line_rest(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip the rest of the line and its end."""
    line_end = text.find("\n", at)
    if line_end < 0:
        return len(text)
    state.leave()
    state.has_marker, state.indent = False, 0
    state.previous_quote_level, state.quote_level = state.quote_level, 0
    return line_end + 1


THEMATIC_BREAK_RUN = re.compile(r"[-*_= \t]+")


def skip_thematic_break(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip a thematic break (`---`) of any length. Text behind it on its line is prose."""
    match = THEMATIC_BREAK_RUN.match(text, at)
    if match:
        return match.end()
    state.mode = "inline"
    return at


def skip_comment(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip a comment or reasoning, up to and with `state.end_mark`."""
    end_mark_at = text.find(state.end_mark, at)
    if end_mark_at >= 0:
        state.leave()
        return end_mark_at + len(state.end_mark)
    for size in range(min(len(state.end_mark) - 1, len(text) - at), 0, -1):
        if text.endswith(state.end_mark[:size]):
            partial_mark_at = len(text) - size
            return partial_mark_at if partial_mark_at > at else len(text) if must_decide else WAIT
    return len(text)


def skip_link_target(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip the address of a link, in balanced parentheses; a line end ends it in any case."""
    for position in range(at, len(text)):
        char = text[position]
        if char == "(":
            state.depth += 1
        elif char == ")":
            state.depth -= 1
            if not state.depth:
                state.leave()
                return position + 1
        elif char == "\n":
            state.leave()
            return position
    return len(text)


URL_RUN = re.compile(r"[A-Za-z0-9\-/@#$&+=%{}\\^\u00c0-\u024f]+")
NEXT_URL = re.compile(r"https?://", re.IGNORECASE)
"""Another address right behind the punctuation: "https://a.example,https://b.example"."""
NEXT_URL_PART = re.compile(r"h(?:t(?:t(?:p(?:s?(?::/?)?)?)?)?)?\Z", re.IGNORECASE)
URL_PUNCTUATION = re.compile(r"[.,;:!?'_~*]+")


def skip_url(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip the rest of a bare address. Punctuation at its end belongs to the sentence."""
    match = URL_RUN.match(text, at)
    if match:
        return match.end()
    char = text[at]
    marks = URL_PUNCTUATION.match(text, at, end)
    if marks and not (char == "*" and state.open_marks["*"]):
        if marks.end() == end and not must_decide:
            return WAIT
        if NEXT_URL.match(text, marks.end(), end):
            return leave_url(state, at)
        if not must_decide and NEXT_URL_PART.match(text, marks.end(), end):
            return WAIT
        if marks.end() < end and (URL_RUN.match(text, marks.end()) or text[marks.end()] == "("):
            return marks.end()
    elif char == "(" or (char == ")" and state.depth):
        state.depth += 1 if char == "(" else -1
        return at + 1
    return leave_url(state, at + 1 if char == ">" and state.in_angle_brackets else at)


def leave_url(state: FilterState, after: int) -> int:
    """End the address. Returns `after`, the index behind it."""
    state.leave()
    state.in_angle_brackets = False
    return after
