"""From the configuration to lines: the agents, made, joined into chains, and given their manners."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from voicegw.agents.fallback import FallbackAgent, FallbackStep
from voicegw.config.agent_kinds import AnyAgent
from voicegw.config.load import Config
from voicegw.errors import ConfigError
from voicegw.events import Agent
from voicegw.speech.options import SpeechOptions
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.served_agent import ServedAgent
from voicegw.turns.speech_buffer import SpeechFilters
from voicegw.turns.timeouts import Timeouts

log = logging.getLogger("voicegw.error")

AgentFactory: TypeAlias = Callable[[AnyAgent, Config], Agent]
"""Makes an agent from its table: `voicegw.app.agents.make_agent`, or what a program has of its own."""


def make_agents(settings: Config, make: AgentFactory) -> dict[str, Agent]:
    """Every agent by name, or a `ConfigError` with a line for each that cannot be made."""
    made: dict[str, Agent] = {}
    problems: list[str] = []
    for name, table in settings.agents.items():
        try:
            made[name] = make(table, settings)
        except Exception as error:
            what = error if isinstance(error, ConfigError | OSError) else f"{type(error).__name__}: {error}"
            problems.append(f"{settings.source}: agents.{name}: {what}")
    if problems:
        raise ConfigError("\n".join(problems))
    return made


def serve_agents(
    settings: Config, agents: Mapping[str, Agent], now: Callable[[], float]
) -> dict[str, ServedAgent]:
    """Every agent as it is served; with a fallback, or if it may be tried again, as a chain."""
    diction = make_speech_filters(settings)
    return {name: _line(name, settings, agents, now, diction) for name in settings.agents}


def make_speech_filters(settings: Config) -> SpeechFilters:
    """How all agents speak that do."""
    table = settings.speech
    style = SpeechOptions(
        max_held_chars=table.max_held_chars,
        tables=table.tables,
        urls=table.urls,
        keep_tags=frozenset(table.keep_tags),
        silent_tags=frozenset(table.silent_tags),
        words=table.words,
    )
    return SpeechFilters(style, table.code)


def _line(
    name: str, settings: Config, agents: Mapping[str, Agent], now: Callable[[], float], diction: SpeechFilters
) -> ServedAgent:
    table = settings.agents[name]
    agent, patience = agents[name], timeouts_of(table)
    if table.fallback or table.max_attempts > 1:
        steps = [_step(other, settings, agents) for other in (name, *(table.fallback or ()))]
        agent, patience = FallbackAgent(steps, now=now), Timeouts(total=table.total)
    return ServedAgent(
        name,
        agent,
        DIALECTS[table.dialect],
        AckPolicy(table.ack.after, table.ack.with_tools, table.ack.every),
        table.language,
        table.ack.phrases,
        table.ack.progress,
        patience,
        diction if table.speech == "on" else None,
        settings.speech.max_hold_seconds,
    )


def _step(name: str, settings: Config, agents: Mapping[str, Agent]) -> FallbackStep:
    table = settings.agents[name]
    return FallbackStep(agents[name], timeouts_of(table), table.idempotent, table.max_attempts)


def timeouts_of(table: AnyAgent) -> Timeouts:
    return Timeouts(table.first_token, table.idle, table.total)


async def warm(name: str, agent: Agent) -> None:
    """Open connections before the first call does; an agent that is not there yet is no reason to fail."""
    try:
        await agent.warm(None)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        log.warning("agent %s is not ready yet: %s", name, error)


async def close(name: str, agent: Agent) -> None:
    """Let go of connections; the end does not depend on it."""
    try:
        await agent.aclose()
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        log.warning("agent %s did not close well: %s", name, error)
