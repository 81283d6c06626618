"""The part of a reply that the caller heard, without the gateway's own words. Pure.

Platforms report what was heard as text, often with other white space, case, punctuation and Unicode form, and
with the gateway's own words in it. Letters and digits are compared, not words: many languages
write no spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from unicodedata import normalize

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
"""A character of a script without spaces: Thai, Lao, Burmese, Khmer, Japanese or Chinese."""


@dataclass(frozen=True, slots=True)
class SpokenReply:
    """Everything that was said in one turn."""

    text: str = ""
    """The words, the gateway's own included, as they were sent to the platform."""
    own_spans: tuple[tuple[int, int], ...] = ()
    """The gateway's own words: start and end in `text`, in order."""

    @property
    def agent_text(self) -> str:
        """The agent's words."""
        return self.agent_text_until(len(self.text))

    def agent_text_until(self, end: int) -> str:
        """Return the agent's words within the first `end` characters."""
        parts, position = [], 0
        for start, stop in self.own_spans:
            parts.append(self.text[position : min(start, end)])
            position = max(position, stop)
        return "".join((*parts, self.text[position : max(position, end)])).strip()

    def heard_text(self, report: str) -> str | None:
        """Return the agent's words that the caller heard, in whole words; None if the report fits nothing.

        `report` is the heard part as the platform has it, "" for nothing, with or without the own words.
        """
        for reply in (self, SpokenReply(self.agent_text)):
            if is_beginning(report, reply.text):
                return reply.agent_text_until(heard_end(reply.text, report))
        end = heard_end(self.text, report)
        return self.agent_text_until(end) if end else None

    def has_beginning(self, report: str) -> bool:
        """Is this report a part of the reply, up to where the caller interrupted it?"""
        return is_beginning(report, self.text) or is_beginning(report, self.agent_text)


def is_beginning(part: str, text: str) -> bool:
    """Does the text begin with the part, by its letters and digits?"""
    letters = iter(letters_of(text))
    return all(letter == next(letters, ("", 0))[0] for letter, _ in letters_of(part))


def heard_end(text: str, report: str) -> int:
    """Return where the words end with which `text` and `report` begin: an index in `text`."""
    end, remaining = 0, letters_of(text)
    for letter, _ in letters_of(report):
        other, position = next(remaining, ("", 0))
        if letter != other:
            break
        end = position
    return word_end(text, end)


def word_end(text: str, end: int) -> int:
    """Return the end of the last whole word within the first `end` characters, with its punctuation.

    A word ends at white space, and after each character of a script that writes none.
    """
    if not end:
        return 0
    after = end
    while after < len(text) and not (text[after].isalnum() or text[after].isspace()):
        after += 1
    inside = after < len(text) and not text[after].isspace()
    if not inside or UNSPACED.match(text[end - 1]) or UNSPACED.match(text[after]):
        return after
    start = end
    while start and not text[start - 1].isspace() and not UNSPACED.match(text[start - 1]):
        start -= 1
    return len(text[:start].rstrip())


def letters_of(text: str) -> Iterator[tuple[str, int]]:
    """Yield the letters and digits of a text, each with the index behind its character.

    They are case folded and without accents, so that composed and decomposed characters are equal.
    """
    for index, char in enumerate(text, 1):
        for letter in normalize("NFKD", char.casefold()):
            if letter.isalnum():
                yield letter, index
