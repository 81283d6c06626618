"""Rules for brackets: links, images, references, citations, footnotes. Bare addresses are in `addresses`.

The kind of an open bracket is "link", "plain" (it is spoken), or "maybe": its end is beyond the window, so
the bracket is silent, and the text behind its end decides about an address.
"""

from __future__ import annotations

import re

from voicegw.speech.markup import citations, model_tokens
from voicegw.speech.state import WAIT, FilterState

THINKING_MARK = re.compile(r"\[(/?)THINK\]|◁(/?)think▷")
THINKING_MARK_PART = re.compile(r"(?:\[/?(?:T(?:H(?:I(?:NK?)?)?)?)?|◁/?(?:t(?:h(?:i(?:nk?)?)?)?)?)\Z")
THINKING_ENDS = {"[": "[/THINK]", "◁": "◁/think▷"}
BRACKETED_TEXT = re.compile(r"\[(?:[^\[\]\\\n]|\\[\s\S]|\n(?![ \t]*\n)|\[(?:[^\[\]\\\n]|\\.)*\])*\]")
PATH = r"[^\s()]*(?:\([^\s()]*\)[^\s()]*)*"
TARGET = re.compile(rf"\((?:<|https?:|www\.|mailto:|tel:|[/#.)]|{PATH}\)|{PATH}[ \t]+[\"')])")
TARGET_PART = re.compile(rf"\((?:{PATH}[ \t]*|{PATH}\([^\s()]*)\Z")
REFERENCE = re.compile(r"\[[^\[\]\n]*\]")
REFERENCE_PART = re.compile(r"\[[^\[\]\n]*\Z")
DEFINITION = re.compile(r"\[[^\[\]\n]+\]:[ \t]*(?=\S)")
DEFINITION_PART = re.compile(r"\[(?:[^\[\]\n]+(?:\](?::[ \t]*)?)?)?\Z")
ADDRESS = re.compile(r"<?(?:https?://|www\.|mailto:|\.{0,2}/)", re.IGNORECASE)


