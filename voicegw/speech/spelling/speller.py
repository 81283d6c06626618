"""Spells written forms in a stream of speech: it finds them, and holds one back until its end is known."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from voicegw.speech.characters import is_wide
from voicegw.speech.spelling.cldr import LocaleData
from voicegw.speech.spelling.forms import BLANKS, CODE_PARTS, CODES, SYMBOLS, FormPatterns, any_of
from voicegw.speech.spelling.verbalizer import Verbalizer
from voicegw.speech.spelling.words import STREETS, WORDS

MAX_LANGUAGES = 64
"""Language tags whose words are kept; callers may name any number."""
TAG = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z]{4})?(?:[-_]([A-Za-z]{2})(?![A-Za-z0-9]))?")
CLOSERS = ".,;:!?)\"'»”"
"""Punctuation behind a word."""
MAX_BEFORE = 48
"""Characters before a form that are remembered: they show a code, a street or a month."""
START = re.compile(
    rf"[+\-−]?\d|\((?=\d{{3,5}}\)|\d{{0,5}}\Z)|[+\-−]?[{re.escape(SYMBOLS)}](?=\s?[+\-−]?(?:\d|\Z))|[+\-−]\Z"
    rf"|(?:(?:{any_of(CODES)})\s?(?=\d|\Z)|(?:{any_of(CODE_PARTS)})\Z)"
)
"""The start of a form, or of a text that may become one."""
FIRST_CHAR = re.compile(rf"[\d(+\-−{re.escape(SYMBOLS)}{''.join(sorted({code[0] for code in CODES}))}]")
"""The first character of a form."""
PART_START = re.compile(rf"\(\d{{0,5}}\Z|[+\-−]?(?:[{re.escape(SYMBOLS)}]|{any_of(CODE_PARTS)})?\s?[+\-−]?\Z")
DIGITS = re.compile(r"\d+|.", re.DOTALL)
NOT_BEFORE = frozenset("_@#/\\*^=&~.,:'’+-−–%")
"""Behind one of these, or a letter or digit, no form begins: it is a code, a version or an address."""
STREET = re.compile(STREETS)


@lru_cache(maxsize=MAX_LANGUAGES)
def make_parts(language: str) -> tuple[FormPatterns, Verbalizer] | None:
    """Return the patterns and the words of a language tag; None if there are none."""
    tag = TAG.match(language)
    if tag is None or tag[1].lower() not in WORDS:
        return None
    locale = LocaleData(tag[1].lower(), (tag[2] or "").upper())
    verbalizer = Verbalizer(locale)
    return FormPatterns(locale, verbalizer.amounts.currency_names, verbalizer.amounts.units), verbalizer


def load_languages(languages: Collection[str]) -> None:
    """Load the words of these languages, or of all: 30 ms each, too long for the middle of a call."""
    for language in languages or WORDS:
        make_parts(language)


class Speller:
    """Replaces written forms in a stream of speech by words.

    `feed` and the final `flush` return the same speech for every cut, as long as `release` is not called.

    Attributes:
        pending: the end of the speech so far, if it is or may become a form; at most `max_held_chars`.
    """

    def __init__(self, kinds: Collection[str], language: str, max_held_chars: int) -> None:
        """`kinds` are those of `options.SPELLINGS`; in a language without words the speech stays as it is."""
        self.pending = ""
        self._kinds, self._max_held_chars = frozenset(kinds), max_held_chars
        self._parts = make_parts(language)
        self._before = ""

    def feed(self, text: str) -> str:
        """Add a piece of speech; return the speech that is decided."""
        if self._parts is None:
            return text
        if not self.pending and not FIRST_CHAR.search(text):  # most deltas are plain words
            return self._pass(text)
        return self._spell(self.pending + text, final=False)

    def flush(self) -> str:
        """End the speech; return the rest of it."""
        return "" if self._parts is None else self._spell(self.pending, final=True)

    def release(self) -> str:
        """Return what is held, because the agent pauses.

        A number that may go on is returned as it is written, so that its digits stay together.
        """
        if self.pending[-1:] in BLANKS:
            return self.flush()
        pending, self.pending = self.pending, ""
        return self._pass(pending)

    def _pass(self, text: str) -> str:
        """Note text that is returned as it is written."""
        self._before = (self._before + text)[-MAX_BEFORE:]
        return text

    def _spell(self, text: str, *, final: bool) -> str:
        pieces: list[str] = []
        at, self.pending = 0, ""
        while start := START.search(text, at):
            pieces.append(self._pass(text[at : start.start()]))
            at = start.start()
            window = text[at : at + self._max_held_chars]
            must_decide = final or len(window) == self._max_held_chars
            if not self._may_begin():
                run = DIGITS.match(text, at)
                size, words = run.end() - at if run else 1, None
            elif PART_START.fullmatch(window) and not must_decide:
                size, words = 0, None
            else:
                size, words = self._read(window, must_decide)
            if not size:
                self.pending = text[at:]
                return "".join(pieces)
            written = self._pass(text[at : at + size])
            pieces.append(written if words is None else words)
            at += size
        pieces.append(self._pass(text[at:]))
        return "".join(pieces)

    def _may_begin(self) -> bool:
        before = self._before[-1:]
        return not before or is_wide(before) or not (before.isalnum() or before in NOT_BEFORE)

    def _read(self, window: str, must_decide: bool) -> tuple[int, str | None]:
        """Return the size of the form at the start of the window, and its words; the size 0 waits."""
        assert self._parts
        forms, verbalizer = self._parts
        end = find_end(window, forms, must_decide)
        if not end:
            return 0, None
        for form in forms.patterns:
            match = form.pattern.match(window, 0, end)
            if match and (form.before is None or form.before.search(self._before)):
                is_spelled = form.kind in self._kinds and not STREET.match(window, match.end(), end)
                after = window[match.end() : match.end() + 2]
                words = verbalizer.say(form.kind, match, self._before, after) if is_spelled else None
                return match.end(), words
        return 1 if window[0] == "(" else max(1, word_end(window, 0, forms.is_wide)), None


def word_end(text: str, at: int, stops_at_wide: bool) -> int:
    """Return the index behind the word at `at`: of a blank, or of a character of a script without blanks."""
    for position in range(at, len(text)):
        if text[position].isspace() or (stops_at_wide and is_wide(text[position])):
            return position
    return len(text)


def find_end(window: str, forms: FormPatterns, must_decide: bool) -> int:
    """Return the index behind the words that may belong to the form, or 0 if more text has to show it."""
    position = word_end(window, 0, forms.is_wide)
    while position < len(window) and window[position] in BLANKS:
        after = word_end(window, position + 1, forms.is_wide)
        word = window[position + 1 : after]
        if after == len(window) and not must_decide:
            return 0 if not word or may_continue(word, forms) else position
        if not continues(word, forms):
            return position
        position = after
    return position if position < len(window) or must_decide else 0


def continues(word: str, forms: FormPatterns) -> bool:
    """Whether a word behind a number may belong to its form."""
    core = word.rstrip(CLOSERS).lower()
    return core in forms.next_words or is_number_or_dash(core) or is_street_word(word, forms)


def may_continue(part: str, forms: FormPatterns) -> bool:
    """Whether the beginning of a word may become one that belongs to the form."""
    core = part.rstrip(CLOSERS).lower()
    return core in forms.next_parts or is_number_or_dash(core) or is_street_word(part, forms)


def is_number_or_dash(core: str) -> bool:
    """Whether a word is a further group of digits, a signed number, or the dash of a range."""
    return core[:1].isdigit() or core[:1] in ("-", "–", "−", "+")


def is_street_word(word: str, forms: FormPatterns) -> bool:
    """Whether a word may belong to the name of a street behind a house number."""
    return forms.language == "en" and word[:1].isupper()
