"""Brackets: links, images, references, citations, footnotes; and addresses that stand bare."""

from __future__ import annotations

import re

from voicegw.speech.state import WAIT, FilterState

CITATION = re.compile(
    r"\[(?:[1-9]\d{0,2}(?:\s?[,;–-]\s?[1-9]\d{0,2})*|\^[^\[\]\s]{1,40}|\d+(?::\d+)?†[^\[\]\n]*|doc\d{1,2})\]"
    r"|\[\[[1-9]\d{0,2}\]\]"
)
MORE = re.compile(r"\s?[,;]?\s?(?=\[[1-9^])")
MORE_PART = re.compile(r"\s?[,;]?\s?\[?\Z")
LENTICULAR = re.compile(r"【\d[\d:,]*(?:†[^】\n]*)?】")
LENTICULAR_PART = re.compile(r"【(?:\d[\d:,]*(?:†[^】\n]*)?)?\Z")
THOUGHT = re.compile(r"\[(/?)THINK\]|◁(/?)think▷")
THOUGHT_PART = re.compile(r"(?:\[/?(?:T(?:H(?:I(?:NK?)?)?)?)?|◁/?(?:t(?:h(?:i(?:nk?)?)?)?)?)\Z")
THOUGHT_ENDS = {"[": "[/THINK]", "◁": "◁/think▷"}
TEXT = re.compile(r"\[(?:[^\[\]\\\n]|\\[\s\S]|\n(?![ \t]*\n)|\[(?:[^\[\]\\\n]|\\.)*\])*\]")
PATH = r"[^\s()]*(?:\([^\s()]*\)[^\s()]*)*"
TARGET = re.compile(rf"\((?:<|https?:|www\.|mailto:|tel:|[/#.)]|{PATH}\)|{PATH}[ \t]+[\"')])")
TARGET_PART = re.compile(rf"\((?:{PATH}[ \t]*|{PATH}\([^\s()]*)\Z")
REFERENCE = re.compile(r"\[[^\[\]\n]*\]")
REFERENCE_PART = re.compile(r"\[[^\[\]\n]*\Z")
DEFINITION = re.compile(r"\[[^\[\]\n]+\]:[ \t]*(?=\S)")
DEFINITION_PART = re.compile(r"\[(?:[^\[\]\n]+(?:\](?::[ \t]*)?)?)?\Z")
ADDRESS = re.compile(r"<?(?:https?://|www\.|mailto:|\.{0,2}/)", re.IGNORECASE)


def definition(s: FilterState, text: str, at: int, end: int, sure: bool) -> int | None:
    """At the start of a line: what a link's mark stands for is silent, a footnote loses its mark."""
    found = DEFINITION.match(text, at, end)
    if not found:
        return WAIT if DEFINITION_PART.match(text, at, end) and not sure else None
    if text[at + 1] == "^":
        s.begin_block()
        s.item = True
        return found.end()
    if found.end() == end - 1 and not sure:
        return WAIT
    if not ADDRESS.match(text, found.end(), end):
        return WAIT if end - found.end() < 12 and not sure and "\n" not in text[at:end] else None
    s.begin_block()
    s.enter("skip")
    return at


