"""Rules for formulas: delimiters are left out, commands become signs that voices know in every language.

Only a part of LaTeX that voice answers use is known; other commands are spoken as their names. The
commands are in `latex`, the `$` in `dollars`.
"""

from __future__ import annotations

import re

from voicegw.speech.characters import UNSPEAKABLE_SET
from voicegw.speech.markup.latex import (
    COMMAND_SIGNS,
    FONT_COMMANDS,
    FRACTION_COMMANDS,
    LAYOUT_COMMANDS,
    ROOTS,
    SILENT_GROUP_COMMANDS,
)
from voicegw.speech.markup.scripts import SUBSCRIPTS, SUPERSCRIPTS
from voicegw.speech.state import WAIT, FilterState

COMMAND = re.compile(r"\\(?:([A-Za-z]+)\*?|(.))", re.DOTALL)
PLAIN_RUN = re.compile(rf"[^\\{{}}^_&~$\s{UNSPEAKABLE_SET}]+")
POWER = re.compile(r"\^(?:\{([0-9n+-]{1,8})\}|([0-9n']))")
DEGREE = re.compile(r"\^\{?\\(?:circ|prime)")
DEGREE_PART = re.compile(r"\^\{?\\[a-z]{0,4}\Z")
INDEX = re.compile(r"_(?:\{([0-9]{1,4})\}|([0-9]))")
INDEX_PART = re.compile(r"_(?:\{[0-9]{0,4})?\Z")
POWER_PART = re.compile(r"\^(?:\{[0-9n+-]{0,8})?\Z")
NEXT_BLOCK = re.compile(r"\n[ \t\r]*(?:\n|[-*+•>] |#{1,6} |\d{1,3}[.)] )")
NEXT_BLOCK_PART = re.compile(r"\n[ \t\r]*(?:[-*+•>]|#{1,6}|\d{1,3}[.)]?)?\Z")
DIGIT_FRACTION = re.compile(r"\s?(\d)\s?(\d)")
DIGIT_FRACTION_PART = re.compile(r"\s?\d?\s?\Z")
SUM = re.compile(r"[^\s{(^][ \t]*[+−±-]|\\pm")
"""Within a fraction a sum needs parentheses."""
COMPOUND = re.compile(r"[^\s{(^][ \t]*[+−±-]|\\(?:pm|frac|times|cdot)|\d\s?[A-Za-z]|[A-Za-z]\s[A-Za-z]\b")
"""Under the line of a fraction, in a root and in a power a product needs them, too."""
JOINED_GROUPS = frozenset({"numerator", "denominator", "root", "power"})
ROOT_DEGREE = re.compile(r"\s?\[(\w{1,3})\]")
ROOT_DEGREE_PART = re.compile(r"\s?(?:\[\w{0,3})?\Z")
MAX_GROUPS = 32
"""Open groups that are remembered; beyond it the outermost is forgotten."""


def begin_formula(state: FilterState, end_mark: str, after: int) -> int:
    """Begin a formula that `end_mark` ends. Returns `after`, the index behind its opening delimiter."""
    state.enter("formula")
    state.end_mark = end_mark
    state.open_groups.clear()
    state.next_group = ""
    return after


