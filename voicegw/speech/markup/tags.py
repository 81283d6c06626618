"""Rules for `<`: tags are left out; some of them end a sentence, some silence the text that they hold.

Tags that the platform understands (`SpeechOptions.keep_tags`) are passed on. The rules within
silenced text are in `silenced`.
"""

from __future__ import annotations

import re

from voicegw.speech.inline import emphasis
from voicegw.speech.markup import mentions, model_tokens, scripts
from voicegw.speech.markup.tag_names import (
    BLOCK_TAGS,
    GLUED_TAGS,
    HTML_TAGS,
    MENTIONED_TAGS,
    PAUSE_TAGS,
    REASONING_TAGS,
    SCRIPT_TAGS,
    STRUCK_TAGS,
    UNSPOKEN_TAGS,
)
from voicegw.speech.state import WAIT, FilterState

ATTRIBUTE_VALUE = r"\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+)"
ATTRIBUTE_FLAG = (
    "open|disabled|checked|selected|hidden|controls|loop|muted|autoplay|async|defer|required|readonly"
)
ATTRIBUTE = rf"\s+(?:[A-Za-z_:][\w:.-]*{ATTRIBUTE_VALUE}|(?:{ATTRIBUTE_FLAG})(?=[\s/>]))"
TAG = re.compile(rf"<(/?)([A-Za-z][\w:.-]*)((?:{ATTRIBUTE})*)\s*(/?)>")
TAG_PART = re.compile(
    rf"</?(?:[A-Za-z][\w:.-]*(?:{ATTRIBUTE})*(?:\s+(?:[A-Za-z_:][\w:.-]*(?:\s*=\s*(?:\"[^\"]*|'[^']*)?)?)?|\s*/)?)?\Z"
)
AUTOLINK_EMAIL = re.compile(r"<(?:mailto:)?([\w.+-]+@[\w-]+(?:\.[\w-]+)+)>")
AUTOLINK_EMAIL_PART = re.compile(r"<(?:mailto:)?[\w.+-]*(?:@[\w.-]*)?\Z")
AUTOLINK = re.compile(r"<(?=https?://)", re.IGNORECASE)
AUTOLINK_PART = re.compile(r"<(?:h(?:t(?:t(?:p(?:s?(?::/?)?)?)?)?)?)?\Z", re.IGNORECASE)
COMMENT_START = "<!--"
DECLARATION = re.compile(r"<(?:!--|!DOCTYPE|!\[CDATA\[|\?xml|\?php)", re.IGNORECASE)
DECLARATION_PART = re.compile(
    r"<(?:!(?:-|D(?:O(?:C(?:T(?:YP?)?)?)?)?|\[(?:C(?:D(?:A(?:TA?)?)?)?)?)?|\?(?:x(?:m)?|p(?:h)?)?)?\Z",
    re.IGNORECASE,
)
FUNCTION_TAG = re.compile(r"<(function|parameter|tool)=[\w.-]{1,40}>", re.IGNORECASE)
FUNCTION_TAG_PART = re.compile(r"<(?:function|parameter|tool)=[\w.-]{0,40}\Z", re.IGNORECASE)
SILENT_DETAILS = re.compile(r"\stype\s*=")
"""Collapsed reasoning and tool calls of chat clients; details of a page have no type."""
LONG_TAG = re.compile(r"<(/?)([A-Za-z][\w:.-]*)\s[^=]*=\s*[\"']")


def tag_name(written: str) -> str:
    """Return the name of a tag in lower case, without its namespace: "think" of "seed:think"."""
    return written.lower().rpartition(":")[2]


