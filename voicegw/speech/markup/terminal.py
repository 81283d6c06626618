"""Terminal output: escape sequences vanish whole; JSON, diffs, stack traces and logs give way to a note.

`split_escapes` works before all rules, because a sequence may stand anywhere, even within a mark. The rules
for lines of output follow `SpeechOptions.terminal`. Code in fences is in `blocks.fences`.
"""

from __future__ import annotations

import re

from voicegw.speech.blocks.line_start import begin_marked_block
from voicegw.speech.state import WAIT, FilterState

ESCAPE = "\x1b"
CONTROL_SEQUENCE = "\x1b["
MAX_STRING_CHARS = 400
"""Characters of a title or an address in a sequence; a longer one is no sequence."""
SEQUENCE = re.compile(
    rf"\x1b(?:\[[0-?]{{0,32}}[ -/]{{0,4}}[@-~]|\][^\x07\x1b\n]{{0,{MAX_STRING_CHARS}}}(?:\x07|\x1b\\)"
    r"|[()][AB012]|[78=>])"
)
"""A control sequence, a string such as a window title, a character set, or a mode (ECMA-48, xterm)."""
SEQUENCE_PART = re.compile(
    rf"\x1b(?:\[[0-?]{{0,32}}[ -/]{{0,4}}|\][^\x07\x1b\n]{{0,{MAX_STRING_CHARS}}}\x1b?|[()])?\Z"
)


def split_escapes(text: str) -> tuple[str, str]:
    """Return the text without its escape sequences, and the part of one at its end that may go on."""
    part = SEQUENCE_PART.search(text, max(0, len(text) - MAX_STRING_CHARS - 3))
    whole = text[: part.start()] if part else text
    return SEQUENCE.sub("", whole), part[0] if part else ""


JSON = re.compile(r"(?:\[\s*)?\{\s*\"[^\"\n]{1,48}\"\s*:|\{\s*\n\s*\"")
JSON_PART = re.compile(r"(?:\[\s*)?(?:\{\s*(?:\"[^\"\n]{0,48}(?:\"\s*)?)?)?\Z")
DIFF_HEADS = ("diff --git ", "@@ -", "--- a/", "+++ b/")
DIFF_LINE = re.compile(
    r"[+@\\]|-(?!\s)|[- ](?=[^\s])|[- ] |(?:diff --git|index|new file|deleted file|rename|similarity) "
)
FRAME = re.compile(r"at (?:async )?[\w.$<>/\[\] ]{1,48}\(|File \"|at /[\w./-]{1,48}:\d")
FRAME_PART = re.compile(r"(?:a|at|at [^\n(]*|F|Fi|Fil|File|File )\Z")
LOG_SHAPE = "0000-00-00 00:00:00"
DIGIT = re.compile(r"\d")
LOG = re.compile(
    r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\n]{0,24}?"
    r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b"
)
LITERAL_BREAK = re.compile(r"(?:(?:\\r)?\\n)+(?:[ ]*[-*•] )?")
LITERAL_BREAK_PART = re.compile(r"(?:(?:\\r)?\\n)*(?:\\(?:r\\?)?|[ ]*[-*•]?)\Z")
WORD_OF_PATH = re.compile(r"(?:\b[A-Za-z]:|\\|/)\S*\Z|(?:^|\s)[A-Z]{2,}\Z")
"""The end of the speech before a backslash of a path, or of a name with its domain."""


def is_plain_line(text: str, at: int, end: int) -> bool:
    """Whether a line that begins like one of a diff surely is none, such as a list item."""
    if at + 1 == end:
        return False
    char, after = text[at], text[at + 1]
    return after != char if char in "-+" else char.isdigit() and not after.isdigit()


def read_output(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read the start of a line of JSON, a diff, a stack trace or a log; return None for other lines."""
    if is_plain_line(text, at, end) or (text[at] in "aF" and not state.indent):
        return None
    window, mode = text[at:end], ""
    line = window.partition("\n")[0]
    if JSON.match(window):
        mode = "json"
    elif any(map(line.startswith, DIFF_HEADS)):
        mode = "diff_line"
    elif state.indent and FRAME.match(line):
        mode = "trace_line"
    elif LOG.match(line):
        mode = "log_line"
    elif not must_decide and may_be_output(state, window, line):
        return WAIT
    if not mode:
        return None
    begin_marked_block(state)
    if state.options.output:
        state.output.say(state.options.output)
        state.output.end_sentence()
        state.output.full_stop_due = True
    state.has_visible, state.depth, state.string_part = True, 0, 0
    state.mode = mode
    return at


def may_be_output(state: FilterState, window: str, line: str) -> bool:
    """Whether the window may go on as a line of output."""
    shape = DIGIT.sub("0", line.removeprefix("[")).replace("T", " ")
    return (
        JSON_PART.match(window) is not None
        or ("\n" not in window and any(head.startswith(line) for head in DIFF_HEADS))
        or (bool(state.indent) and "\n" not in window and FRAME_PART.match(line) is not None)
        or (
            "\n" not in window
            and (LOG_SHAPE.startswith(shape) or shape.startswith(LOG_SHAPE))
            and len(line) < len(LOG_SHAPE) + 36
        )
    )


def skip_json(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip JSON up to its last bracket; an empty line ends it in any case."""
    before = state.previous_char
    for position in range(at, len(text)):
        char = text[position]
        if char == "\n" == before:
            state.mode = "line_start"
            return position
        before = char
        if state.string_part:
            state.string_part = 1 if state.string_part == 2 else {"\\": 2, '"': 0}.get(char, 1)
        elif char == '"':
            state.string_part = 1
        elif char in "{[":
            state.depth += 1
        elif char in "}]":
            state.depth -= 1
            if state.depth <= 0:
                state.mode = "inline"
                return position + 1
    return len(text)


def skip_diff_line(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip a line of a diff, or begin the line that ends it."""
    if at + 1 == end and not must_decide:
        return WAIT
    if not DIFF_LINE.match(text, at, end):
        if not must_decide and "\n" not in text[at:end] and end - at < 12 and text[at] in "dinrs":
            return WAIT
        state.mode = "line_start"
        return at
    return skip_line(state, text, at)


def skip_trace_line(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip an indented line of a stack trace; the message below it is spoken."""
    if text[at] in " \t" or state.previous_char != "\n":
        return skip_line(state, text, at)
    state.mode = "line_start"
    return at


def skip_log_line(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip a line of a log, and those that follow it."""
    if not must_decide and "\n" not in text[at:end] and may_be_output(state, text[at:end], text[at:end]):
        return WAIT
    if LOG.match(text, at, end):
        return skip_line(state, text, at)
    state.mode = "line_start"
    return at


def skip_line(state: FilterState, text: str, at: int) -> int:
    """Skip to the end of the line; the same mode then reads the next one."""
    state.enter("line_rest")
    return at


def read_literal_break(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read a line break that is written as a backslash and "n"; return None if it is none, as in a path."""
    match = LITERAL_BREAK.match(text, at, end)
    if not must_decide and (LITERAL_BREAK_PART.match(text, at, end) or (match and match.end() == end)):
        return WAIT
    before = state.previous_char
    if match is None or WORD_OF_PATH.search(state.output.tail + (" " if before.isspace() else "")):
        return None
    after = text[match.end() : match.end() + 1] if match.end() < end else ""
    if len(match[0]) == 2 and after.isascii() and after.islower() and before.isalnum():
        return None
    if match[0].count("n") > 1:
        state.begin_block()
    else:
        state.output.add_pause()
    return match.end()
