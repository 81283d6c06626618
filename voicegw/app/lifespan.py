"""The lifespan of the application: warming the agents at start, and the graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from voicegw.app.served_agents import close_agent, warm_agent
from voicegw.asgi.idle_connections import IdleConnections
from voicegw.asgi.work_queue import WorkQueue
from voicegw.calls.server import CallServer
from voicegw.config.load import Config
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.events import Agent

log = logging.getLogger("voicegw.error")

CLOSE_TIMEOUT = 2.0
"""Seconds that agents get to close their connections."""


def make_lifespan(
    dispatcher: Dispatcher,
    call_server: CallServer,
    agents: Mapping[str, Agent],
    settings: Config,
    *,
    watch: bool,
) -> Any:
    """Return FastAPI's lifespan, which warms the agents at start and closes runs and agents at the end.

    `watch` checks meanwhile whether a resource of the system runs out.
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # Not awaited: a call may come before the agents are warm.
        warming = [asyncio.ensure_future(warm_agent(*named)) for named in agents.items()]
        resources = call_server.engine.turn_log.resources
        if watch:
            resources.start()
        shutdown = GracefulShutdown(dispatcher, call_server, settings.server.shutdown_grace)
        yield {
            "drain": shutdown.start,
            "is_busy": shutdown.is_busy,
            "max_header_bytes": settings.limits.max_header_bytes,
            "send_timeout": settings.limits.send_timeout,
            "work_queue": WorkQueue(asyncio.get_running_loop()),
            "idle_connections": IdleConnections(
                resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                on_refused=lambda: resources.report("files"),
                on_closed=resources.report_closed_connection,
            ),
        }
        shutdown.cancel()
        for task in warming:
            task.cancel()
        await dispatcher.aclose()
        closing = [asyncio.ensure_future(close_agent(*named)) for named in agents.items()]
        await asyncio.wait(closing, timeout=CLOSE_TIMEOUT)
        resources.stop()

    return run


class GracefulShutdown:
    """Gives running turns and open calls `grace` seconds, then ends them with a sentence.

    New turns and calls are refused at once. Open calls get the whole time even if no turn runs: the last
    answer may still be playing. Calls that are open at the end are closed so that the platform reconnects.
    """

    def __init__(self, dispatcher: Dispatcher, call_server: CallServer, grace: float) -> None:
        self.dispatcher = dispatcher  # refuses new turns and stops the running ones
        self.call_server = call_server  # closes the open calls
        self.grace = grace  # in seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Refuse new turns, and start the timer. Every open connection calls this; the first call counts."""
        self.dispatcher.drain()
        if self._timer is None:
            turns, calls = len(self.dispatcher.runs), sum(map(len, self.call_server.sessions.values()))
            if turns or calls:
                log.warning(
                    "shutting down: %d turns and %d calls may go on for %g seconds; "
                    "stop again to end them at once",
                    turns,
                    calls,
                    self.grace,
                )
            self._timer = asyncio.get_running_loop().call_later(self.grace, self._stop_all)

    def is_busy(self) -> bool:
        """Is a turn running, or a call open?"""
        return bool(self.dispatcher.runs) or any(self.call_server.sessions.values())

    def cancel(self) -> None:
        """Cancel the timer: everything has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _stop_all(self) -> None:
        self.dispatcher.stop_all()
        self.call_server.close_all()
