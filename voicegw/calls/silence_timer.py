"""Waits for words of the caller after an interruption, so that a cough leaves no dead air."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class SilenceTimer:
    """Calls `on_silence` once if the caller says nothing for some time. It needs a running event loop."""

    def __init__(self, seconds: float | None, on_silence: Callable[[], None]) -> None:
        """`seconds` is the time; None never calls."""
        self.seconds = seconds
        self.on_silence = on_silence
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to wait, from now on."""
        self.cancel()
        if self.seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._on_timeout)

    def extend(self) -> None:
        """Wait for the whole time again, if the timer runs: the caller may be speaking."""
        if self._timer is not None:
            self.start()

    def cancel(self) -> None:
        """Stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        self.on_silence()
