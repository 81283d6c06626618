"""The composition root: the only module that knows agents and surfaces, and joins them by configuration."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from voicegw import __version__
from voicegw.calls.answers import Answers
from voicegw.calls.memory import Calls
from voicegw.config import Config
from voicegw.desks import make_counter, make_desks, make_hooks
from voicegw.errors import NotFound, Refused, VoicegwError, WrongMethod
from voicegw.events import Agent
from voicegw.guard import Door, Keys, Limits
from voicegw.journal import Journal
from voicegw.lines import Maker, close, make_agents, make_lines, warm
from voicegw.makers import make_agent
from voicegw.pulse import Lookout, Pulse
from voicegw.surfaces import api
from voicegw.surfaces.entrance import Entrance
from voicegw.surfaces.floor import Floor
from voicegw.surfaces.form import Completions, Responses
from voicegw.surfaces.http import Endpoint, Rules, refusal
from voicegw.surfaces.order import Visit
from voicegw.surfaces.route import House
from voicegw.switchboard import Switchboard

log = logging.getLogger("voicegw.run")

CLOSE_WITHIN = 2.0
"""Seconds that agents get to let go of their connections at the end."""
MOST_THREADS = 256
"""For what agents push out of the loop, and for frameworks' tools that block; two cores would have six."""
COLLECTOR = (5_000, 5, 1_000)
"""Thresholds of the garbage collector, whose pauses are the tail of our latency: the defaults look at all
there is too often, a large first one at all that many calls have left, at once."""


def create_app(
    settings: Config,
    *,
    shared_metrics: bool = False,
    tune: bool = False,
    now: Callable[[], float] = time.monotonic,
    agents: Maker | None = None,
    at_end: Callable[[], None] = lambda: None,
) -> ASGIApp:
    """The gateway as an ASGI application.

    `shared_metrics`: this is one of several workers, whose metrics are summed. `tune`: the process is
    ours alone, so that the garbage collector may be set up for it. `now` is the clock of all stamps.
    `agents` makes an agent from its table, for programs that bring their own. `at_end` is called
    when everything is closed that can be.
    """
    server = settings.server
    made = make_agents(settings, agents or make_agent)
    switchboard = _switchboard(settings, made, now)
    journal = Journal(log_turns=settings.trace.log, log_errors=settings.trace.errors, shared=shared_metrics)
    limits = _limits(settings)
    door = Door(Keys(settings.door_keys()), hosts=server.hosts, origins=server.origins)
    floor = Floor(
        House(switchboard, limits, journal),
        make_desks(settings, switchboard.lines) | {"realtime": make_counter(settings, switchboard, door)},
        most=max(1, settings.limits.concurrent_calls // server.workers),
    )
    app = FastAPI(
        title="voicegw",
        version=__version__,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the journal is ours
        lifespan=_lifespan(switchboard, floor, made, settings, tune, at_end),
    )
    answers = Answers(idle=settings.calls.idle, most=settings.calls.most)
    chat, responses = (
        Endpoint(form, switchboard, limits, journal, _rules(settings), answers)
        for form in (Completions(), Responses())
    )
    _watch(journal, switchboard)
    api.add_routes(app, switchboard, journal)
    app.add_exception_handler(VoicegwError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _refuse)
    hot = dict.fromkeys(api.CHAT_PATHS, chat) | dict.fromkeys(api.RESPONSES_PATHS, responses)
    proven = make_hooks(settings, floor, journal)
    return _open_to(server.origins, Entrance(app, door, journal, server.trusted_proxies, hot, proven, floor))


def _switchboard(settings: Config, agents: Mapping[str, Agent], now: Callable[[], float]) -> Switchboard:
    turns, calls = settings.turns, settings.calls
    return Switchboard(
        make_lines(settings, agents, now),
        strict=turns.unknown_model == "reject",
        stop_within=turns.stop_within,
        grace=turns.grace,
        reuse=turns.reuse,
        calls=Calls(idle=calls.idle, most=calls.most),
        most=max(2, 2 * settings.limits.concurrent_turns // settings.server.workers),
        now=now,
    )


def _limits(settings: Config) -> Limits:
    limits = settings.limits
    return Limits(limits.concurrent_turns, limits.requests_per_minute, workers=settings.server.workers)


def _watch(journal: Journal, switchboard: Switchboard) -> None:
    """What is held, for whoever looks for leaks."""
    journal.watch("voicegw_tasks", "Tasks of the event loop now.", lambda: len(asyncio.all_tasks()))
    journal.watch("voicegw_runs", "Runs whose agent is not closed yet.", lambda: len(switchboard.runs))
    journal.watch("voicegw_calls_remembered", "Calls that are remembered.", lambda: len(switchboard.calls))


def _open_to(origins: Sequence[str], app: ASGIApp) -> ASGIApp:
    """Let the pages of these origins call, as browsers want it."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "x-voicegw-call"],
    )


def _rules(settings: Config) -> Rules:
    limits = settings.limits
    return Rules(
        body_bytes=limits.body_bytes,
        messages=limits.messages,
        depth=limits.depth,
        speak_busy=limits.busy == "speak",
        hold=settings.turns.on_failure == "status",
        note=settings.trace.comment,
        call_headers=tuple(name.lower() for name in settings.calls.headers),
        call_keys=settings.calls.keys,
    )


def _lifespan(
    switchboard: Switchboard,
    floor: Floor,
    agents: Mapping[str, Agent],
    settings: Config,
    tune: bool,
    at_end: Callable[[], None],
) -> Any:
    """Warm the agents at start; at the end, close what is left."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # nobody waits for them: a call may come first
        warming = [asyncio.ensure_future(warm(*named)) for named in agents.items()]
        if tune:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTOR)
            threads = ThreadPoolExecutor(MOST_THREADS, "voicegw-worker")
            asyncio.get_running_loop().set_default_executor(threads)
        pulse = Pulse(Lookout()) if tune else None
        leave = Leave(switchboard, floor, settings.server.drain)
        limits = settings.limits
        yield {
            "drain": leave.drain,
            "header_bytes": limits.header_bytes,
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

    return lifespan


class Leave:
    """The gateway's farewell: running turns get `within` seconds, then a sentence and a proper end.

    New calls are refused at once. Those that are open get the same time, also if nobody speaks just now:
    what was said may still be playing. Whatever is open then is closed so that the platform comes back.
    """

    def __init__(self, switchboard: Switchboard, floor: Floor, within: float) -> None:
        self.switchboard = switchboard
        self.floor = floor
        self.within = within
        self.timer: asyncio.TimerHandle | None = None

    def drain(self) -> None:
        """Called at shutdown, by every connection that is open."""
        self.switchboard.drain()
        if self.timer is None:
            turns, calls = len(self.switchboard.runs), sum(map(len, self.floor.open.values()))
            if turns or calls:
                going = f"{turns} turns and {calls} calls may go on for {self.within:g} seconds"
                log.warning("shutting down: %s; stop again to cut them off", going)
            self.timer = asyncio.get_running_loop().call_later(self.within, self.hang_up)

    def hang_up(self) -> None:
        """The time is over."""
        self.switchboard.hang_up()
        self.floor.hang_up()

    def cancel(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


async def _refuse(request: Request, failure: Exception) -> Response:
    """Whatever was raised outside the chat endpoint, in the one envelope that clients know."""
    visit: Visit | None = request.scope.get("voicegw")
    known = failure if isinstance(failure, VoicegwError) else _translate(request, failure)
    return refusal(known, visit.id if visit else "")


def _translate(request: Request, failure: Exception) -> VoicegwError:
    if not isinstance(failure, HTTPException):
        return VoicegwError()
    if failure.status_code == 404:
        return NotFound(f"There is no {request.method} {request.url.path} here.")
    if failure.status_code == 405:
        return WrongMethod(f"{request.method} is not for this path.")
    return Refused(str(failure.detail))
