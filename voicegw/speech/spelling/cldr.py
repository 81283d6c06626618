"""Numbers, units, currencies and months in words, from babel and unicode-rbnf (the extra `spell`).

Both packages hold the Unicode consortium's locale data (CLDR). This module finds no written forms.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal

PACKAGES = ("babel", "unicode_rbnf")
MAX_INTEGER = 10**15
"""A larger number is no quantity that a caller follows; it stays as it is written."""
CARDINALS = {"en": "spellout-cardinal", "de": "spellout-numbering", "zh": "spellout-cardinal"}


def missing_packages() -> list[str]:
    """Return the names of the packages of the extra `spell` that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


class LocaleData:
    """The words of one language for numbers and names."""

    def __init__(self, language: str, region: str = "") -> None:
        """`language` is a code such as "de"; the region, such as "AT", counts for separators and dates."""
        from babel import Locale, UnknownLocaleError
        from babel.numbers import get_decimal_symbol, get_group_symbol
        from unicode_rbnf import RbnfEngine

        self.language = language
        try:
            self._locale = Locale(language, region or None)
        except UnknownLocaleError:
            self._locale = Locale(language)
        self._engine = RbnfEngine.for_language(self.language)
        self._rules = frozenset(self._engine.rulesets)
        self.decimal_mark: str = get_decimal_symbol(self._locale)
        self.group_mark: str = get_group_symbol(self._locale)
        short = self._locale.date_formats["short"].pattern.lower()
        self.date_order: str = "".join(sorted("dmy", key=short.index))
        self.months = {
            name.lower().rstrip("."): number
            for width in ("wide", "abbreviated")
            for number, name in self._locale.months["format"][width].items()
        }
        if language == "en":
            self.months["sept"] = 9
        self.month_names: list[str] = list(self._locale.months["format"]["wide"].values())
        self._spell = lru_cache(maxsize=4096)(self._spell_number)

    def cardinal(self, number: int, gender: str = "") -> str:
        """Return a number in words, in the form that counts things of this grammatical gender."""
        rules = (f"spellout-cardinal-{gender}", CARDINALS.get(self.language, ""), "spellout-numbering")
        return self._spell(number, next(rule for rule in rules if rule in self._rules))

    def ordinal(self, number: int, form: str) -> str:
        """Return an ordinal number in words, in a form that the language has, such as "-feminine"."""
        return self._spell(number, f"spellout-ordinal{form}")

    def year(self, number: int) -> str:
        """Return a year in words."""
        if self.language == "zh":
            return "".join("〇一二三四五六七八九"[int(digit)] for digit in str(number))
        return self._spell(number, "spellout-numbering-year")

    def _spell_number(self, number: int, rule: str) -> str:
        return str(self._engine.format_number(number, ruleset_names=[rule]).text).replace("\u00ad", "")

    def unit(self, unit: str, number: Decimal, length: Literal["short", "long"] = "long") -> str:
        """Return the name of a unit for this number of it, with "{0}" in place of the number.

        `length` is "long" for the name, "short" for the symbol.
        """
        from babel.numbers import format_decimal
        from babel.units import format_unit

        whole = format_unit(number, unit, length=length, locale=self._locale)
        return whole.replace(format_decimal(number, locale=self._locale), "{0}").replace("\xa0", " ")

    def currency(self, code: str, number: Decimal) -> str:
        """Return the name of a currency for this number of it."""
        from babel.numbers import get_currency_name

        return str(get_currency_name(code, number, locale=self._locale))
