"""Says amounts of units and of money; None leaves a form as it is written."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Literal

from voicegw.speech.spelling.numbers import Form, NumberWords
from voicegw.speech.spelling.symbols import CURRENCIES, MINOR_UNITS, PERCENT, TIME_SPANS, UNITS
from voicegw.speech.spelling.words import WRITTEN_OUT

LENGTHS: tuple[Literal["long", "short"], ...] = ("long", "short")


class AmountWords:
    """The amounts of one language in words."""

    def __init__(self, numbers: NumberWords) -> None:
        self.numbers, self.locale = numbers, numbers.locale
        self.language, self.words = numbers.language, numbers.words
        # The names of currencies in lower case, with their codes.
        self.currency_names: dict[str, str] = {}
        for code in dict.fromkeys(CURRENCIES.values()):
            names = {self.locale.currency(code, Decimal(number)) for number in (1, 2, 5)}
            names |= {*self.words.short_names.get(code, ())}
            self.currency_names |= {name.lower(): code for name in names}
        # The symbols and the names of units, with their names in the locale data.
        self.units = self._find_units()

    def _find_units(self) -> dict[str, str]:
        """Return the symbols and the names of units with their names in the locale data."""
        units: dict[str, str] = {}
        for unit in dict.fromkeys((*UNITS.values(), *TIME_SPANS)):
            for length, number in product(LENGTHS, (1, 2, 5)):
                name = self.locale.unit(unit, Decimal(number), length).replace("{0}", "").strip()
                if name and " " not in name and not (length == "short" and unit in TIME_SPANS):
                    units[name] = unit
        return {**units, **UNITS}

    def gender(self, name: str) -> str:
        """Return the grammatical gender of a thing with this name, which is in the singular."""
        if self.language in ("en", "nl", "tr", "hi", "ja", "zh"):
            return ""
        word = name.split()[0] if self.language in ("fr", "es", "it", "pt", "ar") else name.split()[-1]
        return "feminine" if word.endswith(self.words.feminine) and self.words.feminine else "masculine"

    def unit(self, form: Form, before: str, after: str) -> str | None:
        """Return a number of units, or a range of them."""
        unit = self.units[form["unit"] or ""]
        name = self.locale.unit(unit, Decimal(1)).replace("{0}", "").strip()
        said = self.numbers.range(form, self.gender(name))
        if said is None:
            return None
        if unit == PERCENT and self.words.percent:
            return self.words.percent.format(said)
        template = self.locale.unit(unit, self.numbers.value(form["until"] or form["number"] or "0"))
        return (template if self.words.glue else template.replace(" ", "")).format(said)

    def money(self, form: Form, before: str, after: str) -> str | None:
        """Return an amount of money, or a range of amounts."""
        symbol = form["currency"] or ""
        code = CURRENCIES.get(symbol) or self.currency_names.get(symbol.lower(), "")
        if code == "JPY" and symbol == "¥" and self.language == "zh":
            code = "CNY"
        number, magnitude = form["number"] or "", form["magnitude"]
        form["sign"] = form["sign"] or form.get("inner")
        value = self.numbers.value(form["until"] or number)
        name = self.currency_name(code or symbol, Decimal(2 * 10**6) if magnitude else value)
        gender = self.gender(self.currency_name(code or symbol, Decimal(1)))
        if (
            not form["until"]
            and not magnitude
            and len(self.numbers.split(number)[1]) == 2
            and self.words.price
        ):
            return self.price(form, code, gender)
        said = self.numbers.range(form, gender)
        if said is None:
            return None
        glue = self.words.glue
        of = "de " if magnitude and self.language in ("fr", "es", "pt") and magnitude != "mil" else ""
        of = "di " if magnitude and self.language == "it" else of
        scale = f" {WRITTEN_OUT.get(magnitude, magnitude)}" if magnitude else ""
        return f"{said}{scale}{glue}{of}{name}"

    def currency_name(self, code: str, value: Decimal) -> str:
        """Return the usual name of a currency for this number of it."""
        names = self.words.short_names.get(code)
        if names is None:
            return self.locale.currency(code, value)
        if len(names) == 2:
            return names[0] if value == 1 else names[1]
        full = self.locale.currency(code, value)
        forms = [self.locale.currency(code, Decimal(number)) for number in (1, 2, 5)]
        return names[forms.index(full)] if full in forms else full

    def price(self, form: Form, code: str, gender: str) -> str | None:
        """Return a price with two decimals, such as "five euros fifty"."""
        whole, decimals = self.numbers.split(form["number"] or "")
        major = self.numbers.number(whole, gender, form["sign"] or "")
        if major is None:
            return None
        name, cents = self.currency_name(code, Decimal(int(whole))), int(decimals)
        if not cents:
            return f"{major}{self.words.glue}{name}"
        minor = self.locale.cardinal(cents)
        if self.language == "en":
            minor += f" {MINOR_UNITS[code][cents > 1]}" if code in MINOR_UNITS else ""
            if int(whole) == 0 and code in MINOR_UNITS:
                return self.numbers.signed(form["sign"] or "", minor)
        return self.words.price.format(major=major, name=name, minor=minor)
