"""A virtual clock: an event loop whose time moves only when every task waits.

For code of this process only: with a thread, a socket or another process, time would move too early.
"""

from __future__ import annotations

import asyncio
import selectors
from math import inf, nextafter
from typing import Any


class VirtualSelector(selectors.DefaultSelector):
    """A selector that moves the clock to the next timer instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is set")
        then = round(self.now + timeout, 9)
        self.now = then if then > self.now else nextafter(self.now, inf)  # rounding must not stop the clock
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on the virtual clock. Tests may add to `clock.now`, as if code blocked the loop."""

    def __init__(self) -> None:
        self.clock = VirtualSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now
