"""The pulse: notices when something blocks the event loop, and with it every caller."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Collection, Iterator
from itertools import takewhile
from pathlib import Path
from types import CodeType, FrameType

import orjson

import voicegw

EVERY = 0.25
LATE = 0.5
"""Seconds. A beat comes every `EVERY`; one that is `LATE` is told."""
OWN_FOLDERS = tuple(str(Path(file).parent) for file in (voicegw.__file__, asyncio.__file__))
"""Where those are at home who call agents."""

log = logging.getLogger("voicegw.error")


class LoopWatchdog:
    """Beats on the running loop until it is stopped. A `lookout` sees where it is when a beat is late."""

    def __init__(self, sampler: StackSampler | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.sampler = sampler
        self._arm()

    def _arm(self) -> None:
        self.due = self.loop.time() + EVERY
        self.timer = self.loop.call_at(self.due, self._beat)

    def _beat(self) -> None:
        late = self.loop.time() - self.due
        seen = self.sampler.beat() if self.sampler else ""
        if late >= LATE:
            told = {"event": "blocked", "seconds": round(late, 3), "where": seen or None}
            log.warning(orjson.dumps({**told, "hint": "an agent works without await"}).decode())
        self._arm()

    def stop(self) -> None:
        self.timer.cancel()
        if self.sampler:
            self.sampler.over.set()


class StackSampler:
    """A thread that looks where the one that made it is, whenever no beat came for `LATE` seconds."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._watched = threading.get_ident()
        self._below = {frame.f_code for frame in outwards(sys._getframe())}
        self._last = time.monotonic()
        self._seen = ""
        threading.Thread(target=self._watch, name="voicegw-lookout", daemon=True).start()

    def beat(self) -> str:
        """The loop turns. Gives where it did not, "" if nothing was seen since the last beat."""
        seen, self._seen = self._seen, ""
        self._last = time.monotonic()
        return seen

    def _watch(self) -> None:
        while not self.over.wait(EVERY / 2):
            if not self._seen and time.monotonic() - self._last >= LATE:
                self._seen = place(sys._current_frames().get(self._watched), self._below)


def place(frame: FrameType | None, below: Collection[CodeType] = ()) -> str:
    """Where an agent's code is at work: in what the house called, however deep in libraries it is by now.

    `below` is what runs the loop.
    """
    frames = [*outwards(frame)]
    theirs = takewhile(
        lambda f: f.f_code not in below and not f.f_code.co_filename.startswith(OWN_FOLDERS), frames
    )
    found = [*theirs][-1:] or frames[:1]
    return f"{found[0].f_code.co_filename}:{found[0].f_lineno}" if found else ""


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back
