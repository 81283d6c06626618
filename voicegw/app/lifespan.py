"""Starts and stops what lives as long as the application."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from voicegw.app.serving import close, warm
from voicegw.calls.server import CallServer
from voicegw.config.load import Config
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.events import Agent
from voicegw.telemetry.watchdog import LoopWatchdog, StackSampler

log = logging.getLogger("voicegw.error")

CLOSE_WITHIN = 2.0
"""Seconds that agents get to let go of their connections at the end."""


MAX_THREADS = 256
"""For what agents push out of the loop, and for frameworks' tools that block; two cores would have six."""


GC_THRESHOLDS = (5_000, 5, 1_000)
"""Thresholds of the garbage collector, whose pauses are the tail of our latency: the defaults look at all
there is too often, a large first one at all that many calls have left, at once."""


def lifespan(
    switchboard: Dispatcher,
    floor: CallServer,
    agents: Mapping[str, Agent],
    settings: Config,
    tune: bool,
    at_end: Callable[[], None],
) -> Any:
    """Warm the agents at start; at the end, close what is left."""

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # nobody waits for them: a call may come first
        warming = [asyncio.ensure_future(warm(*named)) for named in agents.items()]
        if tune:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            threads = ThreadPoolExecutor(MAX_THREADS, "voicegw-worker")
            asyncio.get_running_loop().set_default_executor(threads)
        pulse = LoopWatchdog(StackSampler()) if tune else None
        leave = GracefulShutdown(switchboard, floor, settings.server.shutdown_grace)
        limits = settings.limits
        yield {
            "drain": leave.drain,
            "header_bytes": limits.max_header_bytes,
            "send_timeout": limits.send_timeout,
        }
        leave.cancel()
        for task in warming:
            task.cancel()
        await switchboard.aclose()
        await asyncio.wait(
            [asyncio.ensure_future(close(*named)) for named in agents.items()], timeout=CLOSE_WITHIN
        )
        if pulse is not None:
            pulse.stop()
        at_end()

    return run


class GracefulShutdown:
    """The gateway's farewell: running turns get `within` seconds, then a sentence and a proper end.

    New calls are refused at once. Those that are open get the same time, also if nobody speaks just now:
    what was said may still be playing. Whatever is open then is closed so that the platform comes back.
    """

    def __init__(self, switchboard: Dispatcher, floor: CallServer, within: float) -> None:
        self.switchboard = switchboard
        self.floor = floor
        self.within = within
        self.timer: asyncio.TimerHandle | None = None

    def drain(self) -> None:
        """Called at shutdown, by every connection that is open."""
        self.switchboard.drain()
        if self.timer is None:
            turns, calls = len(self.switchboard.runs), sum(map(len, self.floor.sessions.values()))
            if turns or calls:
                going = f"{turns} turns and {calls} calls may go on for {self.within:g} seconds"
                log.warning("shutting down: %s; stop again to cut them off", going)
            self.timer = asyncio.get_running_loop().call_later(self.within, self.hang_up)

    def hang_up(self) -> None:
        """The time is over."""
        self.switchboard.stop_all()
        self.floor.close_all()

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
