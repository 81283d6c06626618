"""Tells a terminal that closed from a request to reload: both are SIGHUP."""

from __future__ import annotations

import os
import signal


class TerminalWatch:
    """Remembers whether the process has a terminal that may close; `nohup` means that it may go on then."""

    def __init__(self) -> None:
        self._ends_with_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()

    def is_lost(self) -> bool:
        """Return whether the terminal has closed, which ends the gateway."""
        return self._ends_with_terminal and not has_terminal()


def has_terminal() -> bool:
    """Return whether the process has a controlling terminal that is open."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
