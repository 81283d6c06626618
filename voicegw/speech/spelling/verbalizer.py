"""Turns the match of a written form into words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from voicegw.speech.spelling.amounts import AmountWords
from voicegw.speech.spelling.cldr import LocaleData
from voicegw.speech.spelling.moments import MomentWords
from voicegw.speech.spelling.numbers import Form, NumberWords

Say: TypeAlias = "Callable[[Form, str, str], str | None]"
"""`say(form, before, after)` returns the words of a form between these texts; None leaves the form."""


class Verbalizer:
    """Says the written forms of one language."""

    def __init__(self, locale: LocaleData) -> None:
        numbers = NumberWords(locale)
        self.amounts = AmountWords(numbers)
        moments = MomentWords(numbers)
        self._say_by_kind: dict[str, Say] = {
            "phones": numbers.phone,
            "dates": moments.date,
            "times": moments.time,
            "money": self.amounts.money,
            "units": self.amounts.unit,
            "ordinals": numbers.ordinal,
            "numbers": numbers.plain_number,
        }

    def say(self, kind: str, match: re.Match[str], before: str, after: str) -> str | None:
        """Return the words of a form of this kind. `before` and `after` are the text around it."""
        return self._say_by_kind[kind](match.groupdict(), before, after)
