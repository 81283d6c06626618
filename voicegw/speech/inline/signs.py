"""Rules for signs that carry meaning: arrows, ticks and crosses, ratings by stars, trends.

Other pictures are decoration and silent: see `rules.read_unspeakable`.
"""

from __future__ import annotations

import re

from voicegw.speech.blocks import tables
from voicegw.speech.characters import ARROWS, ENDS_CLAUSE, is_wide
from voicegw.speech.state import WAIT, FilterState

STARS, EMPTY_STARS = "★⭐🌟✭✯", "☆✩✰"
RATING = re.compile(rf"((?:[{STARS}]\ufe0f?)*)(½?)((?:[{EMPTY_STARS}]\ufe0f?)*)")
RATED_VALUE = re.compile(r"\d[ \u00a0\u202f]?\Z")
TICKS, CROSSES, CHECKED = "✅✔✓☑", "❌✗✘✖☒", "☑☒"
TREND_UP, TREND_DOWN = "↑⬆▲🔺", "↓⬇▼🔻"
PICTURE_TRENDS = "▲▼🔺🔻"
"""Trends only beside a number; elsewhere they are decoration."""
NUMBER_BEHIND = re.compile(r"\ufe0f?[ \t]?[+−-]?[$€£¥₹]?\d")
NUMBER_BEHIND_PART = re.compile(r"\ufe0f?[ \t]?[+−-]?[$€£¥₹]?\Z")
AMOUNT_ENDS = tuple("0123456789%")
FORWARD = "→➡➜➔➝➞⟶⭢"
ARROW_RUN = re.compile(f"[{ARROWS}\ufe0f]+")
BEHIND = re.compile(r"[ \t]*([^ \t])")
MEANING = STARS + EMPTY_STARS + TICKS + CROSSES + TREND_UP + TREND_DOWN
"""Signs that have a rule here, besides arrows."""
SIGN = re.compile(f"[{MEANING}{ARROWS}]")


def say_word(state: FilterState, word: str) -> None:
    """Say a word in place of a sign, apart from the text before it; "" says nothing."""
    if any(map(is_wide, word)):
        return state.output.say(word)
    state.output.omit(apart=True)
    if word:
        state.output.say(word)
        state.output.omit(apart=True)


def read_stars(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a run of stars: two or more are a rating, and so is one behind a number."""
    match = RATING.match(text, at, end)
    assert match
    if match.end() == end and not must_decide:
        return WAIT
    full, half, empty = (len(match[part].replace("\ufe0f", "")) for part in (1, 2, 3))
    count, total = f"{full or ''}{match[2]}" or "0", full + bool(half) + empty
    if full == 1 and total == 1 and RATED_VALUE.search(state.output.tail):
        say_word(state, state.options.stars.format(count="").strip())
    elif total < 2:
        state.output.omit(apart=True)
        state.has_visible = True
    else:
        phrase, begins_line = state.options.rating if empty else state.options.stars, not state.line_chars
        say_word(state, phrase.format(count=count, total=total))
        if begins_line and not state.in_row:
            state.output.add_pause()
    return match.end()


def read_tick(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a tick: it is the answer behind a colon and in a cell of a table, and silent elsewhere."""
    state.has_visible = True
    if state.in_row:
        tables.note_tick(state)
    if text[at] == "☑" and not state.line_chars and not state.in_row:
        say_done(state)
    elif state.output.tail.rstrip()[-1:] in (":", "：", "=") and not state.in_row and state.line_chars:
        say_word(state, state.options.yes)
    else:
        state.output.omit(apart=True)
    return at + 1


def read_cross(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a cross: "no", because a text without it would say the opposite."""
    state.has_visible = True
    if text[at] == "✖" and state.output.tail[-1:].isdigit():
        say_word(state, "×")
    elif not state.line_chars and not state.in_row:
        say_label(state, state.options.no)
    else:
        say_word(state, state.options.no)
    return at + 1


def say_done(state: FilterState) -> None:
    """Say that the task which follows is done."""
    if state.options.done:
        say_label(state, state.options.done)


def say_label(state: FilterState, word: str) -> None:
    """Say a word and a colon before the text of a line."""
    state.output.say(f"{word}：" if is_wide(word[-1]) else f"{word}:")
    if not is_wide(word[-1]):
        state.output.add_blank()


def read_trend(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read an arrow up or down: a change beside a number, else a direction; a triangle is then silent."""
    if NUMBER_BEHIND_PART.match(text, at + 1, end) and not must_decide:
        return WAIT
    options, is_up = state.options, text[at] in TREND_UP
    if NUMBER_BEHIND.match(text, at + 1, end) or state.output.tail.endswith(AMOUNT_ENDS):
        say_word(state, options.more if is_up else options.less)
    elif text[at] not in PICTURE_TRENDS:
        say_word(state, options.up if is_up else options.down)
    else:
        state.output.omit(apart=True)
        state.has_visible = True
    return at + 1


def read_arrow(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Read a run of arrows: "to" where one points from a thing to the next, a pause elsewhere."""
    match = ARROW_RUN.match(text, at, end)
    assert match
    behind = BEHIND.match(text, match.end(), end)
    if behind is None and not must_decide:
        return WAIT
    next_char = behind[1] if behind else "\n"
    if text[at] in FORWARD and state.line_chars and state.options.to and is_thing(next_char):
        say_word(state, state.options.to)
    elif next_char in ENDS_CLAUSE or next_char == "\n":
        state.output.omit()
    else:
        state.output.add_pause()
    return match.end()


def is_thing(char: str) -> bool:
    """Whether the text behind an arrow begins with this character as a word or a price.

    Marked words are the steps of a way through menus, with pauses between them.
    """
    return char.isalnum() or char in "$€£¥₹\"'“„«「+-"


RULES = {
    **dict.fromkeys(STARS + EMPTY_STARS, read_stars),
    **dict.fromkeys(TICKS, read_tick),
    **dict.fromkeys(CROSSES, read_cross),
    **dict.fromkeys(TREND_UP + TREND_DOWN, read_trend),
}
"""The rule of each sign; other arrows are for `read_arrow`."""
