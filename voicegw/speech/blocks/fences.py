"""Rules for blocks of code, fenced or indented: a notice is said, the code is left out.

Code spans within a line are in `inline.code_spans`.
"""

from __future__ import annotations

import re

from voicegw.speech.blocks.line_start import begin_marked_block, begin_prose
from voicegw.speech.state import WAIT, FilterState

FENCE = re.compile(r"(`{3,}(?=[^`\n]*(?:\n|\Z))|~{3,})[ \t]*([^\s`]*)")
FENCE_PART = re.compile(r"(?:`{1,2}|`{3,}[^`\n]*|~{1,2}|~{3,}[^\n]*)\Z")
DECORATION = re.compile(r"~{8}|~{3,}[^~\n]*[^~\s][^~\n]*~")
"""A line of tildes, or tildes around text, that is decoration and no fence."""
PROSE_FENCES = frozenset({"markdown", "md", "text", "txt", "plaintext"})
"""Languages of fences that hold prose: models wrap whole answers in them."""
MAX_WRAPPERS = 8
"""Open prose fences that are remembered; beyond it the outermost is forgotten."""
FENCE_END = re.compile(r"[ \t>]*(`{3,}|~{3,})(?=[ \t\r]*\n|[ \t]+[^\s`~])")
FENCE_END_PART = re.compile(r"[ \t>]*(?:(`*)|(~*))[ \t\r]*\Z")
FENCE_AT_LINE_END = re.compile(r"(`{3,}|~{3,})[ \t\r]*\n")
FENCE_AT_LINE_END_PART = re.compile(r"(?:`+|~+)[ \t\r]*\Z")
FENCE_RUN = re.compile(r"`+|~+")
CODE_INDENT = re.compile(r"(?: {0,3}> ?)*([ \t]*)")


def read_fence(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the fence of a block of code, or a fence that wraps prose; both fences are silent."""
    match = FENCE.match(text, at, end)
    if not must_decide and "\n" not in text[at:end] and FENCE_PART.match(text, at, end):
        return WAIT
    if match is None or DECORATION.match(text, at, end):
        return begin_prose(state, at)
    marks, info = len(match[1]), match[2].lower()
    begin_marked_block(state)
    state.enter("line_rest")
    if state.open_wrappers and marks >= state.open_wrappers[-1] and not info:
        state.open_wrappers.pop()
    elif info in PROSE_FENCES:
        state.open_wrappers.append(marks)
        del state.open_wrappers[:-MAX_WRAPPERS]
    else:
        say_code_notice(state)
        state.code_fence, state.return_mode = match[1], "fenced_line_start"
    return at


def begin_indented_code(state: FilterState, at: int) -> int:
    """Begin a block of indented code. Returns `at`."""
    begin_marked_block(state)
    say_code_notice(state)
    state.enter("line_rest")
    state.return_mode = "indented_line"
    return at


def say_code_notice(state: FilterState) -> None:
    """Say, once for each block, that code is left out."""
    state.has_visible = True
    if state.options.code:
        state.output.say(state.options.code)
        state.output.end_sentence()
        state.output.full_stop_due = True


def read_fenced_line_start(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the start of a line of fenced code: the fence that ends the block, or code."""
    match = FENCE_END.match(text, at, end)
    part = None if match else FENCE_END_PART.match(text, at, end)
    if part and not must_decide:
        return WAIT
    marks = match[1] if match else (part[1] or part[2] or "") if part else ""
    if not marks.startswith(state.code_fence):
        state.mode = "fenced_line"
        return at
    state.mode = "line_start"
    return match.end() if match else end


def read_fenced_line(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip a line of fenced code; a fence at the end of the line ends the block, as some models write it."""
    char = text[at]
    if char == "\n":
        state.mode = "fenced_line_start"
        return at + 1
    if char != state.code_fence[0]:
        positions = [
            position
            for position in (text.find("\n", at), text.find(state.code_fence[0], at))
            if position >= 0
        ]
        return min(positions, default=len(text))
    match = FENCE_AT_LINE_END.match(text, at, end)
    if match is None and FENCE_AT_LINE_END_PART.match(text, at, end) and not must_decide:
        return WAIT
    if match and match[1].startswith(state.code_fence):
        state.mode = "line_start"
    run = FENCE_RUN.match(text, at, end)
    assert run
    return run.end()


def read_indented_line(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip a line of indented code, or begin the line that ends the block."""
    match = CODE_INDENT.match(text, at, end)
    assert match
    if match.end() == end and not must_decide:
        return WAIT
    if len(match[1].expandtabs(4)) < 4 and text[match.end() : match.end() + 1] not in ("\n", "\r"):
        state.mode = "line_start"
        return at
    state.mode, state.return_mode = "line_rest", "indented_line"
    return at
