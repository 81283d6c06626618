"""Remove the gateway's own phrases from the history that the agent sees. Pure.

Platforms send back all words that they spoke, the gateway's included. Words of the agent are never removed:
an agent may say "One moment." itself. So each phrase of a named call is remembered with the words around it
(`OwnPhrase`), and is removed only there. Nothing is remembered of a request without a call; from its messages
only an acknowledgement is removed, at the start and before other words (`without_acknowledgements`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from unicodedata import category

from voicegw.events import Message

CONTEXT_LETTERS = 24
"""Letters before and after a phrase that are compared."""
MIN_CONTEXT_LETTERS = 16
"""Matching letters around a phrase that show it in a text that is not the beginning of its reply."""
MAX_EVIDENCE = 2 * CONTEXT_LETTERS
"""More evidence than this has only the beginning of the reply itself."""
MAX_QUESTION_LETTERS = 64
"""Letters that are remembered of the caller's words before a reply: the last ones."""
PHRASE_END = re.compile(r"\s*(?:[.…。।!?！？]+\s*|[-–—]+\s*$)?")
"""The punctuation and the space behind a phrase. Platforms change both, and mark a cut with a dash."""
MAX_CACHED_CHARS = 500
"""Longer texts are not cached. Each turn of a call brings the texts of the turns before it again."""
LETTERS = re.compile(r"[^\W_]+")
ASCII_LETTERS = {code: chr(code).lower() if chr(code).isalnum() else None for code in range(128)}
"""The table that `str.translate` needs for the letters and digits of an ASCII text, in lower case."""


@dataclass(frozen=True, slots=True)
class OwnPhrase:
    """A phrase that the gateway said in a call. The texts are letters only (`letters_of`)."""

    reply: str
    """All words of the reply that the phrase is in, the agent's and the gateway's."""
    start: int
    end: int
    """The place of the phrase in `reply`."""
    question: str
    """The end of the caller's words that the reply answers."""

    @property
    def phrase(self) -> str:
        """The phrase itself."""
        return self.reply[self.start : self.end]


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in an assistant message where an own phrase is, in letters."""

    index: int
    """The position of the message in the history."""
    start: int
    end: int
    evidence: int
    """The number of letters that show it."""


def letters_of(text: str) -> str:
    """Return the letters and digits of a text in lower case: platforms change space and punctuation."""
    if text.isascii():
        return text.translate(ASCII_LETTERS)  # ten times as fast
    return _cached_letters(text) if len(text) <= MAX_CACHED_CHARS else _find_letters(text)


def _find_letters(text: str) -> str:
    return "".join(LETTERS.findall(text)).casefold()


_cached_letters = lru_cache(maxsize=4096)(_find_letters)


def find_own_phrases(pieces: Iterable[tuple[str, bool]], question: str) -> list[OwnPhrase]:
    """Return the gateway's phrases in a reply to the caller's words `question`.

    `pieces` are the texts of the reply in their order, each with True if it is the gateway's.
    """
    letters = [(letters_of(text), is_own) for text, is_own in pieces]
    reply, key = "".join(text for text, _ in letters), question_key(question)
    found, start = [], 0
    for text, is_own in letters:
        if is_own and text:
            found.append(OwnPhrase(reply, start, start + len(text), key))
        start += len(text)
    return found


def question_key(text: str) -> str:
    """Return the part of the caller's words that is compared."""
    return letters_of(text)[-MAX_QUESTION_LETTERS:]


def without_own_phrases(messages: Sequence[Message], phrases: Sequence[OwnPhrase]) -> tuple[Message, ...]:
    """Return the messages without these phrases, each removed once. Messages of nothing else are left out.

    A reply is known by the caller's words before it, and by its own beginning: the caller may have
    interrupted it. A platform may also change texts, or split and join replies. There a phrase is removed
    only between the same words as in the reply.
    """
    if not phrases:
        return tuple(messages)
    texts: list[tuple[int, str]] = []
    answers: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    question = ""
    for index, message in enumerate(messages):
        if message.role == "user":
            question = question_key(message.text)
            answers[question] += ()
        elif message.role == "assistant" and message.text and not message.parts:
            texts.append((index, letters_of(message.text)))
            answers[question].append(texts[-1])
    taken: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for phrase in phrases:
        is_known = phrase.question in answers
        places = (
            place
            for index, text in (answers[phrase.question] if is_known else texts)
            for place in _places(phrase, index, text, is_answer=is_known)
            if all(place.end <= start or end <= place.start for start, end in taken.get(index, ()))
        )
        if (place := max(places, key=lambda place: place.evidence, default=None)) is not None:
            taken[place.index].append((place.start, place.end))
    return _cut(messages, taken)


