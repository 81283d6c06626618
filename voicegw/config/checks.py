"""Checks of the configuration that concern several keys at once, or the environment. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from voicegw.config.root import Config
from voicegw.security import addresses
from voicegw.settings.fields import (
    VISIBLE_ASCII,
)
from voicegw.settings.gateway import ServerSettings
from voicegw.settings.problems import Loc, Problem, suggest
from voicegw.speech.spelling.cldr import missing_packages

SECRET_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{16,}")
"""A secret that is a segment of an address."""
ADD_KEY_HINT = "add a key first: `voicegw keys new NAME` makes one and prints the lines for this file"
SECRET_SEGMENT_REQUIREMENT = (
    "must hold 16 or more letters, digits or . _ ~ -, since it is a segment of an address"
)
NO_PROOF_RISK = "without it any client could claim to be the platform"
ACK_TOO_EARLY = (
    'is 0: the acknowledgement is sent at once, and turns.on_failure = "status" cannot answer after it; '
    'set another value (0.5, or "off"), or on_failure = "speak"'
)


def find_named_variables(config: Config) -> Iterator[tuple[Loc, str]]:
    """Yield the environment variables that the file names, each with its key."""
    for name, key in config.keys.items():
        if key.env:
            yield ("keys", name, "env"), key.env
    for name, agent in config.agents.items():
        for entry, variable in agent.variables:
            yield ("agents", name, entry), variable
    for name, platform in config.platforms.items():
        for entry, variable in platform.variables:
            yield (name, entry), variable


def find_unset_variables(config: Config) -> Iterator[Problem]:
    """Yield a problem for each variable without a value that a header can carry."""
    paths = {(name, key) for name, table in config.platforms.items() for key in table.path_secret_keys}
    for loc, variable in find_named_variables(config):
        value = config._secrets.get(variable)
        if value is None:
            yield loc, f"the environment variable {variable} is not set"
        elif not VISIBLE_ASCII.fullmatch(value):
            yield (
                loc,
                f"the environment variable {variable} is empty or holds a character that no header can carry",
            )
        elif loc in paths and not SECRET_SEGMENT.fullmatch(value):
            yield loc, f"the environment variable {variable} {SECRET_SEGMENT_REQUIREMENT}"


def find_duplicate_keys(config: Config) -> Iterator[Problem]:
    """Yield a problem for each API key whose secret another key has: the client would be ambiguous."""
    first: dict[bytes, str] = {}
    for name, key in config.keys.items():
        known = config.hash_of(key)
        if known is not None and first.setdefault(known, name) != name:
            yield ("keys", name), f"has the same secret as keys.{first[known]}"


def find_conflicts(config: Config) -> Iterator[Problem]:
    """Yield a problem for each value that is valid alone and contradicts another key."""
    if not config.agents:
        yield ("agents",), 'there is no agent: add a section such as [agents.desk] with kind = "scripted"'
    if not config.keys:
        yield from _find_open_access(config.server)
    for name, key in config.keys.items():
        for model in key.models or ():
            if model not in config.agents:
                yield (
                    ("keys", name, "models"),
                    f'there is no agent "{model}"{suggest(model, config.agents)}',
                )
    for name, agent in config.agents.items():
        for other in agent.fallback or ():
            if other == name:
                yield ("agents", name, "fallback"), "an agent cannot be its own fallback"
            elif other not in config.agents:
                yield (
                    ("agents", name, "fallback"),
                    f'there is no agent "{other}"{suggest(other, config.agents)}',
                )
        if agent.max_attempts > 1 and not agent.idempotent:
            yield (
                ("agents", name, "max_attempts"),
                "needs idempotent = true: without it the gateway never repeats a request",
            )
    if config.turns.on_failure == "status":
        for name, agent in config.agents.items():
            if agent.ack.after == 0:
                yield ("agents", name, "ack", "after"), ACK_TOO_EARLY
    yield from _find_missing_spelling(config)
    yield from _find_platform_conflicts(config)


def _find_missing_spelling(config: Config) -> Iterator[Problem]:
    """Yield a problem for each `spell` whose packages are not installed."""
    missing = " and ".join(missing_packages())
    places: list[tuple[Loc, object]] = [(("speech", "spell"), config.speech.spell)]
    places += [(("agents", name, "spell"), agent.spell) for name, agent in config.agents.items()]
    for loc, kinds in places:
        if kinds and missing:
            yield loc, f"needs the package {missing}; install the extra: pip install 'voicegw[spell]'"


def _find_platform_conflicts(config: Config) -> Iterator[Problem]:
    """Yield the conflicts of the platforms' sections."""
    server = config.server
    for name, platform in config.platforms.items():
        agent = platform.agent
        if agent is not None and agent not in config.agents:
            yield (name, "agent"), f'there is no agent "{agent}"{suggest(agent, config.agents)}'
        if not platform.authenticates_calls and not addresses.is_loopback(server.host):
            yield (
                (name, platform.call_secret_keys[0]),
                f"is missing, and {server.host} can be reached from other machines; {NO_PROOF_RISK}",
            )
        if platform.needs_public_url and platform.authenticates_calls and server.public_url is None:
            yield ("server", "public_url"), f"is missing; [{name}] calls this address and signs it"


def _find_open_access(server: ServerSettings) -> Iterator[Problem]:
    """Yield a problem for each setting that admits other machines or web pages without an API key."""
    if not addresses.is_loopback(server.host):
        yield ("server", "host"), f"{server.host} can be reached from other machines; {ADD_KEY_HINT}"
    if "*" in server.origins:
        yield ("server", "origins"), f'"*" admits every web page; list the origins, or {ADD_KEY_HINT}'
