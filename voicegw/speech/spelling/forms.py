"""The patterns of written forms in one language: numbers, prices, dates, times, units and so on.

They find forms and say nothing: `verbalizer` turns a match into words. The order of `FormPatterns.patterns`
counts: the first pattern that matches decides, also if its kind is not spelled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from voicegw.speech.spelling.cldr import LocaleData
from voicegw.speech.spelling.symbols import CURRENCIES
from voicegw.speech.spelling.words import GERMAN_ARTICLES, LABELS, MAGNITUDES, NAMES, STREET_WORDS, WORDS

BLANKS = " \u00a0\u202f"
SPACE = f"[{BLANKS}]"
SIGN = r"[+\-−]?"
RANGE = rf"{SPACE}?[-–]{SPACE}?"
SYMBOLS = "$€£¥₹₽₺₩₪"
PREFIXES = tuple(sorted((name for name in CURRENCIES if name not in ("zł", "Fr.")), key=len, reverse=True))
CODES = tuple(name for name in PREFIXES if name[0].isalpha())
CODE_PARTS = sorted(
    {code[:size] for code in CODES for size in range(1, len(code) + 1)}, key=len, reverse=True
)
ORDINALS: Mapping[str, str] = {
    "en": r"(?P<number>\d+)(?P<mark>st|nd|rd|th)",
    "fr": r"(?P<number>\d+)(?P<mark>ère|ères|ème|ers|er|re|e)",
    "es": r"(?P<number>\d+)\.?(?P<mark>[ºª°])",
    "it": r"(?P<number>\d+)\.?(?P<mark>[ºª°])",
    "pt": r"(?P<number>\d+)\.?(?P<mark>[ºª°])",
    "nl": r"(?P<number>\d+)(?P<mark>ste|de|e)",
    "ru": r"(?P<number>\d+)-(?P<mark>й|я|е)",
    "hi": r"(?P<number>\d+)(?P<mark>वाँ|वां|वें|वीं)",
}
"""The ordinals of each language; the others have none that is marked."""
HALF_DAYS = r"(?P<half>[AaPp]\.?[Mm]\b\.?)"
HOUR_WORDS: Mapping[str, str] = {"de": "Uhr", "nl": "uur", "sv": "", "pt": "horas", "es": "h", "it": "h"}
CLOCK = r"(?P<h{0}>[01]?\d|2[0-4])(?:{1})(?P<m{0}>[0-5]\d)(?::[0-5]\d)?"
PHONES = (
    rf"\+\d[\d /().-]{{6,22}}\d|\(\d{{3,5}}\){SPACE}?\d{{3}}[ -]?\d{{3,8}}(?:[ -]\d{{2,5}})*"
    r"|(?:1-)?\d{3}[.-]\d{3}[.-]\d{4}|0\d{1,5}(?:[ /-]{1,3}\d{2,8}){1,4}|0\d(?:[ .]\d\d){4}"
)


def any_of(names: Iterable[str]) -> str:
    """Return a pattern of these names, the longest first."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)"


@dataclass(frozen=True, slots=True)
class FormPattern:
    """One kind of form."""

    kind: str
    """One of `options.SPELLINGS`, or "labels" for a number that stays as it is written."""
    pattern: re.Pattern[str]
    before: re.Pattern[str] | None = None
    """The form counts only behind text with this end."""


