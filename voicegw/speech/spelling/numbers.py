"""Says numbers, ordinals, years and phone numbers; None leaves a form as it is written."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TypeAlias

from voicegw.speech.spelling.cldr import MAX_INTEGER, LocaleData
from voicegw.speech.spelling.words import GERMAN_ARTICLES, WORDS

Form: TypeAlias = "dict[str, str | None]"
"""The named groups of a match."""
MAX_BARE_DIGITS = 4
"""A longer number without separators may be a code or a postal code."""
MIN_PHONE_DIGITS, MAX_PHONE_DIGITS = 7, 15
"""The digits of a phone number; E.164 allows 15."""
MAX_DECIMALS = 9
YEARS = range(1900, 2100)
GERMAN_ARTICLE = re.compile(GERMAN_ARTICLES + r"\Z", re.IGNORECASE)
GERMAN_WEAK_NOMINATIVE = frozenset({"der", "die", "das"})
ORDINAL_FORMS = {
    **{"er": "-masculine", "ers": "-masculine", "re": "-feminine", "ère": "-feminine", "ères": "-feminine"},
    **{"e": "-masculine", "ème": "-masculine", "º": "-masculine", "°": "-masculine", "ª": "-feminine"},
    **{"й": "-masculine", "я": "-feminine", "е": "-neuter"},
    **{"वाँ": "-masculine", "वां": "-masculine", "वें": "-masculine", "वीं": "-feminine"},
}


class NumberWords:
    """The numbers of one language in words."""

    def __init__(self, locale: LocaleData) -> None:
        self.locale, self.language = locale, locale.language
        self.words = WORDS[self.language]

    def split(self, written: str) -> tuple[str, str]:
        """Return the digits of a number before and behind its decimal mark."""
        whole, _, decimals = written.partition(self.locale.decimal_mark)
        return re.sub(r"\D", "", whole), decimals

    def value(self, written: str) -> Decimal:
        """Return the value of a written number."""
        whole, decimals = self.split(written)
        return Decimal(f"{int(whole)}.{decimals}" if decimals else int(whole))

    def number(self, written: str, gender: str = "", sign: str = "") -> str | None:
        """Return a number in words; None for one that is too long, or that begins with a needless zero."""
        whole, decimals = self.split(written)
        if (
            int(whole) >= MAX_INTEGER
            or len(decimals) > MAX_DECIMALS
            or (whole[0] in "0०٠" and len(whole) > 1)
        ):
            return None
        said = self.locale.cardinal(int(whole), "" if decimals else gender)
        if decimals:
            if self.language == "ru":
                return None
            glue = self.words.glue
            digits = glue.join(self.locale.cardinal(int(digit)) for digit in decimals)
            said = f"{said}{glue}{self.words.point}{glue}{digits}"
        return self.signed(sign, said)

    def signed(self, sign: str, said: str) -> str:
        """Return the words of a number behind those of its sign, "" for none."""
        words = self.words
        return f"{words.plus if sign == '+' else words.minus}{words.glue}{said}" if sign else said

    def range(self, form: Form, gender: str = "") -> str | None:
        """Return a number, or a range of two numbers, in words."""
        number = self.number(form["number"] or "", gender, form["sign"] or "")
        if not form["until"] or number is None:
            return number
        until, glue = self.number(form["until"], gender), self.words.glue
        return None if until is None else f"{number}{glue}{self.words.to}{glue}{until}"

    def plain_number(self, form: Form, before: str, after: str) -> str | None:
        """Return a number without a unit, a range of numbers, or a year."""
        written = form["number"] or ""
        is_bare = written.isdigit()
        if is_bare and len(written) > MAX_BARE_DIGITS:
            return None
        if after[:1] == " " and after[1:].isalpha() and self.has_genders(written):
            return None
        if is_bare and len(written) == 4 and not form["sign"] and int(written) in YEARS:
            return self.years(written, form["until"])
        return self.range(form)

    def has_genders(self, written: str) -> bool:
        """Whether a whole number is another word before a feminine noun than before a masculine one."""
        whole, decimals = self.split(written)
        if decimals or int(whole) >= MAX_INTEGER:
            return False
        return self.locale.cardinal(int(whole), "masculine") != self.locale.cardinal(int(whole), "feminine")

    def years(self, written: str, until: str | None) -> str | None:
        """Return a year, or the years from one to another."""
        if until and not (until.isdigit() and len(until) == 4):
            return None
        years = [self.year(int(year)) for year in (written, until) if year]
        return f"{self.words.glue}{self.words.to}{self.words.glue}".join(years)

    def year(self, year: int) -> str:
        """Return a year as the language reads it."""
        if self.language == "zh" or (self.words.has_spoken_years and year in YEARS):
            return self.locale.year(year)
        return self.locale.cardinal(year)

    def ordinal(self, form: Form, before: str, after: str) -> str | None:
        """Return an ordinal number; its mark or the article before it shows its form."""
        number, mark = int(form["number"] or 0), form["mark"] or ""
        if number >= MAX_INTEGER:
            return None
        if self.language == "de":
            return self.locale.ordinal(number, german_form(before))
        return self.locale.ordinal(number, "" if self.language in ("en", "nl") else ORDINAL_FORMS[mark])

    def phone(self, form: Form, before: str, after: str) -> str | None:
        """Return a phone number digit by digit, with a pause between its groups."""
        written, glue = form["phone"] or "", self.words.glue
        groups = re.findall(r"\d+", written)
        if not MIN_PHONE_DIGITS <= sum(map(len, groups)) <= MAX_PHONE_DIGITS:
            return None
        said = [glue.join(self.locale.cardinal(int(digit)) for digit in group) for group in groups]
        plus = f"{self.words.plus}{glue}" if written[0] == "+" else ""
        return plus + ("，" if not glue else ", ").join(said)


def german_form(before: str) -> str:
    """Return the form of a German ordinal, which follows the article before it."""
    article = GERMAN_ARTICLE.search(before)
    return "-r" if article is None else "" if article[1].lower() in GERMAN_WEAK_NOMINATIVE else "-n"
