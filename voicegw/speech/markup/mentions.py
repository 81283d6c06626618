"""Tells a tag that is only mentioned, a placeholder or a type in angle brackets from a tag that works."""

from __future__ import annotations

import re

from voicegw.speech.markup.tag_names import REASONING_TAGS, TYPE_NAMES, UNSPOKEN_TAGS
from voicegw.speech.state import FilterState

MENTION_MARKS = " `'\""
"""Characters around a tag that is only mentioned."""
MENTION_END = re.compile(r"[\s`'\".,;:!?)/@}]|\Z")
MENTION_WORD = re.compile(
    r"[`'\".,;:!?)]|[ ](?:tags?|tokens?|blocks?|elements?|sections?|markers?|markup|and|or|und|oder|et|ou|y|o"
    r"|balises?|etiquetas?|标签)\b|-|标签|タグ|태그"
)
"""The text after a reasoning tag in a sentence about it; any other text is reasoning."""
MENTION_PART = re.compile(r"(?:标|タ|태| \w{0,12})?\Z")


def may_be_said(state: FilterState, match: re.Match[str]) -> bool:
    """Whether the name of this tag may be a word of the sentence: a mention, a placeholder or a type."""
    is_plain = not (match[1] or match[3] or match[4])
    before = state.previous_char
    return is_plain and (before in MENTION_MARKS + "/=:(@-" or is_type(before, match[2])) and before != "\n"


def is_type(before: str, name: str) -> bool:
    """Whether a name in angle brackets is a type, as in `List<String>`."""
    return before.isascii() and before.isalnum() and (name[0].isupper() or name in TYPE_NAMES)


def say_mention(state: FilterState, text: str, match: re.Match[str], name: str, end: int) -> str:
    """Return the words of a tag that is only mentioned, of a placeholder or of a type; else ""."""
    if not may_be_said(state, match):
        return ""
    behind = MENTION_END.match(text, match.end(), end)
    if name in REASONING_TAGS:
        is_said = bool(MENTION_WORD.match(text, match.end(), end)) and bool(state.line_chars)
    elif name in UNSPOKEN_TAGS:
        is_said = bool(behind)
    else:
        is_said = (bool(behind) and bool(state.line_chars)) or is_type(state.previous_char, match[2])
    if not is_said or name in state.options.silent_tags:
        return ""
    return match[0] if is_type(state.previous_char, match[2]) else match[2]


def is_mentioned(state: FilterState, text: str, match: re.Match[str], end: int) -> bool:
    """Whether the tag is only mentioned in a sentence, as in "use the <think> tag"."""
    after = text[match.end()] if match.end() < end else ""
    return not match[1] and state.previous_char in MENTION_MARKS and after in MENTION_MARKS + ".,;:!?)"
