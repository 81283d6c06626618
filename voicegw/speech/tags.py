"""Rules for `<`: tags are left out; some of them end a sentence, some silence the text that they hold.

Tags that the platform understands (`SpeechOptions.keep_tags`) are passed on.
"""

from __future__ import annotations

import re

from voicegw.speech.characters import split_names
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
MODEL_TOKEN = re.compile(r"<[|｜][\w▁ -]{1,40}[|｜]>")
MODEL_TOKEN_PART = re.compile(r"<(?:[|｜][\w▁ -]{0,40}[|｜]?)?\Z")
COMMENT_START = "<!--"
DECLARATION = re.compile(r"<(?:!--|!DOCTYPE|!\[CDATA\[|\?xml|\?php)", re.IGNORECASE)
DECLARATION_PART = re.compile(
    r"<(?:!(?:-|D(?:O(?:C(?:T(?:YP?)?)?)?)?|\[(?:C(?:D(?:A(?:TA?)?)?)?)?)?|\?(?:x(?:m)?|p(?:h)?)?)?\Z",
    re.IGNORECASE,
)
THINKING_CHANNEL = re.compile(r"<\|channel\|>(analysis|commentary)\b")
MESSAGE_HEAD = re.compile(r"<\|(?:start|channel)\|>[a-z]*(?=<)")
MESSAGE_HEAD_PART = re.compile(r"<\|(?:start|channel)\|>[a-z]{0,16}\Z")

REASONING_TAGS = split_names(
    "think thinking thought thoughts reasoning reason reasoning_content reflection reflect reflexion "
    "scratchpad redacted_thinking chain_of_thought inner_monologue internal_monologue antthinking"
)
"""Tags that hold reasoning; each of them ends it."""
UNSPOKEN_TAGS = split_names(
    "script style template tool_call tool_calls function_call function_calls tool_response"
)
"""Tags whose content is never spoken."""
BLOCK_TAGS = split_names(
    "p div section article header footer main aside nav h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table thead "
    "tbody tr caption blockquote pre hr form fieldset figure figcaption details summary"
)
"""Tags that end a sentence."""
PAUSE_TAGS = split_names("br td th")
"""Tags that are a comma."""
MENTION_MARKS = " `'\""
"""Characters around a tag that is only mentioned."""
LONG_TAG_END = re.compile(r"[>\n]")
LONG_TAG = re.compile(r"<(/?)([A-Za-z][\w:.-]*)\s[^=]*=\s*[\"']")
HTML_TAGS = (
    BLOCK_TAGS
    | PAUSE_TAGS
    | REASONING_TAGS
    | UNSPOKEN_TAGS
    | split_names(
        "a abbr b bdi bdo big button cite code data del dfn em font i iframe img input ins kbd label mark "
        "picture q s samp small source span strong sub sup svg time tt u var video audio"
    )
)


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
        if tag_name(match[2]) in state.options.keep_tags:
            return say_tag(state, match)
        name = tag_name(match[2])
        if (
            name in UNSPOKEN_TAGS
            and state.previous_char in MENTION_MARKS
            and match.end() == end
            and not must_decide
        ):
            return WAIT
        if name in UNSPOKEN_TAGS and is_mentioned(state, text, match, end):
            name = ""
        return apply_tag(state, name, bool(match[1]), bool(match[4]), match.end())
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
    token = MODEL_TOKEN.match(text, at, end)
    if token:
        return skip_model_token(state, text, token, end, must_decide)
    parts = (TAG_PART, AUTOLINK_EMAIL_PART, AUTOLINK_PART, MODEL_TOKEN_PART, DECLARATION_PART)
    if not any(part.match(text, at, end) for part in parts):
        return None
    return begin_long_tag(state, text, at, end) if must_decide else WAIT


def skip_declaration(state: FilterState, text: str, at: int) -> int:
    """Leave out a comment, or a declaration such as `<!DOCTYPE html>`."""
    state.output.omit()
    if text.startswith(COMMENT_START, at):
        state.enter("comment")
        state.end_mark = "-->"
        return at + len(COMMENT_START)
    state.mode_after_tag, state.mode = state.mode, "long_tag"
    return at + 2


def skip_model_token(state: FilterState, text: str, token: re.Match[str], end: int, must_decide: bool) -> int:
    """Leave out a token such as `<|im_end|>`; the channels of gpt-oss for reasoning up to `<|end|>`."""
    at = token.start()
    if THINKING_CHANNEL.match(text, at, end):
        state.output.omit()
        state.enter("comment")
        state.end_mark = "<|end|>"
        return token.end()
    if MESSAGE_HEAD_PART.match(text, at, end) and not must_decide:
        return WAIT
    head = MESSAGE_HEAD.match(text, at, end)
    state.output.omit()
    return head.end() if head else token.end()


def is_mentioned(state: FilterState, text: str, match: re.Match[str], end: int) -> bool:
    """Whether the tag is only mentioned in a sentence, as in "use the <think> tag"."""
    after = text[match.end()] if match.end() < end else ""
    return not match[1] and state.previous_char in MENTION_MARKS and after in MENTION_MARKS + ".,;:!?)"


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
        state.output.omit()
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
