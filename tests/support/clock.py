"""A virtual clock: an event loop whose time moves only when every task waits.

In-process code only: a thread, a socket or another process would make it jump too early or raise.
"""

from __future__ import annotations

import asyncio
import selectors
from math import inf, nextafter
from typing import Any


class Jump(selectors.DefaultSelector):
    """A selector that, instead of waiting, moves the clock to the next timer."""

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
    def __init__(self) -> None:
        self.jump = Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now
