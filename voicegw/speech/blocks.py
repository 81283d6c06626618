"""What a line is: a heading, an item, a quote, a fence, a row, a rule, or the prose that goes on."""

from __future__ import annotations

import re

from voicegw.speech import tables, tags
from voicegw.speech.characters import ARROWS, BULLETS, EMOJI, INVISIBLE, JOINERS
from voicegw.speech.fences import code, fence
from voicegw.speech.line_start import empty, marker, prose
from voicegw.speech.links import definition
from voicegw.speech.prose import REST, SOFT
from voicegw.speech.state import NESTED, QUOTED, WAIT, FilterState, Rule

BLANKS = re.compile(r"[ \t]+")
HEADING = re.compile(r"#{1,6}(?=[ \t\r\n])")
HEADING_PART = re.compile(r"#{1,6}\Z")
RULER = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){2,}|=+[ \t]*)\r?\n")
LONG_RULER = re.compile(r"([-_=*])\1{7}")
RULER_PART = re.compile(r"(?:[*][* \t]*|[_][_ \t]*|[-][- \t]*|=+[ \t]*)\r?\Z")
BULLET = re.compile(f"[{re.escape(BULLETS)}](?=[ \\t\\r\\n])")
SYMBOL = re.compile(f"[{EMOJI}{ARROWS}]")
TASK = re.compile(r"\[[ xX]\](?=[ \t\r\n])")
TASK_PART = re.compile(r"\[(?:[ xX]\]?)?\Z")
ORDERED = re.compile(r"(\d{1,9})[.)](?=[ \t\r\n])")
NUMBERED = re.compile(r"\(\d{1,2}\)[ \t]|[①-⑳]|\d\ufe0f?\u20e3")
NUMBERED_PART = re.compile(r"\((?:\d{1,2}\)?)?\Z|\d\ufe0f?\Z")
ORDERED_PART = re.compile(r"\d{1,9}[.)]?\Z")
TAB = 4
CODE = 4
"""Blanks before a line of indented code."""

UNSEEN = re.compile(f"[{INVISIBLE}{JOINERS}]+")


def line(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """The start of a line: consume its marks one by one, then leave the rest to `inline`."""
    char = text[at]
    if char in " \t":
        run = BLANKS.match(text, at, end)
        assert run
        s.indent += sum(TAB if blank == "\t" else 1 for blank in run[0])
        return run.end()
    if char == "\n":
        return empty(s, at)
    unseen = UNSEEN.match(text, at, end)
    if unseen or char == "\r":
        return unseen.end() if unseen else at + 1
    if s.prose.gap == SOFT and s.short and (char.isupper() or char.isdigit() or char == "["):
        s.prose.pause()  # nobody breaks so short a line without a reason
    if s.cells and char not in "|:-":
        tables.no_header(s)
    if s.indent >= CODE + bool(s.quoted) and s.blank and not s.listed and s.speech.tail:
        return code(s, at)
    if SYMBOL.match(char):
        s.shown = True
        if not s.marked:
            marker(s)
        return at + 1
    rule = STARTS.get(char) or (ordered if char.isdecimal() and char.isascii() else None)
    if rule is not None:
        return rule(s, text, at, end, sure)
    return prose(s, at)


def heading(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    found = HEADING.match(text, at, end)
    if found:
        marker(s)
        s.heading = True
        s.mode = "inline"
        return found.end()
    if HEADING_PART.match(text, at, end) and not sure:
        return WAIT
    return prose(s, at)


def quote(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    if not s.quoted:
        s.quoted = NESTED if s.indent > 1 else QUOTED
        if not s.was_quoted:
            before = s.blank, s.listed
            marker(s)
            s.blank, s.listed = before
    s.indent = 0
    return at + 1


def ruler(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A rule, the line under a heading, the line under a table's header, an item, or none of them."""
    if text[at] in ":-":
        under = tables.under_header(s, text, at, end, sure)
        if under is not None:
            return under
    if s.cells:
        tables.no_header(s)
    found = RULER.match(text, at, end)
    if (
        found
        or LONG_RULER.match(text, at, end)
        or (sure and RULER_PART.match(text, at, end) and end - at > 2)
    ):
        if text[at] != "=" or s.speech.tail:
            marker(s)
            s.speech.due = True
        s.shown = True
        s.mode = "ruler"
        return at
    if RULER_PART.match(text, at, end) and not sure:
        return WAIT
    if text[at] in "*_" and text.startswith(text[at], at + 1):
        return bold(s, at)
    return item(s, text, at, end, sure)


def bullet(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A bullet that is nothing else, whatever follows."""
    marker(s, item=True)
    return at + 1


def numbered(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """Items such as (1) or ①, and a number on a key: they keep their number."""
    if NUMBERED.match(text, at, end):
        marker(s, item=True)
        return prose(s, at)
    return WAIT if NUMBERED_PART.match(text, at, end) and not sure else prose(s, at)


def bold(s: FilterState, at: int) -> int:
    """A line that begins bold begins something new; one that is bold to its end is a heading."""
    if s.prose.gap == SOFT:
        s.prose.rest()
    s.bold = True
    return prose(s, at)


def item(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    found = BULLET.match(text, at, end)
    if found:
        marker(s, item=True)
        return found.end()
    if text[at] in BULLETS and end - at < 2 and not sure:
        return WAIT
    return prose(s, at)


def ordered(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A number at the start of a line is an item's, but in the middle of a paragraph only if it is 1."""
    found = ORDERED.match(text, at, end)
    if found and (s.prose.gap == REST or s.listed or found[1] == "1" or not s.speech.tail):
        marker(s, item=True)
        s.prose.say(f"{found[1]}.")
        s.prose.blank()
        return found.end()
    if ORDERED_PART.match(text, at, end) and not sure:
        return WAIT
    return numbered(s, text, at, end, sure)


def bracket(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """The box of a task, or the definition of a link or a footnote."""
    if s.item:
        if TASK.match(text, at, end):
            return at + 3
        if TASK_PART.match(text, at, end) and not sure:
            return WAIT
    found = definition(s, text, at, end, sure)
    return prose(s, at) if found is None else found


def tag(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """Tags at the start of a line are no prose yet: a heading may follow them."""
    found = tags.classify(s, text, at, end, sure)
    return prose(s, at) if found is None else found


STARTS: dict[str, Rule] = {
    "#": heading,
    ">": quote,
    "-": ruler,
    "*": ruler,
    "_": ruler,
    "=": ruler,
    ":": ruler,
    "[": bracket,
    "`": fence,
    "~": fence,
    "|": tables.pipe,
    "<": tag,
    **{char: item for char in BULLETS if char not in "-*"},
    **dict.fromkeys("•・‣⁃", bullet),
    **dict.fromkeys("(①②③④⑤⑥⑦⑧⑨⑩", numbered),
}