def read_less_than(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `<` within prose: a tag, or the sign itself."""
    position = read_tag(state, text, at, end, must_decide)
    if position is not None:
        return position
    state.output.say("<")
    return at + 1


def read_tag(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read the tag, declaration, autolink or model's token that a `<` begins.

    Returns None if the sign itself is spoken.
    """
    match = TAG.match(text, at, end)
    if match:
        return read_whole_tag(state, text, match, end, must_decide)
    function = FUNCTION_TAG.match(text, at, end)
    if function:
        return apply_tag(state, function[1].lower(), False, False, function.end())
    if DECLARATION.match(text, at, end):
        return skip_declaration(state, text, at)
    email = AUTOLINK_EMAIL.match(text, at, end)
    if email:
        state.mode = "inline"
        state.output.say(email[1])
        return email.end()
    if AUTOLINK.match(text, at, end):
        state.mode, state.in_angle_brackets = "inline", True
        return at + 1
    token = model_tokens.TOKEN.match(text, at, end)
    if token:
        return model_tokens.read_token(state, text, token, end, must_decide)
    parts = (
        TAG_PART,
        AUTOLINK_EMAIL_PART,
        AUTOLINK_PART,
        model_tokens.TOKEN_PART,
        DECLARATION_PART,
        FUNCTION_TAG_PART,
    )
    if not any(part.match(text, at, end) for part in parts):
        return None
    return begin_long_tag(state, text, at, end) if must_decide else WAIT


def read_whole_tag(state: FilterState, text: str, match: re.Match[str], end: int, must_decide: bool) -> int:
    """Read a tag that the window holds: by its name it is left out, applied, spoken or passed on."""
    at, name, is_end = match.start(), tag_name(match[2]), bool(match[1])
    if name in state.options.keep_tags:
        return say_tag(state, match)
    token = model_tokens.TOKEN.match(text, at, end)
    if token:
        return model_tokens.read_token(state, text, token, end, must_decide)
    if name in SCRIPT_TAGS and not is_end:
        position = scripts.read_script(state, text, at, end, must_decide)
        if position is not None:
            return begin_text(state, position)
    if name in STRUCK_TAGS and not is_end:
        position = read_struck(state, text, match, name, end, must_decide)
        if position is not None:
            return position
    if name in MENTIONED_TAGS or (name not in HTML_TAGS and name not in state.options.silent_tags):
        if (
            mentions.may_be_said(state, match)
            and not must_decide
            and mentions.MENTION_PART.match(text, match.end(), end)
        ):
            return WAIT
        said = mentions.say_mention(state, text, match, name, end)
        if said:
            begin_text(state, at)
            state.output.say(said)
            return match.end()
    if name == "details" and SILENT_DETAILS.search(match[3]):
        state.output.omit(apart=True)
        state.enter("silenced")
        state.silenced_tags, state.depth = frozenset({name}), 1
        return match.end()
    return apply_tag(state, name, is_end, bool(match[4]), match.end())


def begin_text(state: FilterState, position: int) -> int:
    """Begin the prose of a line with what a tag says. Returns `position`."""
    if position != WAIT:
        state.mode = "inline"
    return position


def read_struck(
    state: FilterState, text: str, match: re.Match[str], name: str, end: int, must_decide: bool
) -> int | None:
    """Leave out struck text that the window holds; return None for a tag that is left out alone.

    `<s>` is also the first token of some models: at the start of an answer it strikes only a number.
    """
    empty_line_at = text.find("\n\n", match.end(), end)
    limit = end if empty_line_at < 0 else empty_line_at
    end_tag = re.compile(rf"</{name}\s*>", re.IGNORECASE).search(text, match.end(), limit)
    if end_tag is None:
        return None if must_decide or limit < end else WAIT
    if name == "s" and not state.speech.tail and not re.search(r"\d", text[match.end() : end_tag.start()]):
        return None
    return emphasis.read_struck(state, text[match.end() : end_tag.start()], end_tag.end(), apart=True)


def skip_declaration(state: FilterState, text: str, at: int) -> int:
    """Leave out a comment, or a declaration such as `<!DOCTYPE html>`."""
    state.output.omit()
    if text.startswith(COMMENT_START, at):
        state.enter("comment")
        state.end_mark = "-->"
        return at + len(COMMENT_START)
    state.mode_after_tag, state.mode = state.mode, "long_tag"
    return at + 2


def say_tag(state: FilterState, match: re.Match[str]) -> int:
    """Pass on a tag that the platform understands, with its white space in single blanks."""
    state.mode = "inline"
    state.output.say(" ".join(match[0].split()))
    return match.end()


def begin_long_tag(state: FilterState, text: str, at: int, end: int) -> int | None:
    """Begin a tag that is longer than the window: it is left out if its name is known.

    Returns None if it is no tag.
    """
    match = LONG_TAG.match(text, at, end)
    name = tag_name(match[2]) if match else ""
    if end - at < state.options.max_held_chars or not (
        name in HTML_TAGS or name in state.options.silent_tags
    ):
        return None
    apply_tag(state, name, bool(match and match[1]), False, end)
    state.mode_after_tag = state.mode
    state.mode = "long_tag"
    return end


def apply_tag(state: FilterState, name: str, is_end: bool, is_empty: bool, after: int) -> int:
    """Apply a whole tag: end a sentence, pause, or silence the text behind it. Returns `after`."""
    if name in BLOCK_TAGS:
        state.begin_block()
    elif name in PAUSE_TAGS:
        state.output.add_pause()
    else:
        state.output.omit(apart=name not in GLUED_TAGS)
        silenced_tags = find_silenced_tags(state, name)
        if silenced_tags and not is_end and not is_empty:
            state.enter("silenced")
            state.silenced_tags, state.depth = silenced_tags, 1
    return after


def find_silenced_tags(state: FilterState, name: str) -> frozenset[str]:
    """Return the names of the tags that nest in the text that this tag silences; none if it silences none."""
    if name in REASONING_TAGS:
        return REASONING_TAGS
    return frozenset({name}) if name in UNSPOKEN_TAGS or name in state.options.silent_tags else frozenset()
