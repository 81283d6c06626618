"""Remove the gateway's own phrases from the history that the agent sees. Pure.

Platforms send back all words that they spoke, the gateway's included: acknowledgements at the start of an
assistant message, progress phrases and apologies further in. A phrase may be cut off where the caller
interrupted it, and its white space may differ. Words of the agent are never removed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice

from voicegw.events import Message

PHRASE_END = r"\s*(?:[.…。।!?！？]+\s*|$)"
"""The pattern that follows a phrase: its punctuation, or the end of a message that was cut off there.

If other words follow, the sentence is the agent's own ("One moment of your time").
"""
MIN_CUT_LETTERS = 4
"""Minimum length, in letters, at which a cut-off text is recognised as the beginning of a phrase."""


@lru_cache(maxsize=256)
def own_phrase_filter(opening: tuple[str, ...], anywhere: frozenset[str]) -> OwnPhraseFilter:
    """Return the `OwnPhraseFilter` for these phrases. It is cached: phrase sets are few, turns are many."""
    return OwnPhraseFilter(opening, anywhere)


class OwnPhraseFilter:
    """Removes the gateway's phrases from assistant messages.

    Phrases in `opening` are recognised at the start of a message only, those in `anywhere` also further in.
    A message that is only the beginning of a phrase was cut off by the caller, and is removed.
    """

    def __init__(self, opening: Collection[str], anywhere: Collection[str] = ()) -> None:
        anywhere_patterns = [_phrase_pattern(phrase) for phrase in anywhere]
        opening_patterns = [*map(_phrase_pattern, opening), *anywhere_patterns]
        # The letters of all phrases, to recognise the beginning of one.
        self._letters = sorted({_letters(phrase) for phrase in (*opening, *anywhere)})
        self._max_letters = max(map(len, self._letters), default=0)
        # A phrase at the start of a message; None without phrases.
        self._opening = _any_of(opening_patterns, prefix=r"\s*")
        # A phrase anywhere in a message; None without such phrases.
        self._anywhere = _any_of(anywhere_patterns)

    def clean(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages without own phrases. Messages that hold nothing else are left out."""
        cleaned = (self._clean_message(message) for message in messages)
        return tuple(message for message in cleaned if message is not None)

    def _clean_message(self, message: Message) -> Message | None:
        if message.role != "assistant" or not message.text or message.parts:
            return message
        text = self.clean_text(message.text)
        if text == message.text:
            return message
        return replace(message, text=text) if text or message.tool_calls else None

    def clean_text(self, text: str) -> str:
        """Return the text of one assistant message without own phrases."""
        while self._opening is not None and (match := self._opening.match(text)):
            text = text[match.end() :]
        if self._anywhere is not None:
            text = self._anywhere.sub("", text)
        return "" if self._is_phrase_beginning(text) else text

    def _is_phrase_beginning(self, text: str) -> bool:
        letters = _letters(text, self._max_letters + 1)
        return len(letters) >= MIN_CUT_LETTERS and any(phrase.startswith(letters) for phrase in self._letters)


def _any_of(patterns: Sequence[str], prefix: str = "") -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile(rf"{prefix}(?:{'|'.join(patterns)}){PHRASE_END}", re.IGNORECASE)


def _letters(text: str, max_letters: int | None = None) -> str:
    """Return the first letters and digits in lower case, so that white space and marks do not matter."""
    return "".join(islice(filter(str.isalnum, text.casefold()), max_letters))


def _phrase_pattern(phrase: str) -> str:
    """Return a pattern for a phrase with any white space and without its punctuation."""
    words = phrase.strip().rstrip(".…。।!?！？,;: ").split()
    return r"\s*".join(map(re.escape, words))
