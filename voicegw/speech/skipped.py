"""What is passed over in silence: comments, long tags, addresses, the rest of a line."""

from __future__ import annotations

import re

from voicegw.speech.state import WAIT, FilterState


def skip(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """The rest of this line, with its end."""
    found = text.find("\n", at)
    if found < 0:
        return len(text)
    s.leave()
    s.marked, s.indent, s.was_quoted, s.quoted = False, 0, s.quoted, 0
    return found + 1


RULER = re.compile(r"[-*_= \t]+")


def ruler(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A rule as long as it likes; what follows it on its line is prose."""
    found = RULER.match(text, at)
    if found:
        return found.end()
    s.mode = "inline"
    return at


def comment(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
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


def target(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
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


def url(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
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
