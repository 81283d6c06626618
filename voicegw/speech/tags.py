"""Tags: most are left out, some rest, some silence what they hold."""

from __future__ import annotations

import re

from voicegw.speech.marks import names
from voicegw.speech.state import WAIT, State

ATTRIBUTE = r"\s+[A-Za-z_:][\w:.-]*(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+))?"
TAG = re.compile(rf"<(/?)([A-Za-z][\w:.-]*)((?:{ATTRIBUTE})*)\s*(/?)>")
TAG_PART = re.compile(
    rf"</?(?:[A-Za-z][\w:.-]*(?:{ATTRIBUTE})*(?:\s+(?:[\w:.-]+\s*=\s*(?:\"[^\"]*|'[^']*)?)?|\s*/)?)?\Z"
)
MARKED = re.compile(r"<(?:mailto:)?([\w.+-]+@[\w-]+(?:\.[\w-]+)+)>")
MARKED_PART = re.compile(r"<(?:mailto:)?[\w.+-]*(?:@[\w.-]*)?\Z")
LINKED = re.compile(r"<(?=https?://)", re.IGNORECASE)
LINKED_PART = re.compile(r"<(?:h(?:t(?:t(?:p(?:s?(?::/?)?)?)?)?)?)?\Z", re.IGNORECASE)
TOKEN = re.compile(r"<[|｜][\w▁ -]{1,40}[|｜]>")
TOKEN_PART = re.compile(r"<(?:[|｜][\w▁ -]{0,40}[|｜]?)?\Z")
DECLARED = re.compile(r"<(?:!(?:--|[A-Za-z\[])|\?[A-Za-z])")
DECLARED_PART = re.compile(r"<(?:!-?|\?)?\Z")

REASONING = names(
    "think thinking thought thoughts reasoning reason reasoning_content reflection reflect reflexion "
    "scratchpad chain_of_thought inner_monologue internal_monologue analysis_thinking antthinking"
)
UNSPOKEN = names("script style template")
RESTS = names(
    "p div section article header footer main aside nav h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table thead "
    "tbody tr caption blockquote pre hr form fieldset figure figcaption details summary"
)
PAUSES = names("br td th")
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


def tag(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """A `<` within prose."""
    found = classify(s, text, at, end, sure)
    if found is not None:
        return found
    s.prose.say("<")
    return at + 1


def classify(s: State, text: str, at: int, end: int, sure: bool) -> int | None:
    """Deal with what a `<` begins, as far as that is silent; None if the sign itself is meant."""
    found = TAG.match(text, at, end)
    if found:
        if name_of(found[2]) in s.style.keep_tags:
            return keep(s, found)
        return place(s, name_of(found[2]), bool(found[1]), bool(found[4]), found.end())
    if DECLARED.match(text, at, end):
        s.prose.drop()
        s.enter("comment")
        s.closer = "-->" if text.startswith("<!--", at) else ">"
        return at + 4 if text.startswith("<!--", at) else at + 2
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
        s.prose.drop()
        return token.end()
    parts = (TAG_PART, MARKED_PART, LINKED_PART, TOKEN_PART, DECLARED_PART)
    if not any(part.match(text, at, end) for part in parts):
        return None
    return long_tag(s, text, at, end) if sure else WAIT


def keep(s: State, found: re.Match[str]) -> int:
    """A tag that the platform understands."""
    s.mode = "inline"
    s.prose.say(" ".join(found[0].split()))
    return found.end()


def long_tag(s: State, text: str, at: int, end: int) -> int | None:
    """A tag that does not fit into what may be held: its name decides."""
    begun = re.match(r"<(/?)([A-Za-z][\w:.-]*)\s", text[at:end])
    name = name_of(begun[2]) if begun else ""
    if end - at < s.style.hold or not (name in HTML or name in s.style.silent_tags):
        return None
    place(s, name, bool(begun and begun[1]), False, end)
    s.closer_after = s.mode
    s.mode = "long"
    return end


def place(s: State, name: str, ends: bool, empty: bool, after: int) -> int:
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


def silenced(s: State, name: str) -> frozenset[str]:
    """The names whose end tags end the silence that this one begins; none if it begins none."""
    if name in REASONING:
        return REASONING
    return frozenset({name}) if name in UNSPOKEN or name in s.style.silent_tags else frozenset()


def silent(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """What nobody hears, up to the end tag. Reasoning may hold more of its kind."""
    if text[at] != "<":
        begun = text.find("<", at)
        return len(text) if begun < 0 else begun
    found = TAG.match(text, at, end)
    if found is None:
        return WAIT if TAG_PART.match(text, at, end) and not sure else at + 1
    if name_of(found[2]) in s.family and not found[4]:
        s.depth += -1 if found[1] else 1
        if not s.depth:
            s.leave()
    return found.end()


def long(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """The rest of a tag that was too long to be held."""
    found = text.find(">", at)
    if found < 0:
        return len(text)
    s.mode = s.closer_after
    return found + 1
