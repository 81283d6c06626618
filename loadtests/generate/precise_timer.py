"""A timer that fires within tens of microseconds. Linux only.

The timers of the event loop count milliseconds. It is built on timerfd: see timerfd_create(2).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

TFD_TIMER_ABSTIME = 1
"""The time given to timerfd_settime is a time of the clock, not a distance from now."""


class TimerSpec(ctypes.Structure):
    """The kernel's itimerspec: seconds and nanoseconds of the repetition, and of the first expiry."""

    _fields_ = (("interval", ctypes.c_long * 2), ("expiry", ctypes.c_long * 2))


class PreciseTimer:
    """Calls `callback` on the running loop at the scheduled time of `time.perf_counter`.

    Raises OSError when the kernel gives no timer.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.loop = asyncio.get_running_loop()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self.loop.add_reader(self.descriptor, self._on_readable)

    def schedule(self, at: float) -> None:
        """Call back once at `at`, or at once if that time is past. Replaces an earlier schedule.

        Raises OSError when the kernel refuses the time.
        """
        seconds, nanoseconds = divmod(max(int(at * 1e9), 1), 1_000_000_000)
        spec = TimerSpec(expiry=(seconds, nanoseconds))
        if self.libc.timerfd_settime(self.descriptor, TFD_TIMER_ABSTIME, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _on_readable(self) -> None:
        try:
            os.read(self.descriptor, 8)
        except BlockingIOError:
            return  # rescheduled between the expiry and this read
        self.callback()

    def close(self) -> None:
        """Stop the timer and close its descriptor."""
        self.loop.remove_reader(self.descriptor)
        os.close(self.descriptor)
