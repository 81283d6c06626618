"""Rules for file paths: of a long one the last name is spoken (`SpeechOptions.paths`), a short one stays.

A path begins with a `/`, with `~/`, with a drive such as `C:\\`, or with the `\\\\` of a server.
"""

from __future__ import annotations

import re

from voicegw.speech.state import WAIT, FilterState

NAME = r"\.?[\w@+~%-]+(?:\.[\w@+~%-]+)*"
FOLDER = rf"{NAME}(?: \(?[\w.()-]+){{0,2}}"
"""A name on Windows may hold blanks, if a backslash shows its end."""
LONG_PATH = re.compile(rf"(?:/{NAME}){{4}}|(?:\\{FOLDER}(?=\\)){{3}}\\{NAME}")
LONG_PATH_PART = re.compile(
    rf"(?:/{NAME}){{0,3}}/(?:\.?(?:{NAME}\.?)?)?\Z|(?:\\{FOLDER}(?=\\)){{0,3}}\\(?:\.|{FOLDER}\.?[ (]?)?\Z"
)
SHORT_PATH = re.compile(rf"(?:\\{NAME})*\\?(?![\w\\])")
SHORT_PATH_PART = re.compile(rf"(?:\\{NAME})*\\?\.?\Z")
CODE_START_PART = re.compile(r"(?:~|[A-Za-z]:?|\\)\Z")
CODE_START = re.compile(r"(?:[A-Za-z]:|~|\\)?(?=[\\/])")
"""The part of a path before its first separator, at the start of a word of code."""
SEGMENT = re.compile(rf"/({NAME})|\\({FOLDER}(?=\\)|{NAME})")
SEGMENT_PART = re.compile(rf"/(?:\.?(?:{NAME}\.?)?)?\Z|\\(?:\.|{FOLDER}\.?[ (]?)?\Z")
DRIVE = re.compile(r"(?:\A|[^\w])[A-Za-z]:\Z")
BEFORE_PATH = " \t\n(\"'`[“„«>"
"""A path begins behind one of these."""


def begins_path(state: FilterState) -> bool:
    """Whether a path may begin at this character."""
    return state.previous_char in BEFORE_PATH or state.previous_char.isspace()


def has_drive(state: FilterState) -> bool:
    """Whether the speech ends with the letter of a drive, such as `C:`."""
    return state.previous_char == ":" and not state.output.gap and bool(DRIVE.search(state.output.tail))


def read_long_path(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Begin the long path whose first separator is at `at`; return None if the text holds none."""
    if state.options.paths == "full":
        return None
    if LONG_PATH.match(text, at, end):
        if has_drive(state):
            state.output.add_blank()
        state.enter("long_path")
        return at
    return WAIT if LONG_PATH_PART.match(text, at, end) and not must_decide else None


def read_slash(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `/`: of a long path from the root or a drive the last name is spoken."""
    if begins_path(state) or has_drive(state):
        position = read_long_path(state, text, at, end, must_decide)
        if position is not None:
            return position
    return state.say_plain(text, at, at + 1)


def read_home(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read the `~` of a path in the home folder; return None if it begins none."""
    if not (begins_path(state) and text.startswith("~/", at, end)):
        return None
    position = read_long_path(state, text, at + 1, end, must_decide)
    if position is None:
        state.output.say("~")
        return at + 1
    return position


def read_backslash(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read the backslash behind a drive, or those before a server; return None if no path begins here."""
    first = at
    if text.startswith("\\\\", at, end) and begins_path(state):
        first += 1
        if first + 1 == end:
            return None if must_decide else WAIT
        if not text[first + 1].isalnum():
            return None
    elif not has_drive(state):
        return None
    position = read_long_path(state, text, first, end, must_decide)
    if position is not None:
        return position
    if SHORT_PATH_PART.match(text, first, end) and not must_decide:
        return WAIT
    path = SHORT_PATH.match(text, first, end)
    if path is None:
        return None
    state.output.say(text[at : path.end()])
    return path.end()


def read_code_path(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read the start of a path within a code span; return None for other code."""
    if not (state.previous_char == "`" or state.previous_char.isspace()):
        return None
    if CODE_START_PART.match(text, at, end) and not must_decide:
        return WAIT
    start = CODE_START.match(text, at, end)
    if start is None:
        return None
    position = read_long_path(state, text, start.end(), end, must_decide)
    if position == start.end() and text[at].isalpha():
        state.output.say(start[0])
        state.output.add_blank()
    return position


def skip_path(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip a name of a long path and the separator before it, or say the last name."""
    segment = SEGMENT.match(text, at, end)
    assert segment
    after = segment.end()
    if not must_decide and (SEGMENT_PART.match(text, after, end) or SEGMENT_PART.match(text, at, end)):
        return WAIT
    if SEGMENT.match(text, after, end):
        return after
    state.leave()
    state.output.say(segment[1] or segment[2])
    return after
