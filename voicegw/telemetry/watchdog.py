"""A watchdog of the event loop: logs when an agent blocks it, which silences every call of the process."""

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

CHECK_INTERVAL = 0.25
"""Seconds between two checks of the loop."""
BLOCKED_AFTER = 0.5
"""Seconds by which a check must be late to be logged."""
GATEWAY_FOLDERS = tuple(str(Path(file).parent) for file in (voicegw.__file__, asyncio.__file__))
"""The folders of the code that calls agents: the gateway and asyncio."""

log = logging.getLogger("voicegw.error")


class LoopWatchdog:
    """Checks the running event loop every `CHECK_INTERVAL` seconds until `stop`, and logs late checks.

    A late check is a warning `{"event": "blocked", "seconds": ..., "where": ...}`.
    """

    def __init__(self, sampler: StackSampler | None = None) -> None:
        # The event loop that is checked.
        self.loop = asyncio.get_running_loop()
        # Finds the line of code that blocks the loop; without it, `where` is null.
        self.sampler = sampler
        self._schedule()

    def _schedule(self) -> None:
        # The time of the next check on the loop's clock, and its timer.
        self.due = self.loop.time() + CHECK_INTERVAL
        self.timer = self.loop.call_at(self.due, self._check)

    def _check(self) -> None:
        delay = self.loop.time() - self.due
        location = self.sampler.take_location() if self.sampler else ""
        if delay >= BLOCKED_AFTER:
            record = {"event": "blocked", "seconds": round(delay, 3), "where": location or None}
            log.warning(orjson.dumps({**record, "hint": "an agent works without await"}).decode())
        self._schedule()

    def stop(self) -> None:
        """Cancel the checks and stop the sampler's thread."""
        self.timer.cancel()
        if self.sampler:
            self.sampler.stopped.set()


class StackSampler:
    """A thread that samples the stack of its creator's thread when that thread blocks.

    It samples once per block, after `BLOCKED_AFTER` seconds without a call of `take_location`.
    """

    def __init__(self) -> None:
        # Set to end the thread.
        self.stopped = threading.Event()
        # The thread that is sampled.
        self._thread_id = threading.get_ident()
        # The code that runs the loop. It is never the cause of a block.
        self._loop_code = {frame.f_code for frame in caller_frames(sys._getframe())}
        # The time of the last `take_location`, and the location that it returns next.
        self._last_check = time.monotonic()
        self._location = ""
        threading.Thread(target=self._sample, name="voicegw-stack-sampler", daemon=True).start()

    def take_location(self) -> str:
        """Return the location of the block since the last call as `file:line`; "" without a block."""
        location, self._location = self._location, ""
        self._last_check = time.monotonic()
        return location

    def _sample(self) -> None:
        while not self.stopped.wait(CHECK_INTERVAL / 2):
            if not self._location and time.monotonic() - self._last_check >= BLOCKED_AFTER:
                frame = sys._current_frames().get(self._thread_id)
                self._location = agent_location(frame, self._loop_code)


def agent_location(frame: FrameType | None, loop_code: Collection[CodeType] = ()) -> str:
    """Return the location `file:line` of the agent's code in the stack of `frame`; "" without a frame.

    It is the outermost frame that neither the gateway nor asyncio nor `loop_code` (the code that runs the
    loop) owns, even if the agent is deep inside a library now. Without such a frame it is `frame` itself.
    """
    frames = [*caller_frames(frame)]
    agent_frames = takewhile(
        lambda f: f.f_code not in loop_code and not f.f_code.co_filename.startswith(GATEWAY_FOLDERS), frames
    )
    found = [*agent_frames][-1:] or frames[:1]
    return f"{found[0].f_code.co_filename}:{found[0].f_lineno}" if found else ""


def caller_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frame and its callers, innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back
