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
from voicegw.api.endpoint import CompletionEndpoint, EndpointOptions
from voicegw.api.formats import ChatFormat, ResponsesFormat
from voicegw.app.agents import make_agent
from voicegw.app.lifespan import lifespan
from voicegw.app.platforms import call_endpoints, platform_context, realtime_call_endpoint, webhooks
from voicegw.app.serving import AgentFactory, make_agents, serve_agents
from voicegw.asgi.context import RequestContext
from voicegw.asgi.error_response import error_response
from voicegw.asgi.middleware import GatewayMiddleware
from voicegw.calls.server import CallServer
from voicegw.config.load import Config
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_store import CallStore
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.engine import TurnEngine
from voicegw.conversations.response_store import ResponseStore
from voicegw.errors import MethodNotAllowed, NotFound, RequestError, VoicegwError
from voicegw.events import Agent
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ApiKeys
from voicegw.security.rate_limits import RateLimiter
from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.turn_log import TurnLog

log = logging.getLogger("voicegw.error")


def create_app(
    settings: Config,
    *,
    shared_metrics: bool = False,
    tune: bool = False,
    now: Callable[[], float] = time.monotonic,
    agents: AgentFactory | None = None,
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
    journal = TurnLog(
        Metrics(shared=shared_metrics), log_turns=settings.trace.log, log_errors=settings.trace.errors
    )
    limits = _limits(settings)
    door = Authenticator(ApiKeys(settings.api_keys()), hosts=server.hosts, origins=server.origins)
    platforms = platform_context(settings, switchboard.agents.agents)
    floor = CallServer(
        TurnEngine(switchboard, limits, journal),
        call_endpoints(settings, platforms)
        | {"realtime": realtime_call_endpoint(settings, switchboard.agents, door, platforms)},
        max_calls=max(1, settings.limits.concurrent_calls // server.workers),
    )
    app = FastAPI(
        title="voicegw",
        version=__version__,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the journal is ours
        lifespan=lifespan(switchboard, floor, made, settings, tune, at_end),
    )
    answers = ResponseStore(idle=settings.calls.idle, max_responses=settings.calls.max_calls)
    chat, responses = (
        CompletionEndpoint(form, switchboard, limits, journal, _rules(settings), answers)
        for form in (ChatFormat(), ResponsesFormat())
    )
    _watch(journal.metrics, switchboard)
    api.add_routes(app, switchboard, journal.metrics)
    app.add_exception_handler(VoicegwError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _refuse)
    hot = dict.fromkeys(api.CHAT_PATHS, chat) | dict.fromkeys(api.RESPONSES_PATHS, responses)
    proven = webhooks(settings, platforms, floor, journal)
    return _open_to(
        server.origins, GatewayMiddleware(app, door, journal, server.trusted_proxies, hot, proven, floor)
    )


def _switchboard(settings: Config, agents: Mapping[str, Agent], now: Callable[[], float]) -> Dispatcher:
    turns, calls = settings.turns, settings.calls
    return Dispatcher(
        AgentRegistry(serve_agents(settings, agents, now), strict=turns.unknown_model == "reject"),
        stop_timeout=turns.stop_timeout,
        disconnect_grace=turns.disconnect_grace,
        replay_window=turns.replay_window,
        calls=CallStore(idle=calls.idle, max_calls=calls.max_calls),
        max_runs=max(2, 2 * settings.limits.concurrent_turns // settings.server.workers),
        now=now,
    )


def _limits(settings: Config) -> RateLimiter:
    limits = settings.limits
    return RateLimiter(limits.concurrent_turns, limits.requests_per_minute, workers=settings.server.workers)


def _watch(metrics: Metrics, switchboard: Dispatcher) -> None:
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


def _rules(settings: Config) -> EndpointOptions:
    limits = settings.limits
    return EndpointOptions(
        max_body_bytes=limits.max_body_bytes,
        max_messages=limits.max_messages,
        max_json_depth=limits.max_json_depth,
        speak_busy=limits.busy == "speak",
        hold=settings.turns.on_failure == "status",
        timing_comment=settings.trace.comment,
        call_headers=tuple(name.lower() for name in settings.calls.headers),
        call_keys=settings.calls.keys,
    )


async def _refuse(request: Request, failure: Exception) -> Response:
    """Whatever was raised outside the chat endpoint, in the one envelope that clients know."""
    visit: RequestContext | None = request.scope.get("voicegw")
    known = failure if isinstance(failure, VoicegwError) else _translate(request, failure)
    return error_response(known, visit.id if visit else "")


def _translate(request: Request, failure: Exception) -> VoicegwError:
    if not isinstance(failure, HTTPException):
        return VoicegwError()
    if failure.status_code == 404:
        return NotFound(f"There is no {request.method} {request.url.path} here.")
    if failure.status_code == 405:
        return MethodNotAllowed(f"{request.method} is not for this path.")
    return RequestError(str(failure.detail))