class FormPatterns:
    """The compiled patterns of one language, and the words behind a number that may belong to it."""

    def __init__(self, locale: LocaleData, currency_names: Iterable[str], units: Iterable[str]) -> None:
        """`currency_names` are in lower case; `units` are symbols and names."""
        self.locale, self.language = locale, locale.language
        self.is_wide = WORDS[self.language].glue == ""
        group = (
            re.escape(locale.group_mark) + BLANKS
            if locale.group_mark in "\u00a0\u202f "
            else (re.escape(locale.group_mark) + "\u00a0\u202f")
        )
        size = "{2,3}" if self.language == "hi" else "{3}"
        whole = rf"(?:\d{{1,3}}(?:[{group}]\d{size})+(?!\d)|\d+)"
        self.number = rf"{whole}(?:{re.escape(locale.decimal_mark)}\d+)?"
        letter = "[0-9A-Za-z]" if self.is_wide else r"\w"
        self.end = rf"(?!{letter}|[@#_/\\*^=&~°²³%€£])(?![.,:;'’/–]{letter})(?!-\d)"
        self.suffixes = any_of([*CURRENCIES, *currency_names])
        self.units = frozenset(units)
        full = {name.lower() for name in locale.month_names}
        self.months = f"{any_of(full)}|(?:{any_of(set(locale.months) - full)})\\b\\.?"
        self.magnitude = MAGNITUDES.get(self.language, "(?!)")
        self.hour_word = HOUR_WORDS.get(self.language, "")
        self.patterns = [
            FormPattern(kind, re.compile(pattern + self.end)) for kind, pattern in self._sources()
        ]
        self._add_dependent_patterns()
        words = [*units, *CURRENCIES, *currency_names, *locale.months, *self.magnitude.split("|")]
        words += STREET_WORDS.get(self.language, "").split("|")
        words += ["am", "pm", "a.m", "p.m", "a.m.", "p.m.", self.hour_word, "h", "heures"]
        self.next_words = {word.replace("\\", "").lower().rstrip(".") for word in words} - {""}
        self.next_parts = {word[:size] for word in self.next_words for size in range(1, len(word) + 1)}

    def _add_dependent_patterns(self) -> None:
        """Add the patterns that count only behind certain words."""
        number = next(index for index, form in enumerate(self.patterns) if form.kind == "numbers")
        label_ends = LABELS if self.language == "de" else f"{LABELS}|{NAMES}"
        label = FormPattern("labels", re.compile(r"\d[\w.,/-]*"), re.compile(label_ends, re.IGNORECASE))
        self.patterns.insert(number, label)
        if self.language == "en":
            month = rf"\b(?:{self.months})\.?{SPACE}"
            self._insert("dates", r"(?P<day>[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?", month)
            self._insert("dates", r"(?P<year>\d{4})", month + rf"\d{{1,2}}(?:st|nd|rd|th)?,?{SPACE}")
        if self.language == "de":
            self._insert("ordinals", r"(?P<number>\d{1,3})\.(?P<mark>)", GERMAN_ARTICLES)

    def _insert(self, kind: str, pattern: str, before: str) -> None:
        """Insert a pattern before that of plain numbers."""
        form = FormPattern(kind, re.compile(pattern + self.end), re.compile(before + r"\Z", re.IGNORECASE))
        self.patterns.insert(-2, form)

    def _sources(self) -> Iterable[tuple[str, str]]:
        """Yield each pattern with its kind, in the order in which they are tried."""
        number, space = self.number, f"{SPACE}?"
        amount = rf"(?P<sign>{SIGN})(?P<number>{number})(?:{RANGE}(?P<until>{number}))?"
        prefix = any_of(PREFIXES)
        yield "dates", r"(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})"
        yield "dates", self._numeric_date()
        yield (
            "dates",
            (
                rf"(?P<day>\d{{1,2}})(?:\.|st|nd|rd|th|er|º)?{SPACE}(?P<name>(?i:{self.months}))"
                rf"(?:,?{SPACE}(?P<year>\d{{4}}))?"
            ),
        )
        yield "phones", rf"(?P<phone>{PHONES})"
        yield from self._times()
        yield (
            "money",
            (
                rf"(?P<sign>{SIGN})(?P<currency>{prefix}){space}(?P<inner>{SIGN})(?P<number>{number})"
                rf"(?:{RANGE}(?:{prefix})?{space}(?P<until>{number}))?(?:{SPACE}(?P<magnitude>{self.magnitude}))?"
            ),
        )
        yield (
            "money",
            (
                rf"{amount}(?:{SPACE}(?P<magnitude>{self.magnitude}))?{space}(?P<currency>(?i:{self.suffixes}))"
            ),
        )
        yield "units", rf"{amount}{space}(?P<unit>{any_of(self.units)})"
        if self.language in ORDINALS:
            yield "ordinals", ORDINALS[self.language]
        yield "numbers", rf"(?P<sign>{SIGN})(?P<number>{number})(?:[-–](?P<until>{number}))?"

    def _numeric_date(self) -> str:
        parts = {"d": r"(?P<day>\d{1,2})", "m": r"(?P<month>\d{1,2})", "y": r"(?P<year>\d{4})"}
        first, second, third = (parts[part] for part in self.locale.date_order)
        return rf"{first}(?P<mark>[./-]){second}(?P=mark){third}"

    def _times(self) -> Iterable[tuple[str, str]]:
        colon = CLOCK.format(1, ":")
        until = f"(?:{RANGE}{CLOCK.format(2, ':')})?"
        if self.language == "en":
            hour, half = "(?P<h{0}>1[0-2]|[1-9])", rf"(?:{SPACE}?{HALF_DAYS.replace('half', 'half1')})?"
            until = f"(?:{half}{RANGE}{CLOCK.format(2, ':')})?"
            yield "times", rf"{colon}{until}(?:{SPACE}?{HALF_DAYS})?"
            until = f"(?:{half}{RANGE}{hour.format(2)})?"
            yield "times", rf"{hour.format(1)}{until}{SPACE}?{HALF_DAYS}"
        elif self.language in ("fr", "pt", "es", "it"):
            yield "times", CLOCK.format(1, rf"{SPACE}?h{SPACE}?")
            yield "times", rf"{colon}{until}(?:{SPACE}h\b)?"
        else:
            word = rf"(?:{SPACE}{self.hour_word}\b)?" if self.hour_word else ""
            yield "times", rf"{colon}{until}{word}"
            if self.hour_word:
                yield "times", CLOCK.format(1, r"\.") + rf"{SPACE}{self.hour_word}\b"
                yield (
                    "times",
                    rf"(?P<h1>[01]?\d|2[0-4])(?:{RANGE}(?P<h2>[01]?\d|2[0-4]))?{SPACE}{self.hour_word}\b",
                )
