"""Spreads long work on the bytes of many connections over the turns of the event loop.

It is no thread: a step runs in the event loop, and is short.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

MAX_SECONDS_PER_TURN = 0.01
"""Seconds after which the queue lets the event loop serve everything else, however many connections wait."""


class WorkQueue:
    """Runs steps in the order in which they came. A connection adds its next step when one has run.

    So connections with much work take turns, and connections with little work never wait for all of it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # The next step of each connection that waits.
        self._steps: deque[Callable[[], None]] = deque()
        # True while `_run` is among the callbacks of the loop.
        self._is_scheduled = False

    def add(self, step: Callable[[], None]) -> None:
        """Run `step` in a later turn of the event loop."""
        self._steps.append(step)
        self._schedule()

    def _schedule(self) -> None:
        if self._steps and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        end = time.monotonic() + MAX_SECONDS_PER_TURN
        try:
            for _ in range(len(self._steps)):
                self._steps.popleft()()
                if time.monotonic() >= end:
                    break
        finally:
            self._is_scheduled = False
            self._schedule()