def opening(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A `[`: the start of a link, a mark to be left out, or a bracket."""
    thought = THOUGHT.match(text, at, end)
    if thought:
        return think(s, text[at], "/" in thought[0], thought.end())
    if THOUGHT_PART.match(text, at, end) and not sure:
        return WAIT
    if text[at] == "◁":
        s.prose.drop()
        return at + 1
    kind, place = classify(s, text, at, end, sure)
    if kind == "wait":
        return WAIT
    if kind == "cited":
        return cited(s, text, place, end, sure)
    s.open_bracket(kind)
    if kind == "plain":
        s.prose.say("[")
    return at + 1


def cited(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A citation is silent, and what parts it from the next one too."""
    more = MORE.match(text, at, end)
    if more is None and MORE_PART.match(text, at, end) and not sure:
        return WAIT
    s.prose.drop()
    s.shown = True
    if text.startswith("(", at, end):
        s.enter("target")
    return more.end() if more else at


def classify(s: FilterState, text: str, at: int, end: int, sure: bool) -> tuple[str, int]:
    """What a `[` is: "cited", "link", "plain", "maybe" (its end is too far away to know), or "wait"."""
    far = "maybe" if end - at >= s.options.max_held_chars - 1 else "plain"
    found = CITATION.match(text, at, end)
    if found:
        return ("wait", at) if found.end() == end and not sure else ("cited", found.end())
    found = TEXT.match(text, at, end)
    if not found:
        if not sure:
            return "wait", at
        return ("plain" if "\n\n" in text[at:end] else far), at
    if found.end() == end and sure:
        return far, at
    return after(text, found.end(), end, sure), found.end()


def after(text: str, at: int, end: int, sure: bool) -> str:
    """What follows a `]` tells what it closes: "link", "plain" or "wait"."""
    if at == end:
        return "plain" if sure else "wait"
    if text[at] == "(":
        if TARGET.match(text, at, end) or (sure and TARGET_PART.match(text, at, end)):
            return "link"
        return "wait" if TARGET_PART.match(text, at, end) and not sure else "plain"
    if text[at] == "[":
        if REFERENCE.match(text, at, end):
            return "link"
        if REFERENCE_PART.match(text, at, end):
            return "link" if sure else "wait"
    return "plain"


def closing(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A `]`: as its partner was, so is it."""
    kind = s.brackets.pop() if s.brackets else "plain"
    if kind == "plain":
        s.prose.say("]")
        return at + 1
    follows = after(text, at + 1, end, sure)
    if follows == "wait":
        s.brackets.append(kind)
        return WAIT
    if follows == "plain":
        return at + 1
    s.shown = True
    if text[at + 1] == "(":
        s.enter("target")
        s.depth = 0
        return at + 1
    reference = REFERENCE.match(text, at + 1, end)
    return reference.end() if reference else at + 1


def image(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A `!`: nearly always just that."""
    if s.prev.isalnum() or s.prev in "!?.)\"'":
        s.prose.say("!")
        return at + 1
    if at + 1 == end:
        if not sure:
            return WAIT
    elif text[at + 1] == "[":
        kind, place = classify(s, text, at + 1, end, sure)
        if kind == "wait":
            return WAIT
        if kind in ("link", "maybe") or (kind == "cited" and text.startswith("(", place, end)):
            s.open_bracket("link" if kind == "cited" else kind)
            return at + 2
    s.prose.say("!")
    return at + 1


def lenticular(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A 【, which is a bracket like others unless it holds a citation."""
    found = LENTICULAR.match(text, at, end)
    if found:
        s.prose.drop()
        return found.end()
    if LENTICULAR_PART.match(text, at, end) and not sure:
        return WAIT
    s.prose.say("【")
    return at + 1


def think(s: FilterState, bracket: str, ends: bool, place: int) -> int:
    """Reasoning in brackets of another kind than tags."""
    s.prose.drop()
    if not ends:
        s.enter("comment")
        s.closer = THOUGHT_ENDS[bracket]
    return place


SCHEME = re.compile(r"https?://|(?=www\.)", re.IGNORECASE)
SCHEMES = ("http://", "https://", "www.")
AUTHORITY = re.compile(r"[^\s/?#<>\"\u2e80-\uffff]*")
HOST = re.compile(r"[A-Za-z0-9\u00c0-\u1fff][A-Za-z0-9.\u00c0-\u1fff-]*|\[[0-9A-Fa-f:.]+\]")


def address(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A word that begins like an address: of an address only the domain is spoken, or nothing."""
    if s.prev.isascii() and (s.prev.isalnum() or s.prev == "_"):
        return s.run(text, at, at + 1)
    scheme = SCHEME.match(text, at, end)
    if scheme is None or text[at:end].lower() == "www.":
        window = text[at:end].lower()
        if not sure and any(known.startswith(window) for known in SCHEMES):
            return WAIT
        return s.run(text, at, at + 1)
    authority = AUTHORITY.match(text, scheme.end(), end)
    assert authority
    if authority.end() == end and not sure:
        return WAIT
    host = HOST.match(text, scheme.end() + authority[0].rfind("@") + 1, end)
    if host is None:
        return s.run(text, at, at + 1)
    name = host[0].rstrip(".-")
    if s.options.urls == "domain":
        s.prose.say(name[4:] if name.lower().startswith("www.") and len(name) > 4 else name)
    else:
        s.prose.drop()
        s.shown = True
    s.depth = 0
    s.enter("url")
    return host.start() + len(name)
