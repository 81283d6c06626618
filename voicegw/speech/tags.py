"""Tags: most are left out, some rest, some silence what they hold."""

from __future__ import annotations

import re

from voicegw.speech.characters import names
from voicegw.speech.state import WAIT, FilterState

VALUE = r"\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+)"
FLAG = "open|disabled|checked|selected|hidden|controls|loop|muted|autoplay|async|defer|required|readonly"
ATTRIBUTE = rf"\s+(?:[A-Za-z_:][\w:.-]*{VALUE}|(?:{FLAG})(?=[\s/>]))"
TAG = re.compile(rf"<(/?)([A-Za-z][\w:.-]*)((?:{ATTRIBUTE})*)\s*(/?)>")
TAG_PART = re.compile(
    rf"</?(?:[A-Za-z][\w:.-]*(?:{ATTRIBUTE})*(?:\s+(?:[A-Za-z_:][\w:.-]*(?:\s*=\s*(?:\"[^\"]*|'[^']*)?)?)?|\s*/)?)?\Z"
)
MARKED = re.compile(r"<(?:mailto:)?([\w.+-]+@[\w-]+(?:\.[\w-]+)+)>")
MARKED_PART = re.compile(r"<(?:mailto:)?[\w.+-]*(?:@[\w.-]*)?\Z")
LINKED = re.compile(r"<(?=https?://)", re.IGNORECASE)
LINKED_PART = re.compile(r"<(?:h(?:t(?:t(?:p(?:s?(?::/?)?)?)?)?)?)?\Z", re.IGNORECASE)
TOKEN = re.compile(r"<[|｜][\w▁ -]{1,40}[|｜]>")
TOKEN_PART = re.compile(r"<(?:[|｜][\w▁ -]{0,40}[|｜]?)?\Z")
COMMENT = "<!--"
DECLARED = re.compile(r"<(?:!--|!DOCTYPE|!\[CDATA\[|\?xml|\?php)", re.IGNORECASE)
DECLARED_PART = re.compile(
    r"<(?:!(?:-|D(?:O(?:C(?:T(?:YP?)?)?)?)?|\[(?:C(?:D(?:A(?:TA?)?)?)?)?)?|\?(?:x(?:m)?|p(?:h)?)?)?\Z",
    re.IGNORECASE,
)
CHANNEL = re.compile(r"<\|channel\|>(analysis|commentary)\b")
HEAD = re.compile(r"<\|(?:start|channel)\|>[a-z]*(?=<)")
HEAD_PART = re.compile(r"<\|(?:start|channel)\|>[a-z]{0,16}\Z")

REASONING = names(
    "think thinking thought thoughts reasoning reason reasoning_content reflection reflect reflexion "
    "scratchpad redacted_thinking chain_of_thought inner_monologue internal_monologue antthinking"
)
UNSPOKEN = names("script style template tool_call tool_calls function_call function_calls tool_response")
RESTS = names(
    "p div section article header footer main aside nav h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table thead "
    "tbody tr caption blockquote pre hr form fieldset figure figcaption details summary"
)
PAUSES = names("br td th")
SPOKEN_OF = " `'\""
"""What stands around a tag that is only mentioned."""
LONG_END = re.compile(r"[>\n]")
LONG = re.compile(r"<(/?)([A-Za-z][\w:.-]*)\s[^=]*=\s*[\"']")
HTML = (
    RESTS
    | PAUSES
    | REASONING
    | UNSPOKEN
    | names(
        "a abbr b bdi bdo big button cite code data del dfn em font i iframe img input ins kbd label mark "
        "picture q s samp small source span strong sub sup svg time tt u var video audio"
    )
)


def name_of(written: str) -> str:
    """The name of a tag without its namespace: `seed:think` thinks."""
    return written.lower().rpartition(":")[2]


