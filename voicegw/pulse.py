"""The pulse: notices when something blocks the event loop, and with it every caller."""

from __future__ import annotations

import asyncio
import logging

import orjson

EVERY = 0.25
LATE = 0.5
"""Seconds. A beat comes every `EVERY`; one that is `LATE` is told."""

log = logging.getLogger("voicegw.turns")


class Pulse:
    """Beats on the running loop until it is stopped."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._arm()

    def _arm(self) -> None:
        self.due = self.loop.time() + EVERY
        self.timer = self.loop.call_at(self.due, self._beat)

    def _beat(self) -> None:
        late = self.loop.time() - self.due
        if late >= LATE:
            told = {"event": "blocked", "seconds": round(late, 3), "hint": "an agent works without await"}
            log.warning(orjson.dumps(told).decode())
        self._arm()

    def stop(self) -> None:
        self.timer.cancel()