def read_definition(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read a definition at the start of a line: a link's is left out, a footnote's loses its mark.

    Returns None if the line begins no definition.
    """
    match = DEFINITION.match(text, at, end)
    if not match:
        return WAIT if DEFINITION_PART.match(text, at, end) and not must_decide else None
    if text[at + 1] == "^":
        state.begin_block()
        state.in_item = True
        return match.end()
    if match.end() == end - 1 and not must_decide:
        return WAIT
    if not ADDRESS.match(text, match.end(), end):
        return WAIT if end - match.end() < 12 and not must_decide and "\n" not in text[at:end] else None
    state.begin_block()
    state.enter("line_rest")
    return at


def read_opening_bracket(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `[` or ◁: a citation, a mark of reasoning, the start of a link, or a plain bracket."""
    thinking = THINKING_MARK.match(text, at, end)
    if thinking:
        return skip_thinking_mark(state, text[at], "/" in thinking[0], thinking.end())
    if THINKING_MARK_PART.match(text, at, end) and not must_decide:
        return WAIT
    position = model_tokens.read_bracket_token(state, text, at, end, must_decide)
    if position is not None:
        return position
    if text[at] == "◁":
        state.output.omit()
        return at + 1
    kind, position = classify_opening(state, text, at, end, must_decide)
    if kind == "wait":
        return WAIT
    if kind == "citation":
        return skip_citation(state, text, position, end, must_decide)
    state.open_bracket(kind)
    if kind == "plain":
        state.output.say("[")
    return at + 1


def skip_citation(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Leave out a citation that ends at `at`, with its address or the separator before the next citation."""
    separator = citations.SEPARATOR.match(text, at, end)
    if separator is None and citations.SEPARATOR_PART.match(text, at, end) and not must_decide:
        return WAIT
    state.output.omit(apart=at >= end or text[at].isalnum())
    state.has_visible = True
    if text.startswith("(", at, end):
        state.depth = 0
        state.enter("link_target")
    return separator.end() if separator else at


def classify_opening(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> tuple[str, int]:
    """Return the kind of a `[` and the index behind its `]`, or `at` if that is not seen.

    The kinds are those of an open bracket, "citation", and "wait" if more text has to decide.
    """
    kind_without_end = "maybe" if end - at >= state.options.max_held_chars - 1 else "plain"
    match = citations.CITATION.match(text, at, end)
    if match:
        return classify_citation(state, text, at, match.end(), end, must_decide), match.end()
    match = BRACKETED_TEXT.match(text, at, end)
    if not match:
        if not must_decide:
            return "wait", at
        return ("plain" if "\n\n" in text[at:end] else kind_without_end), at
    if match.end() == end and must_decide:
        return kind_without_end, at
    return classify_closing(text, match.end(), end, must_decide), match.end()


def classify_citation(state: FilterState, text: str, at: int, after: int, end: int, must_decide: bool) -> str:
    """Return "citation", or "plain" if the number in these brackets is a value, or "wait"."""
    if not must_decide and (after == end or citations.INDEX_PART.match(text, at, end)):
        return "wait"
    if not citations.NUMBER_CITATION.match(text, at, end):
        return "citation"
    if not must_decide and citations.needs_more(text, after, end):
        return "wait"
    return "plain" if citations.is_value(state, text, at, after, end) else "citation"


def read_parenthesis(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `(`: parentheses that hold nothing but citations are left out with them."""
    match = citations.PARENTHESISED.match(text, at, end)
    if match:
        state.output.omit()
        state.has_visible = True
        return match.end()
    if not must_decide and citations.PARENTHESISED_PART.match(text, at, end):
        return WAIT
    if citations.LINKED.match(text, at, end):
        state.output.omit()
        state.has_visible, state.depth = True, 0
        state.enter("link_target")
        return at
    return state.say_plain(text, at, at + 1)


def read_colon(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `:` behind a blank: the name before a citation of ChatGPT is silent, any other is spoken."""
    name = citations.CONTENT_REFERENCE
    window = text[at : min(end, at + len(name))]
    if state.previous_char == " " and name.startswith(window):
        if len(window) == len(name):
            state.output.omit()
            return at + len(name)
        if not must_decide:
            return WAIT
    return state.say_plain(text, at, at + 1)


def classify_closing(text: str, at: int, end: int, must_decide: bool) -> str:
    """Return "link" if the text at `at`, behind a `]`, makes the brackets a link; else "plain", or "wait"."""
    if at == end:
        return "plain" if must_decide else "wait"
    if text[at] == "(":
        if TARGET.match(text, at, end) or (must_decide and TARGET_PART.match(text, at, end)):
            return "link"
        return "wait" if TARGET_PART.match(text, at, end) and not must_decide else "plain"
    if text[at] == "[":
        if REFERENCE.match(text, at, end):
            return "link"
        if REFERENCE_PART.match(text, at, end):
            return "link" if must_decide else "wait"
    return "plain"


def read_closing_bracket(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `]`: spoken if its `[` was; with a link's address left out if one follows."""
    kind = state.open_brackets.pop() if state.open_brackets else "plain"
    if kind == "plain":
        state.output.say("]")
        return at + 1
    closing = classify_closing(text, at + 1, end, must_decide)
    if closing == "wait":
        state.open_brackets.append(kind)
        return WAIT
    if closing == "plain":
        return at + 1
    state.has_visible = True
    if text[at + 1] == "(":
        state.enter("link_target")
        state.depth = 0
        return at + 1
    reference = REFERENCE.match(text, at + 1, end)
    return reference.end() if reference else at + 1


def read_exclamation_mark(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a `!`: silent before the brackets of an image, spoken elsewhere."""
    if state.previous_char.isalnum() or state.previous_char in "!?.)\"'":
        state.output.say("!")
        return at + 1
    if at + 1 == end:
        if not must_decide:
            return WAIT
    elif text[at + 1] == "[":
        kind, position = classify_opening(state, text, at + 1, end, must_decide)
        if kind == "wait":
            return WAIT
        if kind in ("link", "maybe") or (kind == "citation" and text.startswith("(", position, end)):
            state.open_bracket("link" if kind == "citation" else kind)
            return at + 2
    state.output.say("!")
    return at + 1


def read_lenticular_bracket(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a 【: silent with its content if that is a citation, spoken elsewhere."""
    match = citations.LENTICULAR.match(text, at, end)
    if match:
        state.output.omit()
        return match.end()
    if citations.LENTICULAR_PART.match(text, at, end) and not must_decide:
        return WAIT
    state.output.say("【")
    return at + 1


def skip_thinking_mark(state: FilterState, bracket: str, is_end: bool, after: int) -> int:
    """Leave out `[THINK]` or ◁think▷ and, unless it is an end mark, the reasoning behind it."""
    state.output.omit()
    if not is_end:
        state.enter("comment")
        state.end_mark = THINKING_ENDS[bracket]
    return after