def tag(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A `<` within prose."""
    found = classify(s, text, at, end, sure)
    if found is not None:
        return found
    s.prose.say("<")
    return at + 1


def classify(s: FilterState, text: str, at: int, end: int, sure: bool) -> int | None:
    """Deal with what a `<` begins, as far as that is silent; None if the sign itself is meant."""
    found = TAG.match(text, at, end)
    if found:
        if name_of(found[2]) in s.options.keep_tags:
            return keep(s, found)
        name = name_of(found[2])
        if name in UNSPOKEN and s.prev in SPOKEN_OF and found.end() == end and not sure:
            return WAIT
        if name in UNSPOKEN and spoken_of(s, text, found, end):
            name = ""
        return place(s, name, bool(found[1]), bool(found[4]), found.end())
    if DECLARED.match(text, at, end):
        return declared(s, text, at)
    marked = MARKED.match(text, at, end)
    if marked:
        s.mode = "inline"
        s.prose.say(marked[1])
        return marked.end()
    if LINKED.match(text, at, end):
        s.mode, s.angle = "inline", True
        return at + 1
    token = TOKEN.match(text, at, end)
    if token:
        return harmony(s, text, token, end, sure)
    parts = (TAG_PART, MARKED_PART, LINKED_PART, TOKEN_PART, DECLARED_PART)
    if not any(part.match(text, at, end) for part in parts):
        return None
    return long_tag(s, text, at, end) if sure else WAIT


def declared(s: FilterState, text: str, at: int) -> int:
    """A comment, or a declaration that no text should have."""
    s.prose.drop()
    if text.startswith(COMMENT, at):
        s.enter("comment")
        s.closer = "-->"
        return at + len(COMMENT)
    s.closer_after, s.mode = s.mode, "long"
    return at + 2


def harmony(s: FilterState, text: str, token: re.Match[str], end: int, sure: bool) -> int:
    """A token of the model's own; some of them begin what is only thought."""
    at = token.start()
    if CHANNEL.match(text, at, end):
        s.prose.drop()
        s.enter("comment")
        s.closer = "<|end|>"
        return token.end()
    if HEAD_PART.match(text, at, end) and not sure:
        return WAIT
    head = HEAD.match(text, at, end)
    s.prose.drop()
    return head.end() if head else token.end()


def spoken_of(s: FilterState, text: str, found: re.Match[str], end: int) -> bool:
    """Is a tag only mentioned, in the middle of a sentence?"""
    after = text[found.end()] if found.end() < end else ""
    return not found[1] and s.prev in SPOKEN_OF and after in SPOKEN_OF + ".,;:!?)"


def keep(s: FilterState, found: re.Match[str]) -> int:
    """A tag that the platform understands."""
    s.mode = "inline"
    s.prose.say(" ".join(found[0].split()))
    return found.end()


def long_tag(s: FilterState, text: str, at: int, end: int) -> int | None:
    """A tag that does not fit into what may be held: its name decides."""
    begun = LONG.match(text, at, end)
    name = name_of(begun[2]) if begun else ""
    if end - at < s.options.max_held_chars or not (name in HTML or name in s.options.silent_tags):
        return None
    place(s, name, bool(begun and begun[1]), False, end)
    s.closer_after = s.mode
    s.mode = "long"
    return end


def place(s: FilterState, name: str, ends: bool, empty: bool, after: int) -> int:
    """What a whole tag does to the speech."""
    if name in RESTS:
        s.begin_block()
    elif name in PAUSES:
        s.prose.pause()
    else:
        s.prose.drop()
        family = silenced(s, name)
        if family and not ends and not empty:
            s.enter("silent")
            s.family, s.depth = family, 1
    return after


def silenced(s: FilterState, name: str) -> frozenset[str]:
    """The names whose end tags end the silence that this one begins; none if it begins none."""
    if name in REASONING:
        return REASONING
    return frozenset({name}) if name in UNSPOKEN or name in s.options.silent_tags else frozenset()


def silent(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """What nobody hears, up to the end tag. Reasoning may hold more of its kind."""
    if text[at] != "<":
        begun = text.find("<", at)
        return len(text) if begun < 0 else begun
    found = TAG.match(text, at, end)
    if found is None:
        return WAIT if TAG_PART.match(text, at, end) and not sure else at + 1
    if not found[1] and s.prev in SPOKEN_OF and found.end() == end and not sure:
        return WAIT
    if name_of(found[2]) in s.family and not found[4] and not spoken_of(s, text, found, end):
        s.depth += -1 if found[1] else 1
        if not s.depth:
            s.leave()
    return found.end()


def long(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """The rest of a tag that was too long to be held; it ends with its line, if nothing else ends it."""
    found = LONG_END.search(text, at)
    if found is None:
        return len(text)
    s.mode = s.closer_after
    return found.start() if found[0] == "\n" else found.end()
