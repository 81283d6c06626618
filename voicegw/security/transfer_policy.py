"""Decides to which telephone numbers an agent may transfer a call, and writes them in E.164 form. Pure.

`phonenumbers`, which knows the numbering plans, is imported by the first `TransferPolicy`: it takes 50 ms and
3 MB, and a gateway without transfers does not need it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

PREFIX = re.compile(r"\+[1-9][0-9]{0,13}\*")
"""An entry of the allow-list that stands for all numbers with this beginning."""
MAX_LENGTH = 16
"""Characters of a number in E.164 form, "+" included."""
SPELLING = re.compile(r"(?:tel:)?[\d\s+＋()（）\[\].‐‑‒–—/-]{1,50}", re.IGNORECASE)
"""A number in a usual spelling. Letters are refused: words around a number would be dialed as digits."""
WRITE_INTERNATIONALLY = "Write one whole number with + and the country code, such as +15550100199."
"""The remedy for a number that is not understood."""


class TransferRefused(Exception):
    """The number is not dialed; the message is for the agent."""


class TransferPolicy:
    """The numbers to which one platform's agent may transfer calls."""

    def __init__(self, region: str = "", allowed: Sequence[str] | None = None) -> None:
        """Allow transfers to these numbers.

        `region` is the ISO 3166 code of the country of numbers without a country code, "" to refuse those.
        `allowed` are numbers, and prefixes that end in "*" (`"+4930*"`); None for all but premium-rate
        numbers. Raises `ValueError` for an entry that is neither.
        """
        import phonenumbers  # here, because of its size

        self._library = phonenumbers
        self.region = region
        self.prefixes: tuple[str, ...] = ()
        self.numbers: frozenset[str] | None = None  # None for no allow-list
        if allowed is not None:
            self.prefixes = tuple(entry[:-1] for entry in allowed if PREFIX.fullmatch(entry))
            self.numbers = frozenset(
                self._parse_allowed(entry) for entry in allowed if not PREFIX.fullmatch(entry)
            )
        self._is_premium("+15550100199")  # loads the 25 regions of North America, 40 ms, before a call does

    @property
    def knows_region(self) -> bool:
        """Is `region` the code of a country? Numbers without a country code are refused otherwise."""
        return self.region in self._library.SUPPORTED_REGIONS

    def resolve(self, number: str) -> str:
        """Return the number in E.164 form. Raises `TransferRefused` if it is no number or is not allowed."""
        found = self._parse(number)
        if self.numbers is None:
            if self._is_premium(found):
                raise TransferRefused("Premium-rate numbers are not allowed.")
        elif found not in self.numbers and not found.startswith(self.prefixes):
            raise TransferRefused("This number is not among those to which calls may be transferred.")
        return found

    def _parse_allowed(self, entry: str) -> str:
        try:
            return self._parse(entry)
        except TransferRefused:
            raise ValueError(
                f'"{entry}" is neither a number such as "+15550100199" nor a prefix such as "+4930*"'
            ) from None

    def _parse(self, number: str) -> str:
        """Return E.164; a number without a country code has to be valid in `region`, not only possible."""
        text = number.strip()
        if not SPELLING.fullmatch(text):
            raise TransferRefused(f"This is no telephone number. {WRITE_INTERNATIONALLY}")
        for region in (None, self.region or None):
            try:
                found = self._library.parse(text, region)
            except self._library.NumberParseException:
                continue
            written = self._library.format_number(found, self._library.PhoneNumberFormat.E164)
            if len(written) <= MAX_LENGTH and self._is_dialable(found, is_international=region is None):
                return written
            break
        raise TransferRefused(f"This telephone number is invalid or incomplete. {WRITE_INTERNATIONALLY}")

    def _is_dialable(self, number: PhoneNumber, *, is_international: bool) -> bool:
        """Is the number possible? One whose country was guessed has to be assigned as well."""
        if not is_international:
            return self._library.is_valid_number(number)
        reason = self._library.is_possible_number_with_reason(number)
        return bool(reason == self._library.ValidationResult.IS_POSSIBLE)

    def _is_premium(self, number: str) -> bool:
        kind = self._library.number_type(self._library.parse(number))
        return bool(kind == self._library.PhoneNumberType.PREMIUM_RATE)


def region_of(language: str) -> str:
    """Return the country in a BCP 47 tag ("DE" in "de-DE"), "" if it names none."""
    return next((part for part in language.split("-")[1:] if re.fullmatch("[A-Z]{2}", part)), "")
