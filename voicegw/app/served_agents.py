"""Builds the served agents from the configuration: agents, fallbacks, timeouts, phrases, speech filters."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from voicegw.agents.fallback import FallbackAgent, FallbackStep
from voicegw.config.agent_kinds import AnyAgent
from voicegw.config.load import Config
from voicegw.errors import AgentError, ConfigError
from voicegw.events import Agent
from voicegw.speech.options import SpeechOptions, Spelling
from voicegw.speech.spelling.speller import load_languages
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.bulkhead import Bulkhead
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.served_agent import ServedAgent
from voicegw.turns.speech_buffer import SpeechFilters
from voicegw.turns.timeouts import Timeouts

log = logging.getLogger("voicegw.error")

AgentFactory: TypeAlias = Callable[[AnyAgent, Config], Agent]
"""Makes an agent from its section: `voicegw.app.agents.make_agent`, or a program's own function."""


def make_agents(settings: Config, make: AgentFactory) -> dict[str, Agent]:
    """Return every agent by name.

    Raises `ConfigError` with one line for each agent that cannot be made.
    """
    made: dict[str, Agent] = {}
    problems: list[str] = []
    for name, table in settings.agents.items():
        try:
            made[name] = make(table, settings)
        except Exception as error:
            reason = error if isinstance(error, ConfigError | OSError) else f"{type(error).__name__}: {error}"
            problems.append(f"{settings.source}: agents.{name}: {reason}")
    if problems:
        raise ConfigError("\n".join(problems))
    return made


def make_served_agents(
    settings: Config, agents: Mapping[str, Agent], now: Callable[[], float]
) -> dict[str, ServedAgent]:
    """Return every served agent, by name.

    An agent with a fallback, or with several attempts, is a `FallbackAgent`. `now` is the attempts' clock.
    """
    shared, spell = make_speech_filters(settings, settings.speech.spell), settings.speech.spell
    filters = {
        name: shared if table.spell in (None, spell) else make_speech_filters(settings, table.spell or ())
        for name, table in settings.agents.items()
    }
    bulkheads = {name: make_bulkhead(name, settings) for name in settings.agents}
    return {
        name: _make_served_agent(name, settings, agents, now, filters[name], bulkheads)
        for name in settings.agents
    }


def make_bulkhead(name: str, settings: Config) -> Bulkhead:
    """Return the bulkhead of an agent in one worker: its turns, and as many that were stopped."""
    return Bulkhead(2 * max(1, settings.agent_turns(name) // settings.server.workers))


def make_speech_filters(settings: Config, spell: Collection[Spelling]) -> SpeechFilters:
    """Return speech filters that turn these kinds of written forms into words; agents share them."""
    table = settings.speech
    options = SpeechOptions(
        max_held_chars=table.max_held_chars,
        tables=table.tables,
        urls=table.urls,
        keep_tags=frozenset(table.keep_tags),
        silent_tags=frozenset(table.silent_tags),
        words=table.words,
        terminal=table.terminal,
        paths=table.paths,
        starts_with_reasoning=table.starts_with_reasoning,
        spell=frozenset(spell),
    )
    if spell:
        load_languages(table.spell_languages)
    return SpeechFilters(options, table.code, table.nothing, table.output, table.spell_languages)


def _make_served_agent(
    name: str,
    settings: Config,
    agents: Mapping[str, Agent],
    now: Callable[[], float],
    filters: SpeechFilters,
    bulkheads: Mapping[str, Bulkhead],
) -> ServedAgent:
    table = settings.agents[name]
    agent, timeouts, bulkhead = agents[name], make_timeouts(table), bulkheads[name]
    if table.fallback or table.max_attempts > 1:
        steps = [_make_step(other, settings, agents, bulkheads) for other in (name, *(table.fallback or ()))]
        agent, timeouts = FallbackAgent(steps, now=now), Timeouts(total=table.total)
        bulkhead = make_bulkhead(name, settings)  # of the chain; each attempt counts for its agent
    return ServedAgent(
        name,
        agent,
        DIALECTS[table.dialect],
        AckPolicy(table.ack.after, table.ack.with_tools, table.ack.every),
        table.language,
        table.ack.phrases,
        table.ack.progress,
        timeouts,
        filters if table.speech == "on" else None,
        settings.speech.max_hold_seconds,
        bulkhead,
    )


def _make_step(
    name: str, settings: Config, agents: Mapping[str, Agent], bulkheads: Mapping[str, Bulkhead]
) -> FallbackStep:
    table = settings.agents[name]
    timeouts = make_timeouts(table)
    return FallbackStep(agents[name], timeouts, table.idempotent, table.max_attempts, bulkheads[name])


def make_timeouts(table: AnyAgent) -> Timeouts:
    """Return the timeouts of an agent's section."""
    return Timeouts(table.first_token, table.idle, table.total, table.max_reasoning)


async def warm_agent(name: str, agent: Agent) -> None:
    """Open the agent's connections before the first call. An unreachable agent is only logged."""
    try:
        await agent.warm(None)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        log.warning("agent %s is not ready yet: %s", name, summarize(error))


async def close_agent(name: str, agent: Agent) -> None:
    """Close the agent's connections. A failure is only logged, so that shutdown goes on."""
    try:
        await agent.aclose()
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        log.warning("agent %s failed to close: %s", name, summarize(error))


def summarize(error: BaseException) -> str:
    """Return the failure in the gateway's own words: an exception's message may quote a caller."""
    return error.summary if isinstance(error, AgentError) else type(error).__name__
