"""The types of command-line options of the load tools; their ranges make every run end."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

MAX_SECONDS = 86400.0
"""Seconds; the longest run that can be requested."""


def number(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return an option type: a number from minimum to maximum. It rejects NaN."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not a number") from None
        if not minimum <= value <= maximum:
            raise ArgumentTypeError(f"{text} is not {describe_range(minimum, maximum)}")
        return value

    return parse


def count(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return an option type: a whole number from minimum to maximum."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None
        if not minimum <= value <= maximum:
            raise ArgumentTypeError(f"{text[:40]} is not {describe_range(minimum, maximum)}")
        return value

    return parse


def describe_range(minimum: float, maximum: float) -> str:
    return f"{minimum:g} or more" if maximum == inf else f"between {minimum:g} and {maximum:g}"


SECONDS = number(0.01, MAX_SECONDS)
RATE = number(0.01, 20_000)
SHARE = number(0, 1)
SEED = count(0, 2**53)


def writable(text: str) -> Path:
    """An option type: the path of a writable file. Creates its folder, and fails before anything is measured.

    Raises ArgumentTypeError with the reason when the file cannot be written.
    """
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        with path.open("ab"):
            pass
        if new:
            path.unlink()
    except OSError as error:
        raise ArgumentTypeError(f"{path} cannot be written: {error.strerror}") from None
    return path


def redact_secrets(argv: Sequence[str], *secrets: str) -> list[str]:
    """Return a command line with *** in place of each secret; "none" and "" are not secrets."""
    shown = list(argv)
    for secret in secrets:
        if secret not in ("", "none"):
            shown = [word.replace(secret, "***") for word in shown]
    return shown
