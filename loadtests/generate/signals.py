"""The end of a load tool: SIGTERM works like Ctrl-C, and a closed standard output is not an error."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def interrupt_on_termination() -> None:
    """From now on, treat SIGTERM and SIGHUP like Ctrl-C, so that no server of a load test keeps running.

    A signal that is ignored (nohup) stays ignored.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):  # the loop's handler lets its tasks end
        handler(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def print_lines(*lines: str) -> None:
    """Print the lines. A reader that has closed the pipe (`| head`) is not an error."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails
