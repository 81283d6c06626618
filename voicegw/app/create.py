"""The composition root: the only module that knows agents and surfaces, and joins them by configuration."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from voicegw import __version__
from voicegw.api import routes as api
from voicegw.api.endpoint import Endpoint, Rules
from voicegw.api.formats import Completions, Responses
from voicegw.app.agents import make_agent
from voicegw.app.lifespan import lifespan
from voicegw.app.platforms import make_counter, make_desks, make_hooks, platform_context
from voicegw.app.serving import Maker, make_agents, make_lines
from voicegw.asgi.context import Visit
from voicegw.asgi.error_response import refusal
from voicegw.asgi.middleware import Entrance
from voicegw.calls.server import Floor
from voicegw.config.load import Config
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_store import Calls
from voicegw.conversations.dispatcher import Switchboard
from voicegw.conversations.engine import House
from voicegw.conversations.response_store import Answers
from voicegw.errors import NotFound, Refused, VoicegwError, WrongMethod
from voicegw.events import Agent
from voicegw.security.authenticator import Door
from voicegw.security.keys import Keys
from voicegw.security.rate_limits import Limits
from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.turn_log import Journal

log = logging.getLogger("voicegw.error")


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
    journal = Journal(
        Metrics(shared=shared_metrics), log_turns=settings.trace.log, log_errors=settings.trace.errors
    )
    limits = _limits(settings)
    door = Door(Keys(settings.door_keys()), hosts=server.hosts, origins=server.origins)
    platforms = platform_context(settings, switchboard.agents.agents)
    floor = Floor(
        House(switchboard, limits, journal),
        make_desks(settings, platforms)
        | {"realtime": make_counter(settings, switchboard.agents, door, platforms)},
        most=max(1, settings.limits.concurrent_calls // server.workers),
    )
    app = FastAPI(
        title="voicegw",
        version=__version__,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the journal is ours
        lifespan=lifespan(switchboard, floor, made, settings, tune, at_end),
    )
    answers = Answers(idle=settings.calls.idle, most=settings.calls.most)
    chat, responses = (
        Endpoint(form, switchboard, limits, journal, _rules(settings), answers)
        for form in (Completions(), Responses())
    )
    _watch(journal.metrics, switchboard)
    api.add_routes(app, switchboard, journal.metrics)
    app.add_exception_handler(VoicegwError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _refuse)
    hot = dict.fromkeys(api.CHAT_PATHS, chat) | dict.fromkeys(api.RESPONSES_PATHS, responses)
    proven = make_hooks(settings, platforms, floor, journal)
    return _open_to(server.origins, Entrance(app, door, journal, server.trusted_proxies, hot, proven, floor))


def _switchboard(settings: Config, agents: Mapping[str, Agent], now: Callable[[], float]) -> Switchboard:
    turns, calls = settings.turns, settings.calls
    return Switchboard(
        AgentRegistry(make_lines(settings, agents, now), strict=turns.unknown_model == "reject"),
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


def _watch(metrics: Metrics, switchboard: Switchboard) -> None:
    """What is held, for whoever looks for leaks."""
    metrics.watch("voicegw_tasks", "Tasks of the event loop now.", lambda: len(asyncio.all_tasks()))
    metrics.watch("voicegw_runs", "Runs whose agent is not closed yet.", lambda: len(switchboard.runs))
    metrics.watch("voicegw_calls_remembered", "Calls that are remembered.", lambda: len(switchboard.calls))


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
