"""Prose and the marks within it."""

from __future__ import annotations

import html
import re

from voicegw.speech import emphasis, formula, links, tables, tags
from voicegw.speech.characters import ARROWS, EMOJI, INVISIBLE, SPECIAL, UNHEARD_SET
from voicegw.speech.state import WAIT, FilterState, Rule

SHORT = 50
"""Characters, without blanks, of a line that was broken on purpose."""

TICKS = re.compile(r"`+")
CLOSING_MARKS = re.compile(r"#+[ \t]*\r?\n")
CLOSING_MARKS_PART = re.compile(r"#+[ \t]*\r?\Z")
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
ENTITY_PART = re.compile(r"&(?:#(?:\d{0,7}|[xX][0-9a-fA-F]{0,6})|[A-Za-z][A-Za-z0-9]{0,31})?\Z")
UNHEARD = re.compile(f"[{UNHEARD_SET}]+")
SILENT = re.compile(f"[{INVISIBLE}{EMOJI}\ue000-\ue1ff\ue201-\uf8ff]+")
POINTING = re.compile(f"[{ARROWS}]+")
CITED = re.compile("\ue200[^\ue201\n]*\ue201")
CITED_PART = re.compile("\ue200[^\ue201\n]*\\Z")
PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def inline(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """Say what is plain; hand every other character to its rule."""
    found = SPECIAL.search(text, at)
    place = found.start() if found else len(text)
    if place > at:
        return s.run(text, at, place)
    return RULES.get(text[at], silent)(s, text, at, end, sure)


def blank(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    s.spaces = s.spaces + 1 if s.prev in " \t" else 1
    s.prose.blank()
    return at + 1


def newline(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """The end of a line: of a row or a heading for good, of a paragraph's line perhaps."""
    if s.row:
        tables.end_row(s)
    elif s.heading:
        s.begin_block()
        s.speech.due, s.heading = True, False
    elif s.bold and s.prev in "*_" and not s.brackets:
        s.prose.rest(due=True)
    elif s.prev in " \t" and s.spaces > 1:
        s.prose.pause()
    else:
        s.prose.line()
    s.mode, s.marked, s.bold, s.indent = "line", False, False, 0
    s.short, s.width = s.width < SHORT, 0
    s.was_quoted, s.quoted = s.quoted, 0
    return at + 1


def nothing(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    return at + 1


def silent(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A character that nobody can say."""
    found = SILENT.match(text, at)
    if found is None:
        return arrow(s, text, at)
    s.prose.drop()
    s.shown = True
    if s.row:
        tables.mark(s, found[0])
    return found.end()


def arrow(s: FilterState, text: str, at: int) -> int:
    """An arrow is a comma between what it joins."""
    found = POINTING.match(text, at)
    s.prose.pause()
    return found.end() if found else at + 1


def joiner(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """Joiners shape letters in some scripts; everywhere else they are noise."""
    if "\u0600" <= s.prev < "\u2000":
        s.prose.say(text[at])
    return at + 1


def private(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A citation wrapped in characters of private use."""
    found = CITED.match(text, at, end)
    if found:
        s.prose.drop()
        return found.end()
    if CITED_PART.match(text, at, end) and not sure:
        return WAIT
    s.prose.drop()
    return at + 1


def sharp(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A `#`: the closing marks of a heading, or just that."""
    if s.heading and s.prev in " \t":
        if CLOSING_MARKS.match(text, at, end):
            return at + 1
        if CLOSING_MARKS_PART.match(text, at, end):
            return at + 1 if sure else WAIT
    elif s.heading and s.prev == "#" and not s.prose.tail.endswith("#"):
        return at + 1
    s.prose.say("#")
    return at + 1


def entity(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A character by its name or number."""
    found = ENTITY.match(text, at, end)
    meant = html.unescape(found[0]) if found else ""
    if found and meant != found[0]:
        if meant.isspace():
            s.prose.blank()
        elif UNHEARD.fullmatch(meant):
            s.prose.drop()
        else:
            s.prose.say(meant)
        return found.end()
    if found is None and ENTITY_PART.match(text, at, end) and not sure:
        return WAIT
    s.prose.say("&")
    return at + 1


def escape(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A backslash: it keeps a mark from being one, breaks a line, begins a formula, or is just that."""
    if at + 1 == end:
        if not sure:
            return WAIT
    elif text[at + 1] in "([" and not (s.prev.isascii() and s.prev.isalnum()):
        return formula.begin(s, "\\)" if text[at + 1] == "(" else "\\]", at + 2)
    elif text[at + 1] in "\r\n":
        s.prose.pause()
        return at + 1
    elif text[at + 1] in PUNCTUATION:
        s.prose.say(text[at + 1])
        return at + 2
    s.prose.say("\\")
    return at + 1


def pipe(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A pipe parts cells; in prose it is a pause if it stands alone."""
    if s.row:
        tables.next_cell(s)
        return at + 1
    if at + 1 == end and not sure:
        return WAIT
    after = text[at + 1] if at + 1 < end else " "
    if s.prev.isspace() and after.isspace():
        s.prose.pause()
    else:
        s.prose.say("|")
    return at + 1


def ticks(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A code span begins."""
    found = TICKS.match(text, at, end)
    assert found
    if found.end() == end and not sure:
        return WAIT
    s.enter("code")
    s.ticks = found.end() - at
    return found.end()


CODE = re.compile(rf"[^`\s{UNHEARD_SET}]+")


def code(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """Within a code span nothing is a mark but the ticks that end it."""
    found = CODE.match(text, at)
    if found:
        return s.run(text, at, found.end())
    char = text[at]
    if char == "`":
        ticks = TICKS.match(text, at, end)
        assert ticks
        if ticks.end() == end and not sure:
            return WAIT
        if ticks.end() - at == s.ticks:
            s.leave()
        else:
            s.prose.say(ticks[0])
        return ticks.end()
    if char == "\n":
        if s.row or s.heading:
            s.leave()
            return at
        return span_line(s, text, at, end, sure)
    if char.isspace():
        s.prose.blank()
    return at + 1


def span_line(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A code span goes on in the next line only if it is seen to end there."""
    rest, over, _ = text[at:end].partition("\n\n")
    if "`" * s.ticks in rest:
        s.prose.blank()
        return at + 1
    if not over and not sure:
        return WAIT
    s.leave()
    return at


RULES: dict[str, Rule] = {
    " ": blank,
    "\t": blank,
    "\n": newline,
    "\r": nothing,
    "*": emphasis.marks,
    "_": emphasis.marks,
    "~": emphasis.marks,
    "=": emphasis.marks,
    "#": sharp,
    "`": ticks,
    "\\": escape,
    "[": links.opening,
    "]": links.closing,
    "!": links.image,
    "◁": links.opening,
    "【": links.lenticular,
    "<": tags.tag,
    "&": entity,
    "|": pipe,
    "$": formula.dollar,
    "\ue200": private,
    "\u200c": joiner,
    "\u200d": joiner,
    **dict.fromkeys("hHwW", links.address),
}
