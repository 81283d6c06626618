"""The digits that a caller presses, taken together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PAUSE = 1.5
"""Seconds without a further digit after which they are taken together; "#" ends them at once."""
MAX_DIGITS = 64


class DtmfCollector:
    """Gathers digits and gives them to `dialled`."""

    def __init__(self, dialled: Callable[[str], None]) -> None:
        self.dialled = dialled
        self.digits = ""
        self._timer: asyncio.TimerHandle | None = None

    def press(self, digit: str) -> None:
        """One key."""
        self.stop()
        self.digits += digit
        if digit == "#" or len(self.digits) == MAX_DIGITS:
            self._tell()
        else:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._tell)

    def take(self) -> str:
        """The digits so far, "" if there are none; nobody is told of them any more."""
        self.stop()
        digits, self.digits = self.digits, ""
        return digits

    def stop(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self.dialled(self.take())
