"""An alarm that rings to the tens of microseconds, where the loop's own timers count milliseconds. Linux."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

ABSOLUTE = 1
"""TFD_TIMER_ABSTIME: the time is one of the clock's, no distance from now."""


class Setting(ctypes.Structure):
    """The kernel's itimerspec: seconds and nanoseconds, of the repetition and of the first ring."""

    _fields_ = (("every", ctypes.c_long * 2), ("at", ctypes.c_long * 2))


class Alarm:
    """Calls `ring` on the running loop at the moment it was set to, on the clock of `time.perf_counter`."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.loop = asyncio.get_running_loop()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.timer = self.libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.timer < 0:
            raise OSError(ctypes.get_errno(), "no timer")
        self.loop.add_reader(self.timer, self._rung)

    def set(self, at: float) -> None:
        """Ring then, once; at once if that is past. Replaces what was set before."""
        seconds, rest = divmod(max(int(at * 1e9), 1), 1_000_000_000)
        setting = Setting(at=(seconds, rest))
        if self.libc.timerfd_settime(self.timer, ABSOLUTE, ctypes.byref(setting), None):
            raise OSError(ctypes.get_errno(), "the timer was not set")

    def _rung(self) -> None:
        try:
            os.read(self.timer, 8)
        except BlockingIOError:
            return  # set anew between the ring and this look at it
        self.ring()

    def close(self) -> None:
        self.loop.remove_reader(self.timer)
        os.close(self.timer)
