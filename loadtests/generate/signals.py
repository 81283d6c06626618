"""How a load tool ends: stopped by SIGTERM as by Ctrl-C, and whether or not anybody reads what it says."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def heed() -> None:
    """From now on, SIGTERM and the end of the terminal are Ctrl-C, so that no server of ours is left behind.

    What is ignored (nohup) stays ignored.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    heard = signal.getsignal(signal.SIGINT)
    if callable(heard):  # a loop has one of its own, which lets its tasks end
        heard(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def say(*lines: str) -> None:
    """Print it. Who has stopped reading (`| head`) is no reason to fail."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit fails at the rest
