"""Collects the DTMF digits that a caller presses into one input."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTER_DIGIT_TIMEOUT = 1.5
"""Seconds without a further digit after which the input is complete. "#" completes it at once."""
MAX_DIGITS = 64
"""Digits after which the input is complete."""


class DtmfCollector:
    """Collects digits and passes the complete input to `on_digits`. It needs a running event loop."""

    def __init__(self, on_digits: Callable[[str], None]) -> None:
        self.on_digits = on_digits  # called with 1 to MAX_DIGITS digits
        self.digits = ""  # pressed and not yet delivered
        self._timer: asyncio.TimerHandle | None = None  # delivers after INTER_DIGIT_TIMEOUT

    def press(self, digit: str) -> None:
        """Add one digit; deliver the input if it is complete."""
        self.cancel_timer()
        self.digits += digit
        if digit == "#" or len(self.digits) == MAX_DIGITS:
            self._deliver()
        else:
            self._timer = asyncio.get_running_loop().call_later(INTER_DIGIT_TIMEOUT, self._deliver)

    def take(self) -> str:
        """Return the digits so far ("" for none) and forget them; `on_digits` is not called for them."""
        self.cancel_timer()
        digits, self.digits = self.digits, ""
        return digits

    def cancel_timer(self) -> None:
        """Stop waiting for a further digit; the digits so far are kept."""
        if self._timer is not None:
            self._timer.cancel()

    def _deliver(self) -> None:
        self.on_digits(self.take())
