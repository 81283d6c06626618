"""The figures that an agent remembers of each call, for servers that keep conversations or count in totals.

It keeps no messages.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TypeVar

from voicegw.events import Usage

MAX_REMEMBERED_CALLS = 10_000
"""Calls that are remembered; the one that was noted first is forgotten."""

T = TypeVar("T")


class CallMemory:
    """The token totals of calls, and how many messages of the caller the server answered in each."""

    def __init__(self) -> None:
        self._totals: dict[str, Usage] = {}
        self._answered_counts: dict[str, int] = {}

    def answered_count(self, call: str) -> int | None:
        """Return how many messages of the caller the server answered; None for an unknown call."""
        return self._answered_counts.get(call)

    def note_answered(self, call: str, count: int) -> None:
        """Note that the server answered, and keeps, so many messages of the caller."""
        _remember(self._answered_counts, call, count)

    def added_usage(self, call: str, total: Usage) -> Usage:
        """Return the usage since the last total of the call, and note this `total`."""
        before = self._totals.get(call, Usage())
        _remember(self._totals, call, total)
        return Usage(*(max(0, now - then) for now, then in zip(astuple(total), astuple(before), strict=True)))

    def forget(self, call: str) -> None:
        """Forget a call that ended."""
        self._answered_counts.pop(call, None)
        self._totals.pop(call, None)


def _remember(memory: dict[str, T], call: str, value: T) -> None:
    """Store the value as the newest, and drop the oldest beyond `MAX_REMEMBERED_CALLS`."""
    memory.pop(call, None)
    memory[call] = value
    if len(memory) > MAX_REMEMBERED_CALLS:
        del memory[next(iter(memory))]
