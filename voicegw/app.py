"""The composition root: the only module that knows agents and surfaces, and joins them by configuration."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from voicegw import __version__, tables
from voicegw.ack import AckPolicy
from voicegw.agents import python, scripted
from voicegw.agents.openai import OpenAI
from voicegw.calls.memory import Calls
from voicegw.config import Config
from voicegw.dialects import DIALECTS
from voicegw.errors import ConfigError, NotFound, Refused, VoicegwError, WrongMethod
from voicegw.events import Agent
from voicegw.guard import Door, Keys, Limits
from voicegw.journal import Journal
from voicegw.pulse import Pulse
from voicegw.surfaces import api
from voicegw.surfaces.entrance import Entrance
from voicegw.surfaces.http import Chat, Rules, Visit, refusal
from voicegw.switchboard import Line, Switchboard

log = logging.getLogger("voicegw.run")

AgentTable: TypeAlias = tables.Scripted | tables.OpenAI | tables.Python
Maker: TypeAlias = Callable[[AgentTable, Config], Agent]
CLOSE_WITHIN = 2.0
"""Seconds that agents get to let go of their connections at the end."""
COLLECTOR = (50_000, 20, 50)
"""Thresholds of the garbage collector: with the defaults, its pauses are the tail of our latency."""


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
    switchboard = Switchboard(
        _lines(settings, agents or make_agent),
        strict=settings.turns.unknown_model == "reject",
        stop_within=settings.turns.stop_within,
        grace=settings.turns.grace,
        reuse=settings.turns.reuse,
        calls=Calls(idle=settings.calls.idle, most=settings.calls.most),
        now=now,
    )
    journal = Journal(log_turns=settings.trace.log, log_errors=settings.trace.errors, shared=shared_metrics)
    limits = Limits(
        settings.limits.concurrent_turns, settings.limits.requests_per_minute, workers=server.workers
    )
    app = FastAPI(
        title="voicegw",
        version=__version__,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the journal is ours
        lifespan=_lifespan(switchboard, settings, tune, at_end),
    )
    chat = Chat(switchboard, limits, journal, _rules(settings))
    api.add_routes(app, switchboard, journal)
    app.add_exception_handler(VoicegwError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _refuse)
    door = Door(Keys(settings.door_keys()), hosts=server.hosts, origins=server.origins)
    hot = dict.fromkeys(api.CHAT_PATHS, chat)
    entrance = Entrance(app, door, journal, server.trusted_proxies, hot)
    if not server.origins:
        return entrance
    return CORSMiddleware(
        entrance,
        allow_origins=server.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "x-voicegw-call"],
    )


def _lines(settings: Config, make: Maker) -> dict[str, Line]:
    """Every agent as it is served, or a `ConfigError` with a line for each that cannot be."""
    lines: dict[str, Line] = {}
    problems: list[str] = []
    for name, table in settings.agents.items():
        try:
            lines[name] = _line(name, table, settings, make)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return lines


def _line(name: str, table: AgentTable, settings: Config, make: Maker) -> Line:
    """An agent as it is served. Raises `ConfigError` with file and key when it cannot be made."""
    ack = AckPolicy(table.ack.after, table.ack.with_tools)
    try:
        agent = make(table, settings)
    except Exception as error:
        what = error if isinstance(error, ConfigError | OSError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"{settings.source}: agents.{name}: {what}") from None
    return Line(name, agent, DIALECTS[table.dialect], ack, table.language, table.ack.phrases)


def make_agent(agent: AgentTable, settings: Config) -> Agent:
    """The agent that a table of the configuration describes."""
    if isinstance(agent, tables.Scripted):
        return scripted.scripted(agent.script, **agent.options)
    if isinstance(agent, tables.Python):
        return python.load(agent.target, agent.options)
    return OpenAI(
        agent.url,
        key=settings.secret(agent.key_env) if agent.key_env else None,
        model=agent.model,
        fields=None if agent.fields is None else frozenset(agent.fields),
        stream=agent.stream,
        headers=agent.headers,
        ssl=ssl.create_default_context(cafile=agent.ca_file) if agent.ca_file else None,
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


def _lifespan(switchboard: Switchboard, settings: Config, tune: bool, at_end: Callable[[], None]) -> Any:
    """Warm the agents at start; at the end, close what is left."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        lines = switchboard.lines.values()
        warming = asyncio.gather(*map(_warm, lines))  # nobody waits for it: a call may come first
        if tune:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECTOR)
        pulse = Pulse() if tune else None
        leave = Leave(switchboard, settings.server.drain)
        yield {"drain": leave.drain, "header_bytes": settings.limits.header_bytes}
        leave.cancel()
        warming.cancel()
        await switchboard.aclose()
        await asyncio.wait([asyncio.ensure_future(_close(line)) for line in lines], timeout=CLOSE_WITHIN)
        if pulse is not None:
            pulse.stop()
        at_end()

    return lifespan


async def _warm(line: Line) -> None:
    """Open connections before the first call does; an agent that is not there yet is no reason to fail."""
    try:
        await line.agent.warm(None)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        log.warning("agent %s is not ready yet: %s", line.name, error)


async def _close(line: Line) -> None:
    """Let go of connections; the end does not depend on it."""
    try:
        await line.agent.aclose()
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        log.warning("agent %s did not close well: %s", line.name, error)


class Leave:
    """The gateway's farewell: running turns get `within` seconds, then a sentence and a proper end."""

    def __init__(self, switchboard: Switchboard, within: float) -> None:
        self.switchboard = switchboard
        self.within = within
        self.timer: asyncio.TimerHandle | None = None

    def drain(self) -> None:
        """Called at shutdown, by every connection that is open."""
        self.switchboard.drain()
        if self.timer is None:
            if self.switchboard.runs:
                turns = f"{len(self.switchboard.runs)} turns may go on for {self.within:g} seconds"
                log.warning("shutting down: %s; stop again to cut them off", turns)
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(self.within, self.switchboard.hang_up)

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
