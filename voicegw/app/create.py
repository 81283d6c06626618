"""Builds the ASGI application from the configuration: the composition root.

Only this folder knows agents, platforms and endpoints together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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
from voicegw.app.lifespan import make_lifespan
from voicegw.app.platforms import (
    build_call_endpoints,
    build_platform_context,
    build_realtime_call_endpoint,
    build_webhooks,
)
from voicegw.app.served_agents import AgentFactory, make_agents, make_served_agents
from voicegw.asgi.context import RequestContext
from voicegw.asgi.error_response import error_response
from voicegw.asgi.middleware import GatewayMiddleware
from voicegw.calls.server import CallServer
from voicegw.config.load import Config
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_store import CallStore
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.engine import TurnEngine
from voicegw.conversations.key_table import open_key_table
from voicegw.conversations.response_store import ResponseStore
from voicegw.errors import MethodNotAllowed, NotFound, RequestError, VoicegwError
from voicegw.events import Agent
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ApiKeys
from voicegw.security.rate_limits import RateLimiter
from voicegw.telemetry.metrics import Metrics
from voicegw.telemetry.turn_log import TurnLog
from voicegw.telemetry.writer import TelemetryWriter

log = logging.getLogger("voicegw.error")


def create_app(
    settings: Config,
    *,
    metrics: Metrics | None = None,
    now: Callable[[], float] = time.monotonic,
    agents: AgentFactory | None = None,
    writer: TelemetryWriter | None = None,
    key_table: Path | None = None,
) -> ASGIApp:
    """Return the gateway as an ASGI application.

    `metrics` are those that it counts in; new ones if left out. `now` is the clock of all timings, in
    seconds. `agents` makes an agent from its section; programs pass their own. `writer` is the thread that
    writes the turn log of a process that serves nothing else; without it, turns are logged in the event
    loop's thread. `key_table` is the file in which several workers share their Idempotency-Keys. Raises
    `ConfigError` for an agent that cannot be made.
    """
    server = settings.server
    made = make_agents(settings, agents or make_agent)
    dispatcher = _make_dispatcher(settings, made, now, key_table)
    turn_log = _make_turn_log(settings, Metrics() if metrics is None else metrics, writer)
    engine = TurnEngine(dispatcher, _make_rate_limiter(settings), turn_log)
    authenticator = Authenticator(ApiKeys(settings.api_keys()), hosts=server.hosts, origins=server.origins)
    platforms = build_platform_context(settings, dispatcher.agents.by_name)
    call_server = CallServer(
        engine,
        build_call_endpoints(settings, platforms)
        | {"realtime": build_realtime_call_endpoint(settings, dispatcher.agents, authenticator, platforms)},
        max_calls=max(1, settings.limits.concurrent_calls // server.workers),
    )
    app = FastAPI(
        title="voicegw",
        version=__version__,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # `voicegw.telemetry` has them
        lifespan=make_lifespan(dispatcher, call_server, made, settings, watch=writer is not None),
    )
    stored = ResponseStore(idle_timeout=settings.calls.idle, max_responses=settings.calls.max_calls)
    chat, responses = (
        CompletionEndpoint(format, engine, _endpoint_options(settings), stored)
        for format in (ChatFormat(), ResponsesFormat())
    )
    _add_gauges(turn_log.metrics, dispatcher)
    api.add_routes(app, dispatcher, turn_log)
    app.add_exception_handler(VoicegwError, _handle_error)
    app.add_exception_handler(HTTPException, _handle_error)
    app.add_exception_handler(Exception, _handle_error)
    direct = dict.fromkeys(api.CHAT_PATHS, chat) | dict.fromkeys(api.RESPONSES_PATHS, responses)
    hooks = build_webhooks(settings, platforms, call_server, turn_log)
    gateway = GatewayMiddleware(
        app,
        authenticator,
        turn_log,
        server.trusted_proxies,
        direct,
        hooks,
        call_server,
        serves_directly=not server.origins,
    )
    return _add_cors(server.origins, gateway)


def _make_dispatcher(
    settings: Config, agents: Mapping[str, Agent], now: Callable[[], float], key_table: Path | None
) -> Dispatcher:
    turns, calls = settings.turns, settings.calls
    return Dispatcher(
        AgentRegistry(make_served_agents(settings, agents, now), strict=turns.unknown_model == "reject"),
        stop_timeout=turns.stop_timeout,
        disconnect_grace=turns.disconnect_grace,
        replay_window=turns.replay_window,
        calls=CallStore(idle_timeout=calls.idle, max_calls=calls.max_calls, max_memory=calls.max_memory),
        key_claims=None if key_table is None else open_key_table(key_table),
        now=now,
    )


def _make_turn_log(settings: Config, metrics: Metrics, writer: TelemetryWriter | None) -> TurnLog:
    trace = settings.trace
    if writer is not None:
        writer.on_drop = lambda kind, count: metrics.telemetry_dropped.labels(kind).inc(count)
    return TurnLog(metrics, log_turns=trace.log, log_errors=trace.errors, writer=writer)


def _make_rate_limiter(settings: Config) -> RateLimiter:
    limits = settings.limits
    return RateLimiter(
        limits.concurrent_turns,
        limits.requests_per_minute,
        agents={name: settings.agent_turns(name) for name in settings.agents},
        workers=settings.server.workers,
    )


def _add_gauges(metrics: Metrics, dispatcher: Dispatcher) -> None:
    """Add gauges of the tasks, runs and calls in this process: a leak shows in them."""
    metrics.add_gauge("voicegw_tasks", "Tasks of the event loop now.", lambda: len(asyncio.all_tasks()))
    metrics.add_gauge("voicegw_runs", "Runs whose agent is not closed yet.", lambda: len(dispatcher.runs))
    calls = dispatcher.calls
    metrics.add_gauge("voicegw_calls_remembered", "Calls that are remembered.", lambda: len(calls))
    metrics.add_gauge("voicegw_calls_memory_bytes", "Bytes that they take.", lambda: calls.total_bytes)


def _add_cors(origins: Sequence[str], app: ASGIApp) -> ASGIApp:
    """Let web pages of these origins call the gateway (CORS)."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "x-voicegw-call"],
    )


def _endpoint_options(settings: Config) -> EndpointOptions:
    limits = settings.limits
    return EndpointOptions(
        max_body_bytes=limits.max_body_bytes,
        max_messages=limits.max_messages,
        max_json_depth=limits.max_json_depth,
        speak_busy=limits.busy == "speak",
        wait_for_first_event=settings.turns.on_failure == "status",
        timing_comment=settings.trace.comment,
        call_headers=tuple(name.lower() for name in settings.calls.headers),
        call_keys=settings.calls.keys,
    )


async def _handle_error(request: Request, failure: Exception) -> Response:
    """Answer an exception of FastAPI's routes with OpenAI's error envelope."""
    context: RequestContext | None = request.scope.get("voicegw")
    known = failure if isinstance(failure, VoicegwError) else _translate(request, failure)
    return error_response(known, context.id if context else "")


def _translate(request: Request, failure: Exception) -> VoicegwError:
    if not isinstance(failure, HTTPException):
        return VoicegwError()
    if failure.status_code == 404:
        return NotFound(f"There is no {request.method} {request.url.path} here.")
    if failure.status_code == 405:
        return MethodNotAllowed(f"{request.method} is not for this path.")
    return RequestError(str(failure.detail))
