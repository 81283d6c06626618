"""What may be asked for on the command line of a load tool, so that every run ends."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

DAY = 86400.0
"""Seconds; no run takes longer."""


def number(least: float, most: float) -> Callable[[str], float]:
    """An option's type: a number from least to most. NaN is none."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no number") from None
        if not least <= value <= most:
            raise ArgumentTypeError(f"{text} is not {bounds(least, most)}")
        return value

    return parse


def count(least: int, most: int) -> Callable[[str], int]:
    """An option's type: a whole number from least to most."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text[:40]!r} is no whole number") from None
        if not least <= value <= most:
            raise ArgumentTypeError(f"{text[:40]} is not {bounds(least, most)}")
        return value

    return parse


def bounds(least: float, most: float) -> str:
    return f"{least:g} or more" if most == inf else f"between {least:g} and {most:g}"


SECONDS = number(0.01, DAY)
RATE = number(0.01, 20_000)
SHARE = number(0, 1)
SEED = count(0, 2**53)


def writable(text: str) -> Path:
    """An option's type: a file that can be written, found out before anything is measured."""
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


def hidden(argv: Sequence[str], *secrets: str) -> list[str]:
    """A command line without what is secret; "none" and nothing are no secrets."""
    shown = list(argv)
    for secret in secrets:
        if secret not in ("", "none"):
            shown = [word.replace(secret, "***") for word in shown]
    return shown
