"""What is passed over in silence: code, reasoning, comments, long tags, addresses, the rest of a line."""

from __future__ import annotations

import re

from voicegw.speech.state import WAIT, State

FENCE_END = re.compile(r"[ \t>]*(`{3,}|~{3,})(?=[ \t\r]*\n|[ \t]+[^\s`~])")
FENCE_END_PART = re.compile(r"[ \t>]*(?:(`*)|(~*))[ \t\r]*\Z")
TAIL = re.compile(r"(?<![`~])(`{3,}|~{3,})[ \t\r]*\n")
TAIL_PART = re.compile(r"(?:`+|~+)[ \t\r]*\Z")
RUN = re.compile(r"`+|~+")
INDENT = re.compile(r"(?: {0,3}> ?)*([ \t]*)")


def skip(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """The rest of this line, with its end."""
    found = text.find("\n", at)
    if found < 0:
        return len(text)
    s.leave()
    s.marked, s.indent, s.was_quoted, s.quoted = False, 0, s.quoted, 0
    return found + 1


def fence(s: State, text: str, at: int, end: int, sure: bool) -> int:
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


def fenced(s: State, text: str, at: int, end: int, sure: bool) -> int:
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


def indented(s: State, text: str, at: int, end: int, sure: bool) -> int:
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


RULER = re.compile(r"[-*_= \t]+")


def ruler(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """A rule as long as it likes; what follows it on its line is prose."""
    found = RULER.match(text, at)
    if found:
        return found.end()
    s.mode = "inline"
    return at


def comment(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """Up to and with `s.closer`."""
    found = text.find(s.closer, at)
    if found >= 0:
        s.leave()
        return found + len(s.closer)
    for size in range(min(len(s.closer) - 1, len(text) - at), 0, -1):
        if text.endswith(s.closer[:size]):
            begun = len(text) - size
            return begun if begun > at else len(text) if sure else WAIT
    return len(text)


def target(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """The address of a link, in balanced parentheses; it never reaches beyond its paragraph."""
    for place in range(at, len(text)):
        char = text[place]
        if char == "(":
            s.depth += 1
        elif char == ")":
            s.depth -= 1
            if not s.depth:
                s.leave()
                return place + 1
        elif char == "\n":
            s.leave()
            return place
    return len(text)


URL = re.compile(r"[A-Za-z0-9\-/@#$&+=%{}\\^\u00c0-\u024f]+")
URL_POINTS = re.compile(r"[.,;:!?'_~*]+")


def url(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """The rest of a bare address. Punctuation at its end is the sentence's."""
    found = URL.match(text, at)
    if found:
        return found.end()
    char = text[at]
    points = URL_POINTS.match(text, at, end)
    if points and not (char == "*" and s.opened["*"]):
        if points.end() == end and not sure:
            return WAIT
        if points.end() < end and (URL.match(text, points.end()) or text[points.end()] == "("):
            return points.end()
    elif char == "(" or (char == ")" and s.depth):
        s.depth += 1 if char == "(" else -1
        return at + 1
    s.leave()
    if char == ">" and s.angle:
        s.angle = False
        return at + 1
    s.angle = False
    return at