def _places(phrase: OwnPhrase, index: int, text: str, *, is_answer: bool) -> Iterator[_Place]:
    """Yield the places of a text where the phrase may be; `is_answer`: it answers the same question."""
    if is_answer and phrase.reply.startswith(text):
        if phrase.start < len(text):
            yield _Place(index, phrase.start, min(phrase.end, len(text)), MAX_EVIDENCE + len(text))
        return
    letters = phrase.phrase
    start = text.find(letters)
    if start < 0:
        return
    before = phrase.reply[max(0, phrase.start - CONTEXT_LETTERS) : phrase.start]
    after = phrase.reply[phrase.end : phrase.end + CONTEXT_LETTERS]
    length = len(letters)
    while start >= 0:
        left, right = text[:start], text[start + length :]
        fits = left.endswith(before) or before.endswith(left)
        fits = fits and (right.startswith(after) or after.startswith(right))
        evidence = min(len(left), len(before)) + min(len(right), len(after))
        if fits and evidence >= MIN_CONTEXT_LETTERS:
            yield _Place(index, start, start + length, evidence)
        start = text.find(letters, start + 1)


def _cut(messages: Sequence[Message], ranges: Mapping[int, Sequence[tuple[int, int]]]) -> tuple[Message, ...]:
    """Return the messages without the text in these ranges, by the position of the message."""
    cleaned = []
    for index, message in enumerate(messages):
        if index in ranges:
            message = replace(message, text=_cut_text(message.text, sorted(ranges[index])))
        if index not in ranges or message.text or message.tool_calls:
            cleaned.append(message)
    return tuple(cleaned)


def _cut_text(text: str, ranges: Sequence[tuple[int, int]]) -> str:
    """Return the text without these ranges, which are given in letters, and the punctuation behind them."""
    kept, position = [], 0
    for start, end in ranges:
        kept.append(text[position : _char_position(text, start) if start else 0])
        position = _char_position(text, end - 1) + 1
        while position < len(text) and category(text[position]).startswith("M"):
            position += 1  # a vowel sign or another mark on the last letter
        position += len(PHRASE_END.match(text, position)[0])  # type: ignore[index]  # it matches ""
    return "".join(kept) + text[position:]


def _char_position(text: str, letter: int) -> int:
    """Return the position in the text of its letter with this number. The text has that letter."""
    words = LETTERS.finditer(text)
    word = next(words)
    while letter >= (count := len(letters_of(word[0]))):
        letter -= count
        word = next(words)
    if count == len(word[0]):
        return word.start() + letter
    counts = accumulate(len(letters_of(char)) for char in word[0])  # such as "ß", which is two letters here
    return word.start() + next(position for position, count in enumerate(counts) if count > letter)


def without_acknowledgements(messages: Sequence[Message], phrases: Sequence[str]) -> tuple[Message, ...]:
    """Return the messages without one of these phrases at the start of an assistant message.

    It is removed if punctuation and other words follow. A message of a phrase alone stays: nothing shows
    whether the agent said it.
    """
    pattern = _opening_pattern(tuple(phrases))
    if pattern is None:
        return tuple(messages)
    return tuple(
        replace(message, text=message.text[match.end() :])
        if message.role == "assistant" and not message.parts and (match := pattern.match(message.text))
        else message
        for message in messages
    )


@lru_cache(maxsize=256)
def _opening_pattern(phrases: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return the pattern of a phrase with any white space, its punctuation, and other words after it."""
    words = [phrase.strip().rstrip(".…。।!?！？,;: ").split() for phrase in phrases]
    patterns = [r"\s*".join(map(re.escape, phrase)) for phrase in words if phrase]
    if not patterns:
        return None
    return re.compile(rf"\s*(?:{'|'.join(patterns)})\s*[.…。।!?！？]+\s*(?=\W*\w)", re.IGNORECASE)