def read_formula(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a formula, up to its closing delimiter or the end of the paragraph."""
    char = text[at]
    if char in "\\$":
        if text.startswith(state.end_mark, at):
            return end_formula(state, at + len(state.end_mark))
        if at + 1 == end and not must_decide:
            return WAIT
        if char == "\\":
            return read_command(state, text, at, end, must_decide)
        return at + 1
    if char == "^":
        return read_power(state, text, at, end, must_decide)
    if char == "_":
        return read_subscript(state, text, at, end, must_decide)
    if char == "\n":
        return read_line_end(state, text, at, end, must_decide)
    if char in "{}":
        return read_brace(state, text, at, end, must_decide)
    match = PLAIN_RUN.match(text, at)
    if match is None:
        if char in " \t&~\r":
            state.output.add_blank()
        return at + 1
    if "silent" in state.open_groups:
        return match.end()
    state.next_group = ""
    return state.say_plain(text, at, match.end())


def end_formula(state: FilterState, after: int) -> int:
    """End the formula. Returns `after`, the index behind its closing delimiter."""
    state.leave()
    return after


def read_line_end(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a line end within a formula: a blank, or the end of the formula where a block ends."""
    if NEXT_BLOCK.match(text, at, end) or state.in_row or state.in_heading:
        return end_formula(state, at)
    if NEXT_BLOCK_PART.match(text, at, end) and not must_decide:
        return WAIT
    state.output.add_blank()
    return at + 1


def read_command(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a backslash and its command: say its sign, or apply it to the group that follows."""
    match = COMMAND.match(text, at, end)
    if (match is None or (match[1] and match.end() == end)) and not must_decide:
        return WAIT
    if match is None:
        return at + 1
    name = match[1] or ""
    if name in FRACTION_COMMANDS:
        return read_fraction(state, text, match.end(), end, must_decide)
    elif name in SILENT_GROUP_COMMANDS:
        state.next_group = "silent"
    elif name == "sqrt":
        return read_root(state, text, match.end(), end, must_decide)
    elif name in COMMAND_SIGNS:
        state.output.say(COMMAND_SIGNS[name])
    elif match[2] == "\\":
        state.output.add_pause()
    elif match[2] in ("%", "$", "#"):
        state.output.say(match[2])
    elif match[2] in (",", ";", ":", " ", "!", "\n") or name in LAYOUT_COMMANDS:
        state.output.add_blank()
    elif name and name not in FONT_COMMANDS:
        state.output.add_blank()
        state.output.say(name)
    return match.end()


def read_fraction(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the two digits or groups after `\\frac`, and say them with a slash between.

    A blank keeps the fraction apart from a number before it.
    """
    digits = DIGIT_FRACTION.match(text, at, end)
    if digits is None and DIGIT_FRACTION_PART.match(text, at, end) and not must_decide:
        return WAIT
    if state.output.tail[-1:].isdigit():
        state.output.add_blank()
    if digits:
        state.output.say(f"{digits[1]}/{digits[2]}")
        return digits.end()
    state.next_group = "numerator"
    return at


def read_root(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read the degree after `\\sqrt`, and say the sign of the root."""
    degree = ROOT_DEGREE.match(text, at, end)
    if degree is None and ROOT_DEGREE_PART.match(text, at, end) and not must_decide:
        return WAIT
    if state.output.tail[-1:].isdigit():
        state.output.add_blank()
    state.output.say(ROOTS.get(degree[1], f"{degree[1]}√") if degree else "√")
    state.next_group = "root"
    return degree.end() if degree else at


def read_power(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a power: it becomes superscript where Unicode has the characters, because voices read x² well."""
    match = POWER.match(text, at, end)
    if match:
        state.output.say("".join(SUPERSCRIPTS[char] for char in match[1] or match[2]))
        return match.end()
    if (POWER_PART.match(text, at, end) or DEGREE_PART.match(text, at, end)) and not must_decide:
        return WAIT
    if DEGREE.match(text, at, end):
        return at + 1
    state.output.say("^")
    state.next_group = "power"
    return at + 1


def find_group_end(text: str, at: int, end: int) -> int | None:
    """Return the index of the `}` of the group at `at`, or of a line end before it; None for neither."""
    depth = 0
    for position in range(at, end):
        char = text[position]
        depth += (char == "{") - (char == "}")
        if not depth or char in "$\n":
            return position
    return None


def needs_parentheses(text: str, at: int, end: int, kind: str) -> bool:
    """Whether a group needs parentheses: a sum, and outside of a numerator a product, too."""
    group_end = find_group_end(text, at, end)
    content = text[at + 1 : group_end].strip() if group_end else ""
    return (SUM if kind == "numerator" else COMPOUND).search(content) is not None


def read_subscript(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read an underscore: silent, but a number behind a number becomes lowered characters."""
    if state.output.tail[-1:].isdigit() and not state.output.gap:
        match = INDEX.match(text, at, end)
        if match is None and INDEX_PART.match(text, at, end) and not must_decide:
            return WAIT
        if match:
            state.output.say("".join(SUBSCRIPTS[char] for char in match[1] or match[2]))
            return match.end()
    return at + 1


def read_brace(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a brace. Braces are silent; a sum within a fraction gets parentheses."""
    char = text[at]
    is_joined = state.next_group in JOINED_GROUPS
    if char == "{" and is_joined and not must_decide and find_group_end(text, at, end) is None:
        return WAIT
    if char == "{":
        kind, state.next_group = state.next_group, ""
        if is_joined and needs_parentheses(text, at, end, kind):
            state.output.say("(")
            kind += ")"
        state.open_groups.append(kind)
        del state.open_groups[:-MAX_GROUPS]
    elif state.open_groups:
        kind = state.open_groups.pop()
        if kind.endswith(")"):
            state.output.say(")")
        if kind.startswith("numerator"):
            state.output.say("/")
            state.next_group = "denominator"
    return at + 1
