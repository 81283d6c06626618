"""Blocks of code: how they begin, what is said instead, and where they end."""

from __future__ import annotations

import re

from voicegw.speech.line_start import marker, prose
from voicegw.speech.state import WAIT, FilterState

FENCE = re.compile(r"(`{3,}(?=[^`\n]*(?:\n|\Z))|~{3,})[ \t]*([^\s`]*)")
FENCE_PART = re.compile(r"(?:`{1,2}|`{3,}[^`\n]*|~{1,2}|~{3,}[^\n]*)\Z")
DECORATION = re.compile(r"~{8}|~{3,}[^~\n]*[^~\s][^~\n]*~")
PROSE_FENCES = frozenset({"markdown", "md", "text", "txt", "plaintext"})
MOST_WRAPPERS = 8
FENCE_END = re.compile(r"[ \t>]*(`{3,}|~{3,})(?=[ \t\r]*\n|[ \t]+[^\s`~])")
FENCE_END_PART = re.compile(r"[ \t>]*(?:(`*)|(~*))[ \t\r]*\Z")
TAIL = re.compile(r"(`{3,}|~{3,})[ \t\r]*\n")
TAIL_PART = re.compile(r"(?:`+|~+)[ \t\r]*\Z")
RUN = re.compile(r"`+|~+")
INDENT = re.compile(r"(?: {0,3}> ?)*([ \t]*)")


def fence(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A block of code; or prose in a wrapper, whose fences alone are silent."""
    found = FENCE.match(text, at, end)
    if not sure and "\n" not in text[at:end] and FENCE_PART.match(text, at, end):
        return WAIT
    if found is None or DECORATION.match(text, at, end):
        return prose(s, at)
    marks, info = len(found[1]), found[2].lower()
    marker(s)
    s.enter("skip")
    if s.wrappers and marks >= s.wrappers[-1] and not info:
        s.wrappers.pop()
    elif info in PROSE_FENCES:
        s.wrappers.append(marks)
        del s.wrappers[:-MOST_WRAPPERS]
    else:
        note(s)
        s.fence, s.back = found[1], "fence"
    return at


def code(s: FilterState, at: int) -> int:
    """A block of indented code."""
    marker(s)
    note(s)
    s.enter("skip")
    s.back = "indented"
    return at


def note(s: FilterState) -> None:
    """Tell once that there is a block of code."""
    s.shown = True
    if s.options.code:
        s.prose.say(s.options.code)
        s.prose.rest()
        s.prose.due = True


def within(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A line of fenced code, or the fence that ends it."""
    found = FENCE_END.match(text, at, end)
    part = None if found else FENCE_END_PART.match(text, at, end)
    if part and not sure:
        return WAIT
    marks = found[1] if found else (part[1] or part[2] or "") if part else ""
    if not marks.startswith(s.fence):
        s.mode = "fenced"
        return at
    s.mode = "line"
    return found.end() if found else end


def fenced(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """The rest of a line of fenced code; some models end the block with the line's last characters."""
    char = text[at]
    if char == "\n":
        s.mode = "fence"
        return at + 1
    if char != s.fence[0]:
        stops = [place for place in (text.find("\n", at), text.find(s.fence[0], at)) if place >= 0]
        return min(stops, default=len(text))
    found = TAIL.match(text, at, end)
    if found is None and TAIL_PART.match(text, at, end) and not sure:
        return WAIT
    if found and found[1].startswith(s.fence):
        s.mode = "line"
    run = RUN.match(text, at, end)
    assert run
    return run.end()


def indented(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A line of indented code, or the line that ends it."""
    found = INDENT.match(text, at, end)
    assert found
    if found.end() == end and not sure:
        return WAIT
    if len(found[1].expandtabs(4)) < 4 and text[found.end() : found.end() + 1] not in ("\n", "\r"):
        s.mode = "line"
        return at
    s.mode, s.back = "skip", "indented"
    return at
