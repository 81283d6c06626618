"""What we said stays out of the agent's mind.

Platforms send back what they spoke, our own words included: acknowledgements at the start of an
assistant message, lines of progress and apologies further in; cut short where the caller spoke up, and
with the white space changed. They are taken out here, and never a word of the agent's own. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice

from voicegw.events import Message

END = r"\s*(?:[.…。।!?！？]+\s*|$)"
"""What follows a phrase of ours: the end that we gave it, or that of a message cut there. Words that go on
are the agent's own ("One moment of your time")."""
LEAST = 4
"""Letters of a phrase that must be left for a cut one to be recognised."""


@lru_cache(maxsize=256)
def own_phrase_filter(opening: tuple[str, ...], anywhere: frozenset[str]) -> OwnPhraseFilter:
    """An `OwnPhraseFilter` for these phrases; there are few sets of them, and many turns."""
    return OwnPhraseFilter(opening, anywhere)


class OwnPhraseFilter:
    """Removes phrases of ours from assistant messages.

    `opening` are recognised at the start of a message only, `anywhere` also further in. A message that
    is nothing but the beginning of a phrase was cut short by the caller, and disappears.
    """

    def __init__(self, opening: Collection[str], anywhere: Collection[str] = ()) -> None:
        within = [_loosely(phrase) for phrase in anywhere]
        first = [*map(_loosely, opening), *within]
        self._openings = sorted({_plain(phrase) for phrase in (*opening, *anywhere)})
        self._longest = max(map(len, self._openings), default=0)
        self._first = re.compile(rf"\s*(?:{'|'.join(first)}){END}", re.IGNORECASE) if first else None
        self._within = re.compile(rf"(?:{'|'.join(within)}){END}", re.IGNORECASE) if within else None

    def clean(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages as the agent should see them. Those that were ours alone are left out."""
        cleaned = (self._message(message) for message in messages)
        return tuple(message for message in cleaned if message is not None)

    def _message(self, message: Message) -> Message | None:
        if message.role != "assistant" or not message.text or message.parts:
            return message
        text = self.text(message.text)
        if text == message.text:
            return message
        return replace(message, text=text) if text or message.tool_calls else None

    def text(self, said: str) -> str:
        """One message's text without ours."""
        left = said
        while self._first is not None and (found := self._first.match(left)):
            left = left[found.end() :]
        if self._within is not None:
            left = self._within.sub("", left)
        return "" if self._cut(left) else left

    def _cut(self, text: str) -> bool:
        """Is this the beginning of a phrase of ours, and nothing else?"""
        plain = _plain(text, self._longest + 1)
        return len(plain) >= LEAST and any(phrase.startswith(plain) for phrase in self._openings)


def _plain(text: str, most: int | None = None) -> str:
    """Letters and digits, for comparing what may have been re-spaced; the first `most` of them."""
    return "".join(islice(filter(str.isalnum, text.casefold()), most))


def _loosely(phrase: str) -> str:
    """A pattern for a phrase whatever happened to its white space and its end."""
    words = phrase.strip().rstrip(".…。।!?！？,;: ").split()
    return r"\s*".join(map(re.escape, words))
