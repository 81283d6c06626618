"""Rules within text that a tag silences, and within a tag that is longer than the window."""

from __future__ import annotations

import re

from voicegw.speech.markup.mentions import MENTION_MARKS, is_mentioned
from voicegw.speech.markup.tag_names import REASONING_TAGS
from voicegw.speech.markup.tags import TAG, TAG_PART, tag_name
from voicegw.speech.state import WAIT, FilterState

LONG_TAG_END = re.compile(r"[>\n]")


def begin_assumed_reasoning(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Begin the reasoning that the template opened; a `<think>` at its start opens no second level."""
    if text[at].isspace():
        return at + 1
    match = TAG.match(text, at, end)
    if match is None and TAG_PART.match(text, at, end) and not must_decide:
        return WAIT
    state.mode = "line_start"
    state.enter("silenced")
    state.silenced_tags, state.depth = REASONING_TAGS, 1
    return match.end() if match and not match[1] and tag_name(match[2]) in REASONING_TAGS else at


def skip_silenced(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip silenced text, up to the end tag of the outermost tag."""
    if text[at] != "<":
        tag_at = text.find("<", at)
        return len(text) if tag_at < 0 else tag_at
    match = TAG.match(text, at, end)
    if match is None:
        return WAIT if TAG_PART.match(text, at, end) and not must_decide else at + 1
    if not match[1] and state.previous_char in MENTION_MARKS and match.end() == end and not must_decide:
        return WAIT
    if (
        tag_name(match[2]) in state.silenced_tags
        and not match[4]
        and not is_mentioned(state, text, match, end)
    ):
        state.depth += -1 if match[1] else 1
        if not state.depth:
            state.leave()
    return match.end()


def skip_long_tag(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip the rest of a tag that is longer than the window; a line end ends it in any case."""
    match = LONG_TAG_END.search(text, at)
    if match is None:
        return len(text)
    state.mode = state.mode_after_tag
    return match.start() if match[0] == "\n" else match.end()
